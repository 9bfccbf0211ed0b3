"""The recipes that tune a published model: what they learn, what they leave, what they refuse."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from tiny_run import last_row

from diffax.commands import export
from diffax.commands import train as command
from diffax.generation import generate
from diffax.models.controlnet import controls_of
from diffax.models.parameters import fingerprint
from diffax.pretrained import (
    load_components,
    load_lora,
    load_network,
    load_pipeline,
    save_network,
    token_vectors,
    with_loras,
)
from diffax.training import (
    choices,
    export_run,
    load_recipe,
    make_class_images,
    open_run,
    prepare,
)

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/pretrained"))
import tiny_pipelines  # noqa: E402

RECIPES = {
    "lora": (),
    "lora:text": ("--data.image_size", "16", "--adapter.rank", "2"),
    "full_tuning": (),
    "dreambooth": ("--data.name", "cat"),
    "textual_inversion": (),
    "controlnet": (),
    "instruct": ("--data.control", "canny"),
}
QUICK = ("--train.workers", "1", "--train.tensorboard", "False", "--data.cache_mb", "1")


@pytest.fixture(scope="module", autouse=True)
def _cached(compiled_once):
    """Programs are shared with other tests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Stable Diffusion, and four captioned images."""
    folder = tmp_path_factory.mktemp("tuning")
    tiny_pipelines.components("sd").save(folder / "sd")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for i, text in enumerate(["a cat", "cat at", "at a cat", "a"]):
        image = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        (folder / "images" / f"{i}.txt").write_text(text)
    return folder


def config_of(folder, name, *arguments):
    """A recipe's debug variant, as the command line gives it."""
    spec = name if ":" in name else f"{name}:debug"
    recipe = load_recipe(spec, ROOT / "configs")
    given = ("--data.dir", str(folder / "images"), *RECIPES[name], *arguments)
    config = command.with_arguments(recipe.config, given)
    return command.started_from(config, str(folder / "sd"))


def names(tree) -> list[str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return ["/".join(str(key.key) for key in path) for path, _ in leaves]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "textual_inversion",
        "lora",
        "lora:text",
        "full_tuning",
        "dreambooth",
        "controlnet",
        "instruct",
    ],
)
def test_a_recipe_learns_what_it_says_and_nothing_else(folder, name):
    config = config_of(folder, name)
    assert choices.from_json(choices.to_json(config)) == config
    setup = prepare(config)
    state, frozen = setup.places
    learned = names(state.trainable)
    published = load_components(folder / "sd")
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    unet, text = (count(m.params) for m in (published.unet, published.text_encoders[0]))
    if name == "lora":
        assert all(n.startswith("network.") and ".to_" in n for n in learned)
        assert {leaf["down"].shape[-1] for leaf in state.trainable.values()} == {2}
        assert count(frozen["adapter"]["network"]) == unet
    elif name == "lora:text":
        assert sum(n.startswith("conditioner.text_encoder.") for n in learned) == 2 * 3 * 4
        assert count(frozen["adapter"]) == unet + text
    elif name == "textual_inversion":
        table = "conditioner/text_encoder/params/text_model/embeddings/new_embedding/embedding"
        assert learned == [table] and count(state.trainable) == 2 * 32
        assert count(frozen["adapter"]) == unet + text
    elif name == "controlnet":
        assert all(n.startswith("network/params/controls_0/") for n in learned)
        assert count(frozen["adapter"]) == unet
        first, fixed = setup.start()
        params = setup.objective.model(first.trainable, fixed, None).network.params["params"]
        copy, base = params["controls_0"]["down_blocks_0"], params["unet"]["down_blocks_0"]
        assert fingerprint(copy) == fingerprint(base)
        assert not np.any(params["controls_0"]["controlnet_mid_block"]["kernel"])
        assert np.any(params["controls_0"]["controlnet_cond_embedding"]["conv_in"]["kernel"])
    elif name == "instruct":
        assert count(state.trainable) == unet + 3 * 3 * 4 * 32  # what reads four channels more
        first, _ = setup.start()
        kernel = first.trainable["network"]["params"]["conv_in"]["kernel"]
        old = published.unet.params["params"]["conv_in"]["kernel"]
        np.testing.assert_array_equal(kernel, np.pad(old, ((0, 0), (0, 0), (0, 4), (0, 0))))
    else:
        assert count(state.trainable) == unet and count(frozen["conditioner"]) == text
    assert [reference["source"].partition(":")[0] for reference in setup.references] == [
        "codec", "conditioner", "network",
    ]  # fmt: skip


