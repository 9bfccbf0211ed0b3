"""Many small arrays as one: nothing but the order of a sum changes."""

import dataclasses

import jax
import jax.numpy as jnp
import make_programs
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from diffax.data import Toy
from diffax.models import VectorMLP
from diffax.models.blocks.fusion import written
from diffax.objectives import Denoising
from diffax.training import SGD, Adafactor, AdamW, Config, Group, Lion, Muon, Optimizer, TrainConfig
from diffax.training.call import PackedCall, compile_call
from diffax.training.devices import make_mesh
from diffax.training.packing import layout_of, pack, unpack
from diffax.training.setup import prepare
from diffax.training.step import make_step

PARAMS = {"a": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}, "b": jnp.zeros(50)}


def layout(largest=10, params=PARAMS):
    return layout_of(jax.eval_shape(lambda: params), largest=largest)


def assert_same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)


def test_every_tree_like_the_parameters_is_packed_and_unpacked_again():
    state = {"params": PARAMS, "moments": (jax.tree.map(jnp.square, PARAMS),), "step": jnp.int32(3)}
    packed = pack(state, layout())
    # Leaves in the order of their names: the bias first.
    np.testing.assert_array_equal(packed["params"].vector, [1, 1, 1, 0, 1, 2, 3, 4, 5])
    assert [leaf.shape for leaf in packed["params"].others] == [(50,)]
    assert len(jax.tree.leaves(packed)) == 5  # twice a vector and the large leaf, and the step
    assert_same(unpack(packed), state)


def test_a_gradient_of_what_is_packed_is_packed():
    def loss(tree):
        tree = unpack(tree)
        return jnp.sum(tree["a"]["kernel"] ** 2) + jnp.sum(tree["b"] * 3 + 1) ** 2

    packed = jax.grad(loss)(pack(PARAMS, layout()))
    assert_same(unpack(packed), jax.grad(loss)(PARAMS))


def test_what_stays_as_it_is():
    mesh = make_mesh()
    cut = NamedSharding(mesh, P("data"))

    def place(*shape, dtype=jnp.float32, sharding=None):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    small, half = place(4), place(4, dtype=jnp.bfloat16)
    leaves = [small, half, place(100), place(4, sharding=cut), small]
    if mesh.size == 1:  # cut into one part: whole
        leaves[3] = half
    assert layout_of(leaves, largest=50).packed == (True, False, False, False, True)
    assert layout_of([small, half], largest=50) is None
    # Large leaves are packed where hardly another has their shape.
    leaves = [small, place(100), place(60), place(60), place(100), place(60), place(200)]
    packed = layout_of(leaves, largest=50, rare=150).packed
    assert packed == (True, True, False, False, True, False, False)


@pytest.fixture(scope="module")
def setup():
    config = Config(
        data=Toy("moons", num=64),
        objective=Denoising(network=VectorMLP(features=8, num_blocks=1)),
        optimizer=Optimizer(method=AdamW(), learning_rate=1e-2),
        train=TrainConfig(steps=6, batch_size=8, steps_per_call=3, log_every=3, nonfinite="skip"),
    )
    return prepare(config)


def test_steps_are_the_same_to_rounding(setup):
    stop = np.zeros(setup.mesh.size, np.int32)
    found = []
    for packed in (True, False):
        call = compile_call(
            make_step(setup.problem), setup.places, setup.batch_shapes(), setup.mesh,
            packed=packed, quick=True,
        )  # fmt: skip
        assert isinstance(call, PackedCall) == packed
        state, frozen = setup.start()
        for first in (0, 3):
            batches = setup.dataset.batches(first, 3, seed=0, batch_size=8)
            before = jax.tree.leaves(state.trainable)
            state, metrics, _ = call(state, frozen, setup.place(batches), np.int32(3), stop)
            assert all(leaf.is_deleted() for leaf in before)  # donated, one way or the other
        found.append((state, metrics))
    (ours, our_metrics), (theirs, their_metrics) = found
    assert int(ours.step) == 6 and jax.tree.structure(ours) == jax.tree.structure(theirs)
    # A sum in another order moves the norm, and so the clipped update, by some units of 6e-8.
    for one, other in zip(
        jax.tree.leaves((ours.trainable, ours.opt_state, ours.ema, our_metrics)),
        jax.tree.leaves((theirs.trainable, theirs.opt_state, theirs.ema, their_metrics)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-7)


def test_layers_alike_share_their_kernels():
    def kinds(layers: int) -> int:
        shape = {"kernel": jnp.zeros((8, 8)), "scale": jnp.zeros(8), "bias": jnp.zeros(8)}
        params = {f"layer_{i}": shape for i in range(layers)}

        def loss(params, x):
            for layer in unpack(params).values():
                x = written(jnp.tanh(x @ layer["kernel"] * layer["scale"] + layer["bias"]))
            return x.sum()

        packed = pack(params, layout(largest=100, params=params))
        return make_programs.kinds_of_kernels(jax.jit(jax.grad(loss)).lower(packed, jnp.ones(8)))

    assert kinds(9) == kinds(5)


def test_only_what_treats_every_number_alike(setup):
    trainable = setup.places[0].trainable
    assert setup.config.optimizer.elementwise(trainable)
    for method in (SGD(), Lion()):
        assert Optimizer(method=method).elementwise(trainable)
    others = (
        Optimizer(method=Muon()),
        Optimizer(method=Adafactor()),
        Optimizer(groups=(Group(pattern="bias"),)),
        Optimizer(unit_weights="kernel$"),
    )
    assert not any(optimizer.elementwise(trainable) for optimizer in others)
    assert not Optimizer().elementwise({"assigned": jnp.zeros(3), "network": jnp.zeros(3)})
    adafactor = dataclasses.replace(setup.config, optimizer=others[1])
    assert not isinstance(prepare(adafactor).compile(), PackedCall)
