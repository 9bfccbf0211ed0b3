"""Files under an address, in fsspec's memory and on this machine's disk."""

import fsspec
import pytest

from diffax.training.keeping.bucket import Bucket, is_address


@pytest.mark.parametrize("place", ["memory://bucket/run/", "file://{}/run"])
def test_what_is_put_is_got_and_removed(tmp_path, place):
    bucket = Bucket(place.format(tmp_path))
    assert not bucket.address.endswith("/")
    (tmp_path / "a").write_bytes(b"content")
    bucket.put(tmp_path / "a", "deep/er/a")
    assert bucket.files() == {"deep/er/a": 7} and bucket.read("deep/er/a") == b"content"
    bucket.get("deep/er/a", tmp_path / "here")
    assert (tmp_path / "here" / "deep" / "er" / "a").read_bytes() == b"content"
    assert len(list((tmp_path / "here" / "deep" / "er").iterdir())) == 1  # no part is left
    bucket.remove("deep/er/a")
    assert bucket.files() == {}
    with pytest.raises(ValueError, match="/run cannot be read: "):
        bucket.read("deep/er/a")


def test_names_that_lead_out_of_the_folder_are_no_files():
    """Whoever can write into a bucket cannot write anywhere on the machines that read it."""
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pipe_file("/bucket/run/../../etc/passwd", b"")
    assert Bucket("memory://bucket/run").files() == {}


def test_a_missing_package_is_named():
    for scheme, extra in (("gs", "gcs"), ("s3", "s3")):
        try:
            Bucket(f"{scheme}://bucket/run")
        except ValueError as error:
            assert f"pip install 'diffax[{extra}]'" in str(error)


def test_paths_are_no_addresses():
    assert not any(map(is_address, ("runs/digits", "/tmp/run", "gs:/bucket", "a:b", "", "://x")))
    assert all(map(is_address, ("gs://b/r", "s3://b", "git+ssh://h/x", "memory://b/r")))
