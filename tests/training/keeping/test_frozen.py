"""Another frozen part than the one a run was begun with is refused."""

import numpy as np
import pytest

from diffax.models import fingerprint
from diffax.training.keeping.frozen import check_frozen


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