def test_what_does_not_fit_is_one_line(folder, tmp_path, capsys):
    def refused(name, *arguments, pretrained=folder / "sd", images=folder / "images"):
        given = ("--config", name, "--workdir", tmp_path / "run", "--data.dir", images, *QUICK[:4])
        given += ("--pretrained", pretrained) if pretrained else ()
        status = command.main([str(a) for a in (*given, *arguments)], recipes=ROOT / "configs")
        line = capsys.readouterr().err.strip()
        assert status == 2 and "\n" not in line and not (tmp_path / "run").exists()
        return line

    assert "--pretrained DIR" in refused("lora:debug", pretrained=None)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(folder / "images" / "0.png", bare)
    assert "no image in" in refused("lora:debug", images=bare)
    assert "belong together" in refused("dreambooth:debug", "--data.class_dir", bare)
    partners = refused("controlnet:debug", "--data.control", bare)
    assert "3 of 4 images" in partners and "no partner" in partners
    other = tmp_path / "other"
    config = json.loads((folder / "sd/unet/config.json").read_text())
    save_network(tiny_pipelines.network(config | {"cross_attention_dim": 48}), other)
    mixed = refused("lora:debug", "--network.path", other)
    assert "reads texts of width 48, the conditioner gives 32" in mixed
    initial = refused("textual_inversion:debug", "--conditioner.initial", "some cat")
    assert "give a word that is one" in initial


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_stopped_and_continued_is_bitwise_the_same(folder, tmp_path, name):
    def train(workdir, *arguments):
        spec = name if ":" in name else f"{name}:debug"
        given = ("--config", spec, "--pretrained", folder / "sd", "--data.dir", folder / "images",
                 *RECIPES[name], *QUICK[:4], "--workdir", workdir, "--quiet",
                 "--train.save_every", "2", "--train.batch_size", "2", "--train.images", "False",
                 "--train.sample_every", "0")  # fmt: skip
        given = [str(a) for a in (*given, *arguments)]
        return command.main(given, recipes=ROOT / "configs")

    files = lambda: {str(f): f.read_bytes() for f in (folder / "sd").rglob("*") if f.is_file()}
    before = files()
    assert train(tmp_path / "whole", "--train.steps", "4") == 0
    assert train(tmp_path / "cut", "--train.steps", "2") == 0
    assert train(tmp_path / "cut", "--train.steps", "4") == 0
    whole, cut = (open_run(tmp_path / run, ema="none").model for run in ("whole", "cut"))
    assert fingerprint(whole.network.params) == fingerprint(cut.network.params)
    assert fingerprint(whole.conditioner.params) == fingerprint(cut.conditioner.params)
    kind = check_export(folder, tmp_path / "cut", tmp_path / "out.safetensors")
    assert kind == KINDS.get(name, "pipeline")
    # What is not learned is the published model's to the last bit, on the disk and in the run.
    assert files() == before
    published = load_components(folder / "sd")
    assert fingerprint(whole.codec.params) == fingerprint(published.vae.params)
    if name == "textual_inversion":
        assert fingerprint(whole.network.params) == fingerprint(published.unet.params)
        first, _ = prepare(config_of(folder, name)).start()
        (start,) = jax.tree.leaves(first.trainable)
        assert np.abs(token_vectors(whole.conditioner)[0] - start).min() > 0
        record = json.loads((tmp_path / "whole/checkpoints/00000004/record.json").read_text())
        saved = sum(int(np.prod(shape)) for shape, _ in record["arrays"].values())
        assert saved < 4 * start.size  # with the optimizer's two moments


