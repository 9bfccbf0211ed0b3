"""Fields of a recipe set from text, by long and short names."""

from dataclasses import replace

import pytest

from diffax.adapters import LowRank
from diffax.conditioning import Captions, Labels
from diffax.data import Digits, ImageFolder, Toy
from diffax.evaluation import Evaluation, HeldOutLoss
from diffax.generation import Sampling
from diffax.losses import LearnedVariance
from diffax.models import UNet, VectorMLP
from diffax.objectives import Denoising
from diffax.schedules import VP, Cosine, Linear
from diffax.solvers import DDPM, choice
from diffax.training import SGD, AdamW, Config, Group, InverseSqrt
from diffax.training.overrides import full_name, override


def base() -> Config:
    return Config(Toy(), Denoising(VectorMLP()))


def overridden(config: Config | None = None, /, **given: str) -> Config:
    """`a__b="x y"` is `--a.b x y`."""
    words = {name.replace("__", "."): text.split() for name, text in given.items()}
    return override(config or base(), words)


def test_a_choice_by_its_name():
    assert overridden(schedule="linear").objective.schedule == Linear()
    assert overridden(objective__schedule="vp").objective.schedule == VP()
    assert overridden(data="digits").data == Digits()
    assert overridden(method="sgd").optimizer.method == SGD()
    assert overridden(variance="learned").objective.variance == LearnedVariance()
    assert overridden(adapter="low_rank").objective.adapter == LowRank()
    solver = overridden(solver="dpmpp_2m").sample.solver
    assert choice.name_of(solver) == "dpmpp_2m"


def test_values_of_a_choice_go_with_it():
    config = overridden(schedule__num_steps="10", schedule="linear", schedule__beta_end="0.5")
    assert config.objective.schedule == Linear(num_steps=10, beta_end=0.5)
    config = overridden(optimizer__method="adamw", optimizer__method__weight_decay="0.1")
    assert config.optimizer.method == AdamW(weight_decay=0.1)
    config = overridden(decay="inverse_sqrt", decay__start="7", learning_rate="1")
    assert config.optimizer.decay == InverseSqrt(7) and config.optimizer.learning_rate == 1.0
    config = overridden(sample__solver="dpmpp_2m", sample__solver__order="3")
    assert config.sample.solver == replace(choice.make("dpmpp_2m"), order=3)
    config = overridden(solver="ddpm", solver__variance="fixed_large")
    assert config.sample.solver == DDPM("fixed_large")  # text, though a choice has that name, too
    config = overridden(conditioner="labels", conditioner__dropout="0.5")
    assert config.objective.conditioner == Labels(dropout=0.5)
    config = overridden(variance="learned", variance__weight="0.01")
    assert config.objective.variance == LearnedVariance(weight=0.01)


def test_several_choices_in_order_and_their_fields():
    config = overridden(metrics="held_out_loss", held_out_loss__num="64", evaluation__every="5")
    assert config.evaluation == Evaluation(every=5, metrics=(HeldOutLoss(num=64),))
    # Those that are there keep their numbers; others come with their defaults.
    config = overridden(config, metrics="held_out_loss,held_out_loss", held_out_loss_2__seed="3")
    assert config.evaluation.metrics == (HeldOutLoss(num=64), HeldOutLoss(seed=3))
    assert overridden(config, held_out_loss__split="train").evaluation.metrics == (
        HeldOutLoss(split="train", num=64),
        HeldOutLoss(seed=3),
    )
    config = overridden(
        optimizer__groups="group group",
        optimizer__groups__group__pattern="bias",
        optimizer__groups__group__method="sgd",
        group_2__learning_rate="0.1",
    )
    assert config.optimizer.groups == (Group("bias", method=SGD()), Group(learning_rate=0.1))
    assert overridden(config, groups="None").optimizer.groups == ()
    assert overridden(config, groups="").optimizer.groups == ()


def test_an_outer_choice_first():
    given = {
        "network.channels": ["8"],
        "schedule.num_steps": ["20"],
        "network": ["unet"],
        "schedule": ["linear"],
        "network.multipliers": ["1", "2"],
    }
    for order in (given, dict(reversed(given.items()))):
        objective = override(base(), order).objective
        assert objective.network == UNet(channels=8, multipliers=(1, 2))
        assert objective.schedule == Linear(num_steps=20)


def test_the_choice_that_is_there_keeps_its_numbers():
    config = Config(Toy("moons", num=5), Denoising(VectorMLP(features=16), Cosine(num_steps=7)))
    assert overridden(config, schedule="cosine", data="toy") == config
    other = overridden(config, schedule="cosine", schedule__offset="0.5").objective.schedule
    assert other == Cosine(num_steps=7, offset=0.5)


