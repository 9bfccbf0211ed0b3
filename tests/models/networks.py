"""Networks with parameters as if trained, and what every network must do."""

import jax
import jax.numpy as jnp
import numpy as np


def shapes(model, size=(8, 8, 1), condition=None):
    """Shapes of the parameters, for images of a size; nothing is computed."""
    x, t = jnp.zeros((2, *size)), jnp.zeros((2,))
    condition = condition or {}
    return jax.eval_shape(lambda key: model.init(key, x, t, condition), jax.random.key(0))


def trained(model, size=(8, 8, 1), condition=None):
    """Parameters as if trained, none near zero."""
    return drawn(shapes(model, size, condition))


def drawn(shapes):
    """Parameters of such shapes, none near zero. By numpy: compiling `init` takes longer."""
    draw = np.random.default_rng(0).standard_normal
    # A kernel's outputs keep the size of its inputs; scales lie near one.
    return jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.asarray(
            draw(p.shape) * np.prod(p.shape[:-1]) ** -0.5
            if len(p.shape) > 1
            else draw(p.shape) * 0.1 + ("scale" in jax.tree_util.keystr(path)),
            p.dtype,
        ),
        shapes,
    )


def quick_jit(f):
    """Compile for a single run on tiny shapes."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})


def check_every_example_hears_its_own(model, x, t, told, **others):
    """Every parameter has a gradient; what one example is told, only that one hears.

    Args:
        model: the network.
        x: images of two examples.
        t: two times.
        told: the condition.
        **others: of each entry of the condition, another value for the first example.

    Returns:
        The output.
    """
    params = trained(model, x.shape[1:], told)

    @quick_jit
    def run(params, x, t, told):
        def loss(params):
            out = model.apply(params, x, t, told)
            return jnp.mean(out**2), out

        return jax.grad(loss, has_aux=True)(params)

    gradient, out = run(params, x, t, told)
    assert out.dtype == jnp.float32
    for path, leaf in jax.tree.leaves_with_path(gradient):
        name = jax.tree_util.keystr(path)
        # A key's bias shifts all logits of a query alike, which the softmax ignores; fixed
        # frequencies and phases are not learned.
        fixed = "frequencies" in name or "phases" in name
        if not fixed and ("to_k" not in name or leaf.ndim > 1):
            assert float(jnp.abs(leaf).max()) > 0, path

    def changed(*inputs):
        other, least = run(params, *inputs)[1], 1e-4 * np.abs(out).max()
        return [bool(np.abs(a - b).max() > least) for a, b in zip(out, other, strict=True)]

    assert changed(x, t.at[1].multiply(-2.0), told) == [False, True]
    assert changed(x.at[0].add(1), t, told) == [True, False]
    for name, value in others.items():
        other = jnp.asarray(told[name]).at[0].set(value)
        assert changed(x, t, told | {name: other}) == [True, False], name
    return out


def check_biases_begin_within_the_fan_in(params, zero=()):
    """Within 1 / sqrt(fan-in) as PyTorch's, and zero beside zeros and where a name says so."""
    layers = list(_layers(params))
    assert layers
    for path, kernel, bias in layers:
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        begins_at_zero = not np.any(kernel) or any(name in path for name in zero)
        assert np.any(bias) != begins_at_zero and np.abs(bias).max() <= bound, path


def _layers(params, path=""):
    """Names, kernels and biases of all layers that have both."""
    if "kernel" in params and "bias" in params:
        yield path, params["kernel"], params["bias"]
    for name, inner in params.items():
        if isinstance(inner, dict):
            yield from _layers(inner, f"{path}/{name}")
