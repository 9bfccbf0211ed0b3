"""Names of the hub: which paths are some, what is fetched, and how it is said that nothing was."""

import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from diffax import hub
from diffax.hub import Name, located, name_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's own cache, with one model, and no network."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    from huggingface_hub import constants

    commit = "a" * 40
    place = tmp_path / "cache" / "models--org--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    files = place / "snapshots" / commit
    for name in ("config.json", "unet/config.json", "lora.safetensors"):
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return files


def test_which_paths_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for text, name in {
        "org/name": Name("org/name", None, ""),
        "hf:org/name@v1.0": Name("org/name", "v1.0", ""),
        "org/name@0a1b/unet": Name("org/name", "0a1b", "unet"),
        "org/name/a/b.safetensors": Name("org/name", None, "a/b.safetensors"),
        "hf:runs/digits": Name("runs/digits", None, ""),
    }.items():
        assert name_of(text) == name_of(Path(text)) == name
        assert name_of(str(name)) in (name, None)
    for text in ("runs/digits", "name", "./org/name", "/org/name", "../a/b", "~/a/b", "", "runs"):
        assert name_of(text) is None
    with pytest.raises(ValueError, match="expected hf:ORG/NAME"):
        name_of("hf:name")


def test_the_cache_answers_without_a_network(cache):
    assert located("org/tiny", ["*.json"]) == cache
    assert located("hf:org/tiny@main/unet", ["config.json"]) == cache / "unet"
    assert located("org/tiny/lora.safetensors", []) == cache / "lora.safetensors"
    assert located("here/not", [], bare=False) == Path("here/not")
    with pytest.raises(FileNotFoundError, match="org/tiny has no vae"):
        located("org/tiny/vae", ["config.json"])
    for name in ("org/other", "org/tiny@v2"):
        with pytest.raises(FileNotFoundError, match="hub cannot be reached") as error:
            located(name, ["*"])
        assert "\n" not in str(error.value)


def test_the_package_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'diffax\[hub\]'"):
        located("org/tiny", ["*"])


@pytest.mark.parametrize(
    "kind, message",
    [
        ("GatedRepoError", "accept the terms at https://huggingface.co/datasets/org/tiny"),
        ("RepositoryNotFoundError", "nor on the hub"),
        ("RevisionNotFoundError", "org/tiny has no revision v2"),
        ("ConnectionError", r"did not answer \(ConnectionError: no route\)"),
    ],
)
def test_what_the_hub_refuses_is_one_line(cache, monkeypatch, kind, message):
    import huggingface_hub
    from huggingface_hub import errors

    error = getattr(errors, kind, ConnectionError)

    def refuse(*_, **__):
        raise error.__new__(error) if error is not ConnectionError else error("no\nroute")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(FileNotFoundError, match=message) as said:
        located("org/tiny@v2", ["*"], kind="dataset")
    assert "\n" not in str(said.value)


class FakeHub:
    """Stands for the hub: a folder, of which only what is asked for is copied."""

    def __init__(self, remote: Path, cache: Path):
        self.remote, self.cache, self.asked = remote, cache, []

    def snapshot_download(self, repo, *, repo_type, revision, allow_patterns):
        self.asked.append((repo, repo_type, revision))
        for path in sorted(p for p in self.remote.rglob("*") if p.is_file()):
            name = path.relative_to(self.remote).as_posix()
            if any(fnmatch(name, pattern) for pattern in allow_patterns):
                (self.cache / name).parent.mkdir(parents=True, exist_ok=True)
                (self.cache / name).write_bytes(path.read_bytes())
        return str(self.cache)

    def fetched(self):
        return sorted(p.relative_to(self.cache).as_posix() for p in self.cache.rglob("*.*"))


@pytest.fixture
def fake(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    found = FakeHub(tmp_path / "remote", tmp_path / "cache")
    found.remote.mkdir()
    found.cache.mkdir()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", found.snapshot_download)
    return found


def write(folder: Path, *names: str):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def test_only_what_is_read_of_a_pipeline_is_fetched(fake):
    from diffax.pretrained import remote

    parts = {"StableDiffusionPipeline": ("unet", "vae", "tokenizer")}
    needed = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "vae/config.json",
    ]
    write(fake.remote, *needed, "safety_checker/model.safetensors", "v1-5-pruned.safetensors")
    plain = ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"]
    half = "unet/diffusion_pytorch_model.fp16.safetensors"
    write(fake.remote, *plain, half, "unet/diffusion_pytorch_model.bin", "README.md")
    (fake.remote / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert remote.pipeline("org/sd@v1", None, parts) == fake.cache
    assert fake.fetched() == sorted([*needed, *plain])
    assert set(fake.asked) == {("org/sd", "model", "v1")}

    for path in fake.cache.rglob("*.safetensors"):
        path.unlink()
    remote.pipeline("org/sd", "fp16", parts)  # the autoencoder has no such variant
    assert fake.fetched() == sorted([*needed, half, plain[1]])


def test_a_network_and_a_single_file(fake):
    from diffax.pretrained import remote

    shards = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = "unet/diffusion_pytorch_model.safetensors.index.json"
    write(fake.remote, "unet/config.json", *shards, index, "vae/config.json", "sd.safetensors")
    assert remote.network("org/sd/unet", None) == fake.cache / "unet"
    assert fake.fetched() == sorted(["unet/config.json", *shards, index])
    assert remote.pipeline("org/sd/sd.safetensors", None, {}) == fake.cache / "sd.safetensors"
    assert hub.located("hf:org/sd", ["vae/*"], bare=False) == fake.cache