# What a sample needs besides a prompt.
SHOWN = {
    "controlnet": {"control": np.zeros((16, 16, 3), np.uint8)},
    "instruct": {"image": np.zeros((16, 16, 3), np.uint8)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_on_four_devices_it_is_the_same_and_samples(folder, tmp_path, name):
    """Gradients are summed in another order there: 2 steps agree to rounding."""
    spec = name if ":" in name else f"{name}:debug"
    given = ("--config", spec, "--pretrained", folder / "sd", "--data.dir", folder / "images",
             *RECIPES[name], *QUICK[:4], "--quiet", "--train.batch_size", "4", "--train.images",
             "False", "--train.sample_every", "0", "--train.steps", "2", "--train.log_every",
             "2", "--train.save_every", "2", "--workdir")  # fmt: skip
    given = [str(a) for a in given]
    assert command.main([*given, str(tmp_path / "one")], recipes=ROOT / "configs") == 0
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    subprocess.run(
        [sys.executable, "train.py", *given, str(tmp_path / "four")],
        cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, check=True, capture_output=True,
    )  # fmt: skip
    one, four = (last_row(tmp_path / run) for run in ("one", "four"))
    np.testing.assert_allclose(four["loss"], one["loss"], rtol=2e-3)
    model = open_run(tmp_path / "four").model_to_sample()
    samples = generate(model, prompt="a cat", num=1, steps=2, **SHOWN.get(name, {}))
    assert np.isfinite(np.asarray(samples.data)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora:text", "textual_inversion", "controlnet"])
@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_the_other_families_are_tuned_alike(folder, tmp_path, family, name):
    tiny_pipelines.components(family).save(tmp_path)
    spec = name if ":" in name else f"{name}:debug"
    recipe = load_recipe(spec, ROOT / "configs")
    given = ("--data.dir", str(folder / "images"), *RECIPES[name])
    config = command.started_from(command.with_arguments(recipe.config, given), str(tmp_path))
    setup = prepare(config)
    learned = names(setup.places[0].trainable)
    encoders = 2 if family == "sdxl" else 1
    if name == "textual_inversion":
        assert len(learned) == encoders
    elif name == "lora:text":
        assert sum(n.startswith("conditioner.") for n in learned) == encoders * 2 * 3 * 4
    else:
        assert all(n.startswith("network/params/controls_0/") for n in learned)
    # The loss can be taken, with all that the family's network is told.
    batch = setup.objective.columns(setup.dataset.batch(0, seed=0, batch_size=2))
    shapes = jax.eval_shape(
        setup.objective.loss, setup.places[0].trainable, setup.places[1], batch, jax.random.key(0)
    )
    assert shapes[0].shape == () and ("size_ids" in batch) == (family == "sdxl")


def check_export(folder, run, out):
    """What is written is read by what reads others' files, and says what the run does."""
    model, base = open_run(run, ema="none").model, load_pipeline(folder / "sd")
    kind = export_run(run, out, ema="none")
    if kind == "lora":
        tuned = with_loras(base, (load_lora(out, base), 1.0))
        close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)
        jax.tree.map(close, tuned.network.params, model.network.params)
        jax.tree.map(close, tuned.conditioner.params, model.conditioner.params)
    elif kind == "embedding":
        (vectors,) = token_vectors(model.conditioner)
        np.testing.assert_array_equal(safetensors.numpy.load_file(out)["<new>"], vectors)
    elif kind == "controlnet":
        own = controls_of(model.network)[0]
        assert fingerprint(load_network(out).params) == fingerprint(own.params)
    else:
        tuned = load_pipeline(out)
        assert fingerprint(tuned.network.params) == fingerprint(model.network.params)
        assert fingerprint(tuned.conditioner.params) == fingerprint(base.conditioner.params)
    with pytest.raises(FileExistsError, match="exists"):
        export_run(run, out)
    again = out.with_name(f"again_{out.name}")
    said = ("--workdir", str(run), "--out", str(again), "--ema", "none")
    assert export.main(said) == 0 and export.main(said) == 2  # the second time it is there
    if out.is_file():
        assert again.read_bytes() == out.read_bytes()
        with pytest.raises(ValueError, match="expected a name that ends in .safetensors"):
            export_run(run, out.with_name("no_ending"), ema="none")
        assert not out.with_name("no_ending").exists()
    return kind


KINDS = {"lora": "lora", "lora:text": "lora", "textual_inversion": "embedding",
         "controlnet": "controlnet"}  # fmt: skip


# A side that one of the buckets' shapes has on a level: which levels attend is the same in all.
ATTENDS = ("--objective.network.attention_resolutions", "10")


@pytest.mark.slow
def test_every_bucket_compiles_once_and_a_run_continues_bitwise(tmp_path):
    for i, size in enumerate([(32, 16), (32, 16), (16, 16), (16, 32)]):
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")

    def train(workdir, *arguments):
        given = ("--config", "image_folder:debug", "--data.dir", tmp_path, "--data.buckets", "4",
                 "--workdir", tmp_path / workdir, "--quiet", "--train.images", "False",
                 "--train.save_every", "3", "--train.sample_every", "0", "--train.batch_size", "2",
                 *QUICK[:4], "--train.steps_per_call", "1", *ATTENDS)  # fmt: skip
        return command.main([str(a) for a in (*given, *arguments)], recipes=ROOT / "configs")

    assert train("whole", "--train.steps", "6") == 0
    assert train("cut", "--train.steps", "3") == 0
    assert train("cut", "--train.steps", "6") == 0
    whole, cut = (open_run(tmp_path / run, ema="none").model for run in ("whole", "cut"))
    assert fingerprint(whole.network.params) == fingerprint(cut.network.params)
    assert train("cut", "--train.steps", "8", "--train.steps_per_call", "2") == 2

    recipe = load_recipe("image_folder:debug", ROOT / "configs")
    fields = ("--data.dir", str(tmp_path), "--data.buckets", "4", "--train.batch_size", "2",
              "--train.steps_per_call", "1", *ATTENDS)  # fmt: skip
    setup = prepare(command.with_arguments(recipe.config, fields))
    call, (state, frozen) = setup.compile(), setup.start()
    stop = jax.device_put(np.zeros(1, np.int32))
    for step in range(6):
        batch = setup.place(setup.dataset.batches(step, 1, seed=0, batch_size=2))
        state, _, _ = call(state, frozen, batch, np.int32(1), stop)
    assert len(call.calls) == 3


@pytest.mark.slow
def test_class_images_are_made_first_and_only_those_that_are_missing(folder, tmp_path):
    config = config_of(
        folder, "dreambooth", "--data.class_dir", str(tmp_path / "cats"),
        "--data.class_prompt", "a cat",
    )  # fmt: skip
    shutil.copytree(folder / "images", tmp_path / "cats", ignore=shutil.ignore_patterns("[123].*"))
    read = lambda: {p.name: p.read_bytes() for p in (tmp_path / "cats").glob("0000*.png")}
    pixels = lambda data: np.asarray(Image.open(io.BytesIO(data)), int)
    make_class_images(config)  # 3 in all, one of them the user's own
    made = read()
    assert sorted(made) == ["00000.png", "00001.png"] and len(set(made.values())) == 2
    (tmp_path / "cats" / "00001.png").unlink()  # as if it had been interrupted here
    make_class_images(config)
    again = read()
    assert again.keys() == made.keys() and again["00000.png"] == made["00000.png"]
    # Made alone, by a program of another batch size: float32 rounding.
    assert np.abs(pixels(again["00001.png"]) - pixels(made["00001.png"])).max() <= 1
    batch = config.data.load().batch(0, seed=0, batch_size=2)
    assert sorted(batch["caption"]) == ["a cat", "a photo of cat"]
    assert batch["weight"].tolist() == [2, 2] and batch["x"].shape == (2, 16, 16, 3)
