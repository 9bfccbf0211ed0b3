"""DDPM++ and NCSN++: published parameter counts, what they hear, their beginning, faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import check_every_example_hears_its_own, quick_jit, shapes

from diffax.models import SongUNet, parameter_count

SMALL = {"channels": 8, "multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}

BIG = {"multipliers": (1, 2, 2, 2)}

# Trainable parameters of the original definitions (EDM's; those of score SDEs are the same network
# without classes and augmentation). NCSN++'s 128 frequencies are parameters here that no gradient
# reaches, and buffers there.
PUBLISHED = [
    (SongUNet(), 32, 55_732_739),
    (SongUNet(augment_size=9), 32, 55_733_891),
    (SongUNet(augment_size=9, num_classes=10), 32, 55_735_299),
    (SongUNet.ncsnpp(), 32, 56_395_523),
    (SongUNet.ncsnpp(augment_size=9, num_classes=10), 32, 56_400_643),
    (SongUNet(**BIG), 32, 61_804_419),
    (SongUNet(**BIG, augment_size=9), 64, 61_805_571),
    (SongUNet.ncsnpp(**BIG), 32, 62_758_787),
    (SongUNet.ncsnpp(**BIG, augment_size=9), 64, 62_761_091),
    (SongUNet(**BIG, num_res_blocks=8), 32, 106_632_579),
    (SongUNet.ncsnpp(**BIG, num_res_blocks=8), 32, 107_586_947),
]


@pytest.mark.parametrize(
    "model, side, count",
    [pytest.param(*p, marks=() if i == 4 else pytest.mark.slow) for i, p in enumerate(PUBLISHED)],
)
def test_published_numbers_of_parameters(model, side, count):
    fixed = 128 if model.embedding == "fourier" else 0
    assert parameter_count(shapes(model, (side, side, 3))) == count + fixed


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"num_classes": 3, "augment_size": 4, "learned_variance": True},
        {"embedding": "fourier", "encoder": "residual", "taps": (1, 3, 3, 1), "remat": True},
        {"encoder": "skip", "decoder": "skip"},
    ],
    ids=["ddpm++", "ncsn++", "skip"],
)
def test_every_example_hears_its_own(fields):
    model = SongUNet(**SMALL, **fields)
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 4, 3)), jnp.array([1.0, 7.0])
    told, others = {}, {}
    if model.reads:
        assert model.reads == ("label", "augment")
        # Label 3 is the null label.
        told = {"label": jnp.array([0, 2]), "augment": jnp.ones((2, 4))}
        others = {"label": 3, "augment": 0.5}
    out = check_every_example_hears_its_own(model, x, t, told, **others)
    assert out.shape == (2, 8, 4, 6 if model.learned_variance else 3)


@pytest.mark.slow
def test_its_beginning():
    """Sums of unit variance, branches and output near zero; nothing told is the null label."""
    model = SongUNet(channels=8, multipliers=(1,), num_res_blocks=1, num_classes=3, augment_size=2)
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 4, 1)), jnp.zeros(2)
    told = {"label": jnp.array([3, 3]), "augment": jnp.zeros((2, 2))}
    out, params = quick_jit(lambda: model.init_with_output(jax.random.key(1), x, t, told))()
    assert 0 < float(jnp.abs(out).max()) < 1e-3
    np.testing.assert_array_equal(out, quick_jit(model.apply)(params, x, t))
    middle = params["params"]["mid_block"]
    assert 0.9 < jnp.abs(middle["resnets_0"]["conv1"]["kernel"]).max() / np.sqrt(3 / 72) <= 1
    # sqrt(0.2) of Xavier's bound for one matrix three times as wide.
    bound = np.sqrt(0.2 * 6 / (8 + 24))
    assert 0.9 < jnp.abs(middle["attentions_0"]["to_q"]["kernel"]).max() / bound <= 1


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SongUNet(taps=(1, 2, 1)), r"taps: expected 2, 4, 6 or 8 weights, got \(1, 2, 1\)"),
        (lambda: SongUNet(encoder="unet"), "encoder: expected one of standard, skip, residual"),
        (lambda: SongUNet(augment_size=0), "augment_size: expected whole numbers.* or None, got 0"),
        (lambda: shapes(SongUNet(**SMALL), (8, 9, 3)), "divisible by 2.*`multipliers`.*got 8x9"),
        (
            lambda: shapes(
                SongUNet(**SMALL, augment_size=9), condition={"augment": jnp.ones((2, 8))}
            ),
            r"\[B, 9\], got \(2, 8\)",
        ),
    ],
)
def test_faults(make, message):
    with pytest.raises(ValueError, match=message):
        make()
