"""One request means the same to a trained and to a published model."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import codecs, conditioning, parameterization, schedules
from diffax.generation import Model, Request, Sampling, generate, inpaint, upscale, variations
from diffax.generation.generate import _draw, _encode
from diffax.generation.plan import cut
from diffax.models import BoundModule, UNet
from diffax.solvers import DDIM

# The same program twice, or programs of other batch sizes: float32 rounding through two steps.
CLOSE = dict(rtol=0, atol=1e-4)


def image(model):
    """A smooth image of the model's size, in [-1, 1]."""
    height, width = (n * model.factor for n in model.shape[:2])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (0.8 * np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)], -1)).astype(
        np.float32
    )


def drawn(case, **options):
    """Samples in model space."""
    return np.asarray(generate(case.model, **{"decode": False, "sampler": "ddim", **options}).x)


def test_num_is_for_each_of_what_is_said(case):
    both = generate(case.model, num=2, sampler="ddim", **case.two)
    assert len(both) == 4 and both.data.shape == (4, 16, 16, 3)
    assert both.images.dtype == np.uint8 and np.abs(both.data).max() <= 1
    # Those of one label or prompt lie together, and sample i depends on (seed, i) only.
    first = drawn(case, num=2, **case.one)
    np.testing.assert_allclose(both.x[:2], first, **CLOSE)
    assert np.abs(first[0] - first[1]).max() > 0.01
    told = jax.tree.leaves(both.told)
    assert all(len(rows) == 4 for rows in told)


def test_where_nothing_says_how_many_the_model_does(case):
    assert len(generate(case.model, decode=False)) == case.model.settings.num
    assert len(generate(case.model, decode=False, **case.two)) == 2


def test_a_seed_gives_the_same_sample_in_any_batch(case):
    whole = drawn(case, num=3, seed=7, **case.one)
    np.testing.assert_allclose(drawn(case, num=3, seed=7, batch_size=2, **case.one), whole, **CLOSE)
    part = generate(
        case.model, num=3, seed=7, rows=[2, 0], sampler="ddim", decode=False, **case.one
    )
    np.testing.assert_allclose(part.x, whole[[2, 0]], **CLOSE)
    assert len(part) == 2 and all(len(rows) == 2 for rows in jax.tree.leaves(part.told))
    np.testing.assert_allclose(drawn(case, num=1, seed=7, **case.one), whole[:1], **CLOSE)
    assert np.abs(drawn(case, num=3, seed=8, **case.one) - whole).max() > 0.01
    listed = drawn(case, num=2, seed=[5, 9], **case.one)
    np.testing.assert_allclose(drawn(case, num=2, seed=[9, 5], **case.one), listed[::-1], **CLOSE)
    np.testing.assert_allclose(drawn(case, num=1, seed=5, **case.one), listed[:1], **CLOSE)


def test_guidance(case):
    """0 is the guess without a condition, 1 the one with it, at the cost of one call."""
    plain, other = (drawn(case, guidance=1, **say) for say in (case.one, case.two))
    np.testing.assert_allclose(plain[0], other[0], **CLOSE)
    # The next float above 1 runs the guided program.
    near = drawn(case, guidance=np.nextafter(np.float32(1), np.float32(2)), **case.one)
    np.testing.assert_allclose(near, plain, **CLOSE)
    null = drawn(case, guidance=0, **case.two)
    one = drawn(case, guidance=0, num=2, **case.one)
    np.testing.assert_allclose(null, one, **CLOSE)  # what is said does not matter
    default = drawn(case, **case.one)
    np.testing.assert_allclose(default, drawn(case, guidance=2.0, **case.one), **CLOSE)
    assert np.abs(default - plain).max() > 1e-3


def test_noise_that_is_given(case):
    noise = np.asarray(jax.random.normal(jax.random.key(3), (2, *case.model.shape)))
    out = drawn(case, num=2, noise=noise, **case.one)
    turned = drawn(case, num=2, noise=noise[::-1], **case.one)
    np.testing.assert_allclose(turned, out[::-1], **CLOSE)