def test_none_is_nothing_where_there_may_be_nothing():
    config = Config(Toy("moons"), Denoising(VectorMLP(), conditioner=Labels()))
    assert overridden(config, conditioner="None").objective.conditioner is None
    assert overridden(optimizer__clip="None").optimizer.clip is None
    assert overridden(data__noise="None").data.noise is None
    assert overridden(conditioner="None").objective.conditioner is None
    for name in ("schedule", "network", "objective", "data", "solver", "method", "decay"):
        with pytest.raises(ValueError, match=f"--{name} should be one of .*, got 'None'"):
            overridden(**{name: "None"})


def test_values_have_the_fields_types():
    assert overridden(ema__decays="0.9 0.99").ema.decays == (0.9, 0.99)
    assert overridden(ema__decays="").ema.decays == ()
    assert overridden(train__nonfinite="skip").train.nonfinite == "skip"
    assert overridden(train__tensorboard="False").train.tensorboard is False
    assert overridden(data="image_folder", data__image_size="16 8").data == ImageFolder(
        image_size=(16, 8)
    )
    assert overridden(data="image_folder", data__image_size="16").data.image_size == 16
    config = overridden(codec="standardize", codec__mean="1", codec__std="2 3")
    assert config.objective.codec.mean == 1.0 and config.objective.codec.std == (2.0, 3.0)
    literals = overridden(schedule="betas", schedule__betas="0.1 0.2")
    assert literals.objective.schedule.betas == (0.1, 0.2)


def test_several_fields_of_a_node_are_checked_together():
    config = overridden(warmup_steps="3", train__batch_size="6", train__accumulate="3")
    config = overridden(config, warmup_images="5", warmup_steps="0")
    assert (config.optimizer.warmup_images, config.train.accumulate) == (5, 3)
    captions = Config(ImageFolder(captions=True), Denoising(UNet(), conditioner=Captions()))
    changed = overridden(captions, conditioner__width="60", conditioner__num_heads="6")
    assert changed.objective.conditioner == Captions(width=60, num_heads=6)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"train__stepz": "3"}, "unknown option --train.stepz; nearest: train.steps"),
        ({"schedul": "cosine"}, "unknown option --schedul; nearest: "),
        ({"schedule__num_step": "3"}, "unknown option --schedule.num_step; nearest: "),
        ({"seed": "3"}, "--seed may mean --data.seed, --train.seed, --sample.seed: say which"),
        ({"steps": "3"}, "say which"),
        ({"schedule": "cosin"}, "--objective.schedule: no schedule is called 'cosin'; nearest: c"),
        ({"schedule": "cosine linear"}, "should be one of linear, "),
        ({"schedule": ""}, "got 'nothing'"),
        ({"schedule": "betas"}, "betas cannot be made"),
        ({"schedule": "linear", "schedule__offset": "1"}, "unknown option --schedule.offset"),
        ({"train__steps": "1.5"}, "--train.steps should be a whole number, got '1.5'"),
        ({"train__steps": ""}, "got 'nothing'"),
        ({"train__tensorboard": "yes"}, "should be True or False, got 'yes'"),
        ({"train__nonfinite": "x"}, "should be one of stop, skip, got 'x'"),
        ({"ema__decays": "0.9 x"}, "any number of values, each a number, got '0.9 x'"),
        ({"optimizer__clip": "x"}, "should be a number or None, got 'x'"),
        ({"learning_rate": "0"}, "learning_rate must be > 0"),
        ({"sample__solver__order": "2"}, "unknown option --sample.solver.order"),
        ({"sample__solver": "dpmpp_2m", "sample__solver__order": "9"}, "order"),
        ({"network__features": "0"}, "features"),
        (
            {"metrics": "held_out_los"},
            "--evaluation.metrics: no metric is called 'held_out_los'; n",
        ),
        ({"groups": "group grup"}, "--optimizer.groups: no group is called 'grup'; "),
        ({"held_out_loss__num": "3"}, "unknown option --held_out_loss.num"),
        (
            {"metrics": "held_out_loss", "held_out_loss__nun": "3"},
            "nearest: evaluation.metrics.h",
        ),
        ({"metrics": "held_out_loss", "held_out_loss__num": "x"}, "a whole number, got 'x'"),
        ({"metrics": "held_out_loss", "held_out_loss__num": "0"}, "num must be >= 1"),
        ({"conditioner__dropout": "0.1"}, "unknown option --conditioner.dropout"),
    ],
)
def test_what_cannot_be_meant_is_one_line(given, words):
    with pytest.raises(ValueError) as error:
        overridden(**given)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_shortest_full_name_is_meant():
    known = {"a.x": 0, "b.a.x": 0, "b.y": 0, "c.y": 0}
    assert full_name("a.x", known) == "a.x"
    assert full_name("x", known) == "a.x"
    assert full_name("z", known) is None
    with pytest.raises(ValueError, match="--y may mean --b.y, --c.y"):
        full_name("y", known)


def test_predictors_are_choices_as_solvers_are():
    config = overridden(solver="langevin", solver__predictor="ddim", solver__predictor__eta="0.5")
    assert config.sample == Sampling(
        solver=choice.make("langevin", predictor=choice.make("ddim", eta=0.5))
    )
