"""Another frozen part than the one a run was begun with is refused."""

import numpy as np
import pytest

from diffax.models import fingerprint
from diffax.training.keeping.frozen import check_frozen, data_reference


def test_another_frozen_part_is_refused_by_name():
    vae = {"source": "models/vae", "fingerprint": fingerprint(np.zeros(2))}
    other = {"source": "models/other", "fingerprint": fingerprint(np.ones(2))}
    check_frozen([], [])
    check_frozen([vae], [vae])
    check_frozen([vae], [vae | {"source": "elsewhere/vae"}])  # moved
    with pytest.raises(ValueError, match="models/other .* is not the one .* models/vae") as error:
        check_frozen([vae], [other])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"with 1 frozen parts \(models/vae\), there are 0 now"):
        check_frozen([vae], [])


def test_data_are_compared_where_both_sides_name_the_same():
    vae = {"source": "models/vae", "fingerprint": "1"}
    book, changed = (data_reference("book.txt", held) for held in ("1", "2"))
    check_frozen([vae, book], [vae, book])
    check_frozen([vae, book], [vae])  # sampling does not look at data
    check_frozen([vae], [vae, book])  # nor did older runs keep them
    check_frozen([vae, book], [vae, data_reference("other.txt", "2")])  # another config
    with pytest.raises(ValueError, match=r"other data than there are now in data: book.txt .*init"):
        check_frozen([vae, book], [vae, changed])