def test_strength_leaves_more_or_less_of_the_image(case):
    start = image(case.model)
    clean = case.model.codec.encode(jnp.asarray(start)[None])
    options = dict(image=start, guidance=1, **case.one)
    far = [np.abs(drawn(case, strength=s, **options) - clean).mean() for s in (0.05, 0.5, 1.0)]
    assert far[0] < far[1] < far[2]


def test_the_mask_says_what_is_made_anew(case):
    """1, white or true; whatever type it has."""
    start, size = image(case.model), 16
    mask = np.zeros((size, size), np.float32)
    mask[4:10, 6:12] = 1
    options = dict(image=start, strength=1.0, **case.one)
    out = drawn(case, mask=mask, **options)
    clean = np.asarray(case.model.codec.encode(jnp.asarray(start)[None]))
    small = mask[:: case.model.factor, :: case.model.factor] == 1
    np.testing.assert_array_equal(out[0][~small], clean[0][~small])
    assert np.abs(out[0][small] - clean[0][small]).min() > 0
    for same in (mask > 0.5, (255 * mask).astype(np.uint8), mask[None], mask[None, ..., None]):
        np.testing.assert_array_equal(drawn(case, mask=same, **options), out)
    pixels = np.rint((start + 1) * 127.5).astype(np.uint8)
    assert drawn(case, mask=mask, **options | {"image": pixels}).shape == out.shape


def test_every_state_from_pure_noise_on(case):
    made = generate(case.model, trajectory=True, num=2, batch_size=1, **case.one)
    steps = case.model.settings.steps
    assert made.states.shape == (steps + 1, 2, *case.model.shape)
    assert made.times.shape == (steps + 1,) and (np.diff(made.times) < 0).all()
    np.testing.assert_array_equal(made.states[-1], made.x)
    np.testing.assert_array_equal(made.decoded_states()[-1], made.data)
    seen = []
    drawn(case, on_step=lambda index, x, _: seen.append(np.asarray(x)), **case.one)
    assert len(seen) == steps


def test_sizes(case):
    factor = case.model.factor
    out = generate(case.model, height=8 * factor, width=4 * factor, sampler="ddim", **case.one)
    assert out.x.shape[1:3] == (8, 4) and out.data.shape[1:3] == (8 * factor, 4 * factor)
    assert generate(case.model, width=4 * factor, **case.one).x.shape[2] == 4


def test_a_sampler_by_name_or_as_it_is(case):
    named = drawn(case, sampler="ddim", eta=0.7, **case.one)
    same = drawn(case, options={"eta": 0.7}, **case.one)
    np.testing.assert_allclose(same, named, **CLOSE)
    assert np.abs(drawn(case, eta=0.0, **case.one) - named).max() > 1e-3
    own = [drawn(case, sampler=s, **case.one) for s in (DDIM(0.7), DDIM(0.0))]
    assert np.isfinite(own).all() and np.abs(own[0] - own[1]).max() > 1e-3
    given = drawn(case, sampler=DDIM(0.0), eta=0.7, **case.one)
    np.testing.assert_allclose(given, own[0], **CLOSE)


def test_a_request_and_options_on_top_of_it(case):
    request = Request.of(num=2, seed=3, eta=0.3, **case.one)
    a = generate(case.model, request, decode=False, sampler="ddim").x
    b = drawn(case, num=2, seed=3, eta=0.3, **case.one)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        generate(case.model, request, decode=False, sampler="ddim", seed=4).x,
        drawn(case, num=2, seed=4, eta=0.3, **case.one),
    )


def test_other_values_run_the_same_program(case):
    def run(i):
        say = {key: (["owl", "at cat"][i % 2] if key == "prompt" else i % 3) for key in case.one}
        drawn(
            case, num=2, guidance=2.0 + i, seed=i, image=image(case.model), strength=0.2 + 0.1 * i,
            eta=0.1 * i, guidance_rescale=0.1 + 0.1 * i, **say,
        )  # fmt: skip

    run(0)
    before = _draw(quick=False)._cache_size() + _encode._cache_size()
    for i in (1, 2):
        run(i)
    assert _draw(quick=False)._cache_size() + _encode._cache_size() == before


