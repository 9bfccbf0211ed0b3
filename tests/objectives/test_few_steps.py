"""Objectives of few-step models: what is learned, what is frozen, and what is refused."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import codecs, conditioning, parameterization, schedules
from diffax.data import Column, Spec
from diffax.generation import Model, Sampling, generate
from diffax.models import BoundModule, VectorMLP
from diffax.objectives import ConsistencyDistillation, ConsistencyTraining, Progressive
from diffax.solvers import DDIM, Consistency

SPEC = Spec({"x": Column((2,), "float32")}, size=4, mean=(0.0, 0.0), std=(1.0, 1.0))
NETWORK = VectorMLP(features=8, num_blocks=1)
BATCH = {"x": jax.random.normal(jax.random.key(0), (16, 2))}


def model(**changes) -> Model:
    params = NETWORK.init(jax.random.key(7), jnp.zeros((1, 2)), jnp.zeros(1))
    parts = dict(
        network=BoundModule(NETWORK, params),
        schedule=schedules.cosine(100),
        parameterization=parameterization.V(),
        codec=codecs.Identity(),
        conditioner=conditioning.Nothing(),
        settings=Sampling(),
        shape=(2,),
    )
    return Model(**parts | changes)


@dataclass(frozen=True)
class Teacher:
    """Stands for a run."""

    changes: Any = dataclasses.field(default_factory=dict)
    path: str = "runs/teacher"

    def model(self) -> Model:
        return model(**self.changes)


def begun(recipe):
    objective = recipe.build(SPEC)
    init = jax.jit(lambda key, loaded: objective.init(key, BATCH, loaded))
    return objective, *init(jax.random.key(0), objective.loaded)


@pytest.mark.parametrize("recipe", [ConsistencyDistillation(Teacher()), Progressive(Teacher(), 2)])
def test_a_student_starts_as_its_teacher_which_stays(recipe):
    objective, trainable, frozen = begun(recipe)
    teacher = Teacher().model().network.params
    for tree in (trainable["network"], frozen["teacher"]):
        jax.tree.map(np.testing.assert_array_equal, tree, teacher)
    assert sorted(objective.loaded) == ["teacher"]
    assert objective.sources == {"teacher": "runs/teacher"}

    def loss(trainable, frozen):
        return objective.loss(trainable, frozen, BATCH, jax.random.key(1))[0]

    value, (slope, of_teacher) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        trainable, frozen
    )
    assert value > 0 and np.isfinite(value)
    norm = lambda tree: sum(float(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree))
    assert norm(slope) > 0 and norm(of_teacher) == 0
    student = objective.model(trainable, frozen, Sampling())
    assert isinstance(student.parameterization, parameterization.V)
    assert student.schedule == objective.schedule


def test_consistency_training_has_no_teacher_and_makes_a_model_of_one_call():
    objective, trainable, frozen = begun(ConsistencyTraining(NETWORK, intervals=4))
    assert frozen == {} and objective.loaded == {}
    value, metrics = jax.jit(objective.loss)(trainable, frozen, BATCH, jax.random.key(1))
    assert value > 0
    assert sum(float(metric.count) for metric in metrics.values()) == 16
    settings = Sampling(solver=Consistency(), steps=1, spacing="karras", clip=None, num=3)
    objective.check_sampling(settings)
    assert generate(objective.model(trainable, frozen, settings)).data.shape == (3, 2)


def test_a_student_samples_like_its_teacher_before_it_has_learned():
    objective, trainable, frozen = begun(Progressive(Teacher(), steps=2))
    settings = Sampling(solver=DDIM(), steps=2, num=3)
    student = generate(objective.model(trainable, frozen, settings))
    teacher = generate(model(settings=settings))
    np.testing.assert_allclose(student.x, teacher.x, atol=1e-5)


@pytest.mark.parametrize("recipe, message", [
    (lambda: Progressive(), "needs a teacher: --objective.teacher run"),
    (lambda: Progressive(Teacher({"shape": (3,)})), "makes data of shape [3]"),
    (lambda: ConsistencyTraining(NETWORK, parameterization=parameterization.X0()), "x0-prediction"),
    (lambda: ConsistencyTraining(NETWORK, schedule=schedules.RectifiedFlow(), spacing="trailing"),
     "set --objective.by_gap False"),
])  # fmt: skip
def test_what_cannot_work_is_refused(recipe, message):
    with pytest.raises(ValueError) as error:
        recipe().build(SPEC)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_impossible_numbers_are_refused():
    for make in (
        lambda: Progressive(steps=0),
        lambda: ConsistencyTraining(NETWORK, intervals=1),
        lambda: ConsistencyDistillation(huber=0.0),
    ):
        with pytest.raises(ValueError, match="must be"):
            make()
