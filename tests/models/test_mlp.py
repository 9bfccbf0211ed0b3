"""The networks for vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models import StepMLP, VectorMLP, parameter_count


def test_step_mlp_is_the_tutorials_network():
    model, x = StepMLP(num_steps=100), jax.random.normal(jax.random.key(0), (4, 2))
    t = jnp.array([0.0, 41.6, 42.0, 99.0])
    params = model.init(jax.random.key(1), x, t)
    # 2-128-128-128-2 and three tables of 100 embeddings.
    layers = (2 * 128 + 128) + 2 * (128 * 128 + 128) + (128 * 2 + 2)
    assert parameter_count(params) == layers + 3 * 100 * 128

    w = jax.tree.map(np.asarray, params["params"])
    h, step = np.asarray(x), np.array([0, 42, 42, 99])
    for i in range(3):
        dense = w[f"dense_{i}"]
        h = np.maximum(h @ dense["kernel"] + dense["bias"] + w[f"embedding_{i}"][step], 0)
    expected = h @ w["dense_3"]["kernel"] + w["dense_3"]["bias"]
    np.testing.assert_allclose(model.apply(params, x, t), expected, atol=2e-5)


def test_step_mlp_is_initialised_as_by_pytorch():
    model = StepMLP()
    w = model.init(jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1))["params"]
    for name, fan_in in (("dense_0", 2), ("dense_1", 128), ("dense_3", 128)):
        for leaf in w[name].values():
            assert float(jnp.abs(leaf).max()) <= fan_in**-0.5
    kernel = w["dense_1"]["kernel"]
    # Uniform: variance bound^2 / 3; 16,384 draws know it to 0.7 %.
    np.testing.assert_allclose(kernel.var() * 3 * 128, 1, atol=0.03)
    np.testing.assert_allclose(w["embedding_0"].std(), 1, atol=0.03)


def test_step_mlp_says_nan_beyond_its_steps():
    model, x = StepMLP(num_steps=10), jnp.zeros((3, 2))
    params = model.init(jax.random.key(0), x, jnp.zeros(3))
    bad = np.isnan(model.apply(params, x, jnp.array([-1.0, 9.0, 10.0]))).all(axis=1)
    np.testing.assert_array_equal(bad, [True, False, True])


def test_vector_mlp_knows_time_label_and_scale():
    model = VectorMLP(features=16, num_blocks=2, num_classes=3)
    x = jax.random.normal(jax.random.key(0), (3, 5))
    t, label = jnp.array([10.0, 20.0, 30.0]), jnp.array([0, 1, 3])
    params = model.init(jax.random.key(1), x, t, {"label": label})
    np.testing.assert_array_equal(model.apply(params, x, t, {"label": label}), np.zeros((3, 5)))

    draw = np.random.default_rng(0).standard_normal
    params = jax.tree.map(lambda p: p + 0.3 * jnp.asarray(draw(p.shape), p.dtype), params)
    network = jax.jit(model.apply)

    def apply(params, x, t, label=None):
        return network(params, x, t, {} if label is None else {"label": label})

    out = apply(params, x, t, label)
    assert out.shape == (3, 5) and out.dtype == jnp.float32

    def differs(other):
        return [bool(np.abs(a - b).max() > 1e-3) for a, b in zip(out, other, strict=True)]

    assert differs(apply(params, x, t, jnp.array([0, 2, 3]))) == [False, True, False]
    assert differs(apply(params, x, t.at[2].add(1.0), label)) == [False, False, True]
    np.testing.assert_array_equal(apply(params, x, t), apply(params, x, t, jnp.full(3, 3)))
    scaled = VectorMLP(features=16, num_blocks=2, num_classes=3, time_scale=1000.0)
    np.testing.assert_allclose(
        jax.jit(scaled.apply)(params, x, t / 1000, {"label": label}), out, atol=1e-3
    )


def test_vector_mlp_carries_distant_vectors_linearly():
    """A bounded network could not name the noise of a far vector."""
    model = VectorMLP(features=16, num_blocks=2)
    x = jnp.array([[1.0, -2.0]])
    params = model.init(jax.random.key(0), x, jnp.zeros(1))
    params["params"]["dense_out"]["kernel"] = jnp.ones((16, 2))
    near, far = (model.apply(params, s * x, jnp.zeros(1)) for s in (1.0, 1000.0))
    np.testing.assert_allclose(far, 1000 * near, rtol=1e-4)


@pytest.mark.parametrize("model", [StepMLP(), VectorMLP()])
def test_faults(model):
    key, x, t = jax.random.key(0), jnp.zeros((2, 2)), jnp.zeros(2)
    assert model.reads == ()
    with pytest.raises(ValueError, match=r"vectors \[B, D\]"):
        model.init(key, jnp.zeros((2, 4, 4, 1)), t)
    with pytest.raises(ValueError, match=r"\['label'\] is unknown.*reads nothing: pass {}"):
        model.init(key, x, t, {"label": jnp.zeros(2, jnp.int32)})
    with pytest.raises(ValueError, match="as a dict"):
        model.init(key, x, t, jnp.zeros(2, jnp.int32))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: StepMLP(num_steps=0), r"StepMLP\.num_steps: expected whole numbers from 1"),
        (lambda: StepMLP(features=10**9), r"StepMLP\.features: .*to 65,536, got 1000000000"),
        (lambda: VectorMLP(features=2), r"VectorMLP\.features: expected whole numbers from 4"),
        (lambda: VectorMLP(num_blocks=10**9), r"VectorMLP\.num_blocks"),
        (lambda: VectorMLP(num_classes=0), r"VectorMLP\.num_classes: .* or None, got 0"),
        (lambda: VectorMLP(time_scale=float("nan")), r"VectorMLP\.time_scale: expected a finite"),
    ],
)
def test_fields_are_checked_before_anything_is_built(make, message):
    with pytest.raises(ValueError, match=message):
        make()