def test_tasks_are_requests(case):
    start = image(case.model)
    out = variations(case.model, start, num=2, seed=1, sampler="ddim", decode=False)
    assert out.shape == (2, *case.model.shape) and np.abs(out[0] - out[1]).max() > 1e-3
    if "prompt" in case.one:
        mask = np.ones((16, 16))
        masked = inpaint(case.model, "cat", start, mask, sampler="ddim", seed=2, decode=False)
        np.testing.assert_allclose(masked, drawn(case, seed=2, **case.one), **CLOSE)


def test_a_model_is_printed_in_one_line(case):
    text = repr(case.model)
    assert "\n" not in text and len(text) < 200 and "parameters" in text


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(num=0), "num must be at least 1"),
        (dict(num=10**12), "num must be at least 1"),
        (dict(guidance=float("nan")), "guidance must be finite"),
        (dict(guidance=-1), "at least 0"),
        (dict(steps=10**6), "steps"),
        (dict(seed=-1), "seeds are whole numbers"),
        (dict(seed=2**32), "seeds are whole numbers"),
        (dict(seed=[1, 2, 3]), "expected one seed, or one for each of 1 samples, got 3"),
        (dict(rows=[1]), "rows: expected one or more whole numbers from 0 to 0"),
        (dict(rows=[]), "rows: expected one or more"),
        (dict(sampler="dpm++"), "sampler"),
        (dict(sampler="ddim_inversion"), "goes from an image to noise"),
        (dict(sampler="ddim", etta=1), "etta"),
        (dict(height=15, width=1), "16"),
        (dict(noise=np.zeros((1, 2))), "expected noise of shape"),
        (dict(strength=0.5), "strength needs an image"),
        (dict(strength=0.0), r"strength must be in \(0, 1\]"),
        (dict(mask=np.ones((16, 16))), "a mask needs the image"),
        (dict(image=np.zeros((16, 16, 1))), "expected a colour image"),
        (dict(image=2 * np.ones((16, 16, 3))), r"within \[-1, 1\]"),
        (dict(image=np.zeros((2, 16, 16, 3))), "expected one image, or 1, got 2"),
        (dict(image=np.zeros((16, 16, 3)), mask=np.ones((8, 8))), "mask of the image's size"),
        (dict(image=np.zeros((16, 16, 3)), height=16), "the size is the image's"),
        (dict(latents=np.zeros((3, 8, 8, 4))), "expected latents of 1 samples, got 3"),
    ],
)
def test_errors(case, options, said):
    if case.model.factor == 1 and "height" in options and "image" not in options:
        options, said = dict(height=0), "height must be at least 1"  # every size can be made
    with pytest.raises(ValueError, match=said) as error:
        generate(case.model, **{**case.one, "num": 1, **options})
    assert "\n" not in str(error.value)


def test_what_a_model_does_not_understand_is_refused(case):
    for name, value in case.unknown.items():
        with pytest.raises(ValueError, match=f"{name} says nothing to this model"):
            generate(case.model, **{name: value})


@pytest.mark.parametrize("small, said", [
    ((8, 4, 3), "expected images of 8x8 for samples of 16x16, got 8x4: resize them, or ask for "
     "height 16 and width 8"),
    ((8, 8, 1), r"expected a colour image \[H, W, 3\]"),
    ((8, 8), r"expected a colour image \[H, W, 3\]"),
])  # fmt: skip
def test_images_that_cannot_be_enlarged_to_the_samples_are_refused(small, said):
    model = Model(
        BoundModule(UNet(channels=8), {}),
        schedules.cosine(100),
        parameterization.V(),
        codecs.Pixels(),
        conditioning.LowRes(factor=2, channels=3),
        Sampling(steps=2),
        (16, 16, 3),
    )
    with pytest.raises(ValueError, match=f"low_res: {said}"):
        generate(model, low_res=np.zeros(small, np.uint8), num=1)
    if len(small) == 2:
        with pytest.raises(ValueError, match="expected small images"):
            upscale(model, np.zeros(small, np.uint8))


