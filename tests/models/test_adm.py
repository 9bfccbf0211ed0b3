"""ADM and its classifier: published parameter counts, what they hear, their beginning, faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import (
    check_biases_begin_within_the_fan_in,
    check_every_example_hears_its_own,
    drawn,
    quick_jit,
    shapes,
    trained,
)

from diffax.denoiser import Network
from diffax.guidance import ClassifierGuidance
from diffax.models import ADM, NoisyClassifier, parameter_count
from diffax.models.quick_init import init
from diffax.parameterization import Eps
from diffax.schedules import cosine

SMALL = {
    "channels": 8,
    "multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "head_size": 8,
}
IMAGENET = {"channels": 256, "num_res_blocks": 2, "num_classes": 1000, "learned_variance": True}
IDDPM = {"channels": 128, "attention_resolutions": (16, 8), "num_heads": 4, "resample": "conv"}

# Of the original definitions; the second and third are EDM's form of the first, without learned
# variances. (A network of 296 M at 64 x 64, 554 M at 256 and 559 M at 512 in the paper.)
PUBLISHED = [
    (ADM(num_classes=1000, learned_variance=True), 64, 295_904_454),
    (ADM(num_classes=1000), 64, 295_899_267),
    (ADM(num_classes=1000, augment_size=9), 64, 295_900_995),
    (ADM(**IMAGENET, multipliers=(1, 1, 2, 3, 4), num_heads=4), 128, 421_529_606),
    (ADM(**IMAGENET, multipliers=(1, 1, 2, 2, 4, 4)), 256, 553_838_086),
    (ADM(**IMAGENET, multipliers=(0.5, 1, 1, 2, 2, 4, 4)), 512, 558_997_638),
    (ADM(**IDDPM, multipliers=(1, 2, 2, 2), learned_variance=True), 32, 52_546_438),
    (ADM(**IDDPM, multipliers=(1, 2, 3, 4), learned_variance=True), 64, 121_063_942),
    (NoisyClassifier(num_res_blocks=4), 64, 65_438_568),
    (NoisyClassifier(multipliers=(1, 1, 2, 3, 4)), 128, 42_568_040),
    (NoisyClassifier(multipliers=(1, 1, 2, 2, 4, 4)), 256, 54_096_360),
    (NoisyClassifier(multipliers=(0.5, 1, 1, 2, 2, 4, 4)), 512, 54_448_360),
]


def parameters(model, side):
    x, t = jnp.zeros((1, side, side, 3)), jnp.zeros(1)
    return jax.eval_shape(model.init, jax.random.key(0), x, t)


@pytest.mark.parametrize(
    "model, side, count",
    [pytest.param(*p, marks=() if i == 0 else pytest.mark.slow) for i, p in enumerate(PUBLISHED)],
)
def test_published_numbers_of_parameters(model, side, count):
    assert parameter_count(parameters(model, side)) == count


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [{"num_classes": 3, "augment_size": 4, "learned_variance": True}, {"resample": "conv"}],
    ids=["adm", "iddpm"],
)
def test_every_example_hears_its_own(fields):
    model = ADM(**SMALL, **fields)
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
@pytest.mark.parametrize("kind", [ADM, NoisyClassifier])
def test_biases_begin_as_the_originals_do(kind):
    model = kind(**SMALL, num_classes=3)
    params = init(model, jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))
    check_biases_begin_within_the_fan_in(params)


@pytest.mark.slow
def test_the_null_label_adds_nothing_and_is_what_nothing_told_means():
    model = ADM(**SMALL, num_classes=3)
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([1.0, 7.0])
    params = trained(model, x.shape[1:])
    apply = quick_jit(model.apply)
    null = apply(params, x, t, {"label": jnp.array([3, 3])})
    np.testing.assert_array_equal(apply(params, x, t, {}), null)
    table = params["params"].pop("class_embedding")
    np.testing.assert_array_equal(quick_jit(ADM(**SMALL).apply)(params, x, t), null)
    assert table["embedding"].shape == (3, 32)


@pytest.mark.slow
def test_a_classifier_guides():
    fields = SMALL | {"num_classes": 5, "multipliers": (1,)}
    classifier = NoisyClassifier(**fields)
    x, t = jax.random.normal(jax.random.key(0), (2, 4, 4, 3)), jnp.array([1.0, 7.0])
    params = drawn(parameters(classifier, 4))
    logits = quick_jit(classifier.apply)(params, x, t)
    assert logits.shape == (2, 5) and logits.dtype == jnp.float32

    def loss(params):
        return jnp.sum(classifier.apply(params, x, t) ** 2)

    for path, leaf in jax.tree.leaves_with_path(quick_jit(jax.grad(loss))(params)):
        if "to_k" not in jax.tree_util.keystr(path) or leaf.ndim > 1:
            assert float(jnp.abs(leaf).max()) > 0, path

    plain = Network(lambda params, x, t, condition: params * x, 0.5, {}, Eps())
    guided = ClassifierGuidance(plain, classifier.apply, params, jnp.array([2, 2]), 10.0)
    point = cosine(1000).at(300.0)
    x0 = quick_jit(lambda x: guided(x, point).x0)(x)

    def log_p(x):
        times = jnp.full(2, 300.0)
        return jax.nn.log_softmax(quick_jit(classifier.apply)(params, x, times))[:, 2]

    # Down the path the guided noise is taken away: the wanted class becomes likelier.
    step = 1e-2 * (x0 - plain(x, point).x0)
    assert np.all(np.asarray(log_p(x + step)) > np.asarray(log_p(x)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ADM(resample="bilinear"), "resample: expected one of residual, conv, got 'bil"),
        (lambda: ADM(multipliers=(1, float("nan"))), "multipliers: expected a finite number"),
        (lambda: shapes(ADM(**SMALL), (8, 9, 3)), "divisible by 2.*`multipliers`.*got 8x9"),
        (lambda: shapes(ADM(**SMALL | {"head_size": 5}), (8, 8, 3)), "head_size 5, got 16"),
        (lambda: NoisyClassifier(num_classes=1), "num_classes: expected whole numbers from 2"),
    ],
)
def test_faults(make, message):
    with pytest.raises(ValueError, match=message):
        make()
