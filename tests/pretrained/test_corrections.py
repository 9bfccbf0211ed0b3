"""LoHa, LoKr and DoRA: kernels against the papers' formulas in NumPy, and files in and out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines

from diffax.adapters.paths import flat
from diffax.pretrained import load_lora, parts_of, save_lora, with_loras
from diffax.pretrained.corrections import rescaled

# A dense kernel [C_in 32, C_out 32] and a convolution [3, 3, 32, 64], by their published names.
DENSE = f"{tiny._INSIDE}.attn1.to_q"
CONV = "down_blocks.0.downsamplers.0.conv"


@pytest.fixture(scope="module")
def model():
    return tiny_pipelines.pipeline("sd")


def kernel(model, name):
    """`[C_out, C_in (, h, w)]`, float64."""
    path = "params/" + name.replace(".weight", "")
    for old in ("down_blocks", "attentions", "transformer_blocks", "downsamplers"):
        path = path.replace(f"{old}.", f"{old}_")
    own = np.asarray(flat(parts_of(model)["unet"].params)[path.replace(".", "/") + "/kernel"])
    return own.astype(np.float64).transpose((3, 2, 0, 1) if own.ndim == 4 else (1, 0))


def file(tmp_path, name, **tensors):
    key = "lora_unet_" + name.replace(".", "_")
    content = {f"{key}.{role}": np.asarray(v, np.float32) for role, v in tensors.items()}
    safetensors.numpy.save_file(content, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def draw(*shape):
    return np.random.RandomState(sum(shape)).standard_normal(shape).astype(np.float32)


def core(t, a, b):
    """A product through a core: `[C_out, C_in, h, w]`."""
    return np.einsum("ijhw,io,jc->ochw", *(x.astype(np.float64) for x in (t, a, b)))


def loha(out, inside, rank=2):
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    pieces = (draw(out, rank), draw(rank, inside), draw(out, rank) + 1, draw(rank, inside) - 1)
    one, two = (pieces[i].astype(np.float64) @ pieces[i + 1] for i in (0, 2))
    return dict(zip(names, pieces, strict=True)), one * two / rank


def loha_with_cores(out, inside, rank=2):
    tensors = {}
    for i in "12":
        tensors[f"hada_w{i}_a"] = draw(rank, out) + int(i)
        tensors[f"hada_w{i}_b"] = draw(rank, inside) - int(i)
        tensors[f"hada_t{i}"] = draw(rank, rank, 3, 3) * int(i)
    products = (
        core(*(tensors[f"hada_{x}"] for x in (f"t{i}", f"w{i}_a", f"w{i}_b"))) for i in "12"
    )
    return tensors, np.prod(list(products), axis=0) / rank


def lokr(one, two):
    return {"lokr_w1": one, "lokr_w2": two}, np.kron(one, two)


def case(name):
    """The layer, the tensors, and dW of a file whose alpha is 3."""
    if name == "LoHa":
        return DENSE, *scaled(*loha(32, 32))
    if name == "LoHa, convolution":
        return CONV, *scaled(*loha(32, 32 * 9))
    if name == "LoHa, cores":
        return CONV, *scaled(*loha_with_cores(32, 32))
    if name == "LoKr, whole":  # alpha is of no account
        return DENSE, *lokr(draw(4, 8), draw(8, 4))
    if name == "LoKr, whole convolution":
        one, two = draw(4, 8), draw(8, 4, 3, 3)
        return CONV, *lokr(one, two)[:1], np.kron(one[..., None, None], two)
    if name == "LoKr, factors":
        a, b, two = draw(4, 2), draw(2, 8), draw(8, 4)
        delta = np.kron((a @ b).astype(np.float64), two) / 2
        return DENSE, *scaled({"lokr_w1_a": a, "lokr_w1_b": b, "lokr_w2": two}, delta)
    one, t, a, b = draw(4, 8), draw(2, 2, 3, 3), draw(2, 8), draw(2, 4)
    delta = np.kron(one[..., None, None], core(t, a, b)) / 2
    tensors = {"lokr_w1": one, "lokr_t2": t, "lokr_w2_a": a, "lokr_w2_b": b}
    return CONV, *scaled(tensors, delta)


def scaled(tensors, delta):
    return tensors | {"alpha": 3.0}, 3 * delta


CASES = (
    "LoHa",
    "LoHa, convolution",
    "LoHa, cores",
    "LoKr, whole",
    "LoKr, whole convolution",
    "LoKr, factors",
    "LoKr, core",
)


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_moves_as_the_formula_says(model, tmp_path, name):
    layer, tensors, delta = case(name)
    lora = load_lora(file(tmp_path, layer, **tensors), model)
    before = kernel(model, layer)
    moved = kernel(with_loras(model, (lora, 0.5)), layer) - before
    delta = 0.5 * delta.reshape(before.shape)
    # float32: some thousand products of order one
    np.testing.assert_allclose(moved, delta, atol=2e-5 * np.abs(delta).max())
    save_lora(lora, tmp_path / "again.safetensors", layout="kohya")
    again = load_lora(tmp_path / "again.safetensors", model)
    jax.tree.map(np.testing.assert_array_equal, again.parts, lora.parts)
    with pytest.raises(ValueError, match="no place in the layout 'diffusers'"):
        save_lora(lora, tmp_path / "other.safetensors")


def norms(values, axis):
    axes = tuple(i for i in range(values.ndim) if i != axis)
    return np.sqrt((values**2).sum(axes, keepdims=True))


@pytest.mark.parametrize("layer", [DENSE, CONV])
@pytest.mark.parametrize("axis", [0, 1])
def test_magnitudes(model, tmp_path, layer, axis):
    """DoRA: m (W + dW) / |W + dW|, with norms of outputs (axis 0) or of inputs."""
    before = kernel(model, layer)
    out, inside = before.shape[0], before[0].size
    down, up = draw(2, inside), draw(out, 2)
    magnitude = np.abs(draw(*norms(before, axis).shape)) + 0.5
    lora = load_lora(
        file(
            tmp_path,
            layer,
            **{
                "lora_down.weight": down.reshape(2, *before.shape[1:]),
                "lora_up.weight": up.reshape(out, 2, *(1,) * (before.ndim - 2)),
                "dora_scale": magnitude,
                "alpha": 2.0,
            },
        ),
        model,
    )
    for scale in (1.0, 0.5):
        moved = before + scale * (up.astype(np.float64) @ down).reshape(before.shape)
        expected = magnitude * moved / norms(moved, axis)
        ours = kernel(with_loras(model, (lora, scale)), layer)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    twice = kernel(with_loras(model, (lora, 0.5), (lora, 0.5)), layer)
    np.testing.assert_allclose(twice - before, 2 * (ours - before), atol=1e-5)
    layouts = ["kohya", "diffusers"] if axis == 0 else ["kohya"]
    for layout in layouts:
        save_lora(lora, tmp_path / f"{layout}.safetensors", layout=layout)
        again = load_lora(tmp_path / f"{layout}.safetensors", model)
        jax.tree.map(np.testing.assert_array_equal, again.parts, lora.parts)
    if axis == 1:
        with pytest.raises(ValueError, match="no magnitudes of inputs"):
            save_lora(lora, tmp_path / "other.safetensors")


def test_magnitudes_that_are_the_norms_change_nothing():
    w = jnp.asarray(draw(3, 3, 8, 4))
    for axis in (2, 3):
        own = jnp.asarray(norms(np.asarray(w), axis))
        np.testing.assert_allclose(rescaled(w, own), w, rtol=1e-6)


def test_what_does_not_fit_is_named(model, tmp_path):
    with pytest.raises(ValueError, match=r"to_q does not give a kernel of \[32, 32\]"):
        load_lora(file(tmp_path, DENSE, lokr_w1=draw(3, 8), lokr_w2=draw(8, 4)), model)
    with pytest.raises(ValueError, match="to_q does not give"):
        load_lora(file(tmp_path, DENSE, hada_w1_a=draw(32, 2), hada_w1_b=draw(2, 32)), model)
    wrong = {"lora_down.weight": draw(2, 32), "lora_up.weight": draw(32, 2)}
    with pytest.raises(ValueError, match="has 7 magnitudes, expected 32"):
        load_lora(file(tmp_path, DENSE, **wrong, dora_scale=draw(7, 1)), model)