def test_codecs_without_tiles_say_so(case):
    if hasattr(case.model.codec, "tiled"):
        with pytest.raises(ValueError, match="tile must be a multiple of 2"):
            generate(case.model, tile=13, height=32, width=32, **case.one)
        options = dict(height=32, width=32, trajectory=True, num=1, **case.one)
        made, whole = generate(case.model, tile=16, **options), generate(case.model, **options)
        np.testing.assert_array_equal(made.x, whole.x)
        assert not np.array_equal(made.data, whole.data)
        np.testing.assert_array_equal(made.decoded_states()[-1], made.data)  # in tiles, too
        return
    with pytest.raises(ValueError, match="makes its data directly: leave it out"):
        generate(case.model, tile=16, **case.one)


@pytest.mark.slow
def test_the_times_of_a_flow_can_be_shifted_towards_noise():
    plan = Sampling(steps=2, shift=3.0).plan(schedules.RectifiedFlow(), parameterization.Velocity())
    np.testing.assert_allclose(plan.grid.t, [1.0, 0.75, 0.0])
    with pytest.raises(ValueError, match="of the RectifiedFlow schedule only"):
        Sampling(shift=3.0).plan(schedules.cosine(100), parameterization.V())
    with pytest.raises(ValueError, match="sample.shift must be > 0"):
        Sampling(shift=0.0)


def test_only_the_steps_of_a_table_can_be_handed_over():
    plan = Sampling(steps=4).plan(schedules.RectifiedFlow(), parameterization.V())
    with pytest.raises(ValueError, match="RectifiedFlow, is continuous"):
        cut(plan, 0.5, "before")
    plan = Sampling(steps=4).plan(schedules.cosine(100), parameterization.V())
    before, after = (cut(plan, 0.5, part).grid.t for part in ("before", "after"))
    np.testing.assert_array_equal(jnp.concatenate([before, after[1:]]), plan.grid.t)
    assert before[-1] == after[0]


@pytest.mark.slow
@pytest.mark.parametrize("made", ["trained", "published"])
def test_batches_over_devices(made):
    """On 4 simulated devices, in a process of its own."""
    code = """
import sys
import jax, numpy as np, conftest
from diffax.generation import generate
case = getattr(conftest, sys.argv[1])()
mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
options = dict(num=4, sampler="ddim", **case.one)
alone, spread = (generate(model, **options) for model in (case.model, case.model.on(mesh)))
assert len(spread.x.sharding.device_set) == 4, spread.x.sharding
np.testing.assert_allclose(alone.x, spread.x, atol=1e-4)
np.testing.assert_allclose(alone.data, spread.data, atol=1e-3)
try:
    generate(case.model.on(mesh), **{**options, "num": 3})
except ValueError as error:
    assert "cannot be split over 4 devices" in str(error)
else:
    raise AssertionError("a batch of 3 was taken")
"""
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4",
        "PYTHONPATH": f"{here}{os.pathsep}{here.parents[1]}",
    }
    done = subprocess.run([sys.executable, "-c", code, made], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def test_other_programs_names_of_samplers_bring_their_spacing():
    known = Request(sampler="DPM++ 2M Karras")
    assert (known.sampler, known.spacing) == ("dpmpp_2m", "karras")
    assert dataclasses.replace(known, sampler="Euler a").spacing == "karras"
    assert Request(sampler="Euler a").spacing is None
    with pytest.raises(ValueError, match="implies spacing karras, got trailing"):
        Request(sampler="DPM++ 2M Karras", spacing="trailing")
    with pytest.raises(ValueError, match="did you mean .*dpmpp_2m"):
        Request(sampler="dpmpp2n")


def test_quick_programs_agree_to_rounding(case):
    wanted = drawn(case, num=1, seed=7, **case.one)
    np.testing.assert_allclose(drawn(case, num=1, seed=7, quick=True, **case.one), wanted, **CLOSE)
