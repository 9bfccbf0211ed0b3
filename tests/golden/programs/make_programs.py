"""Records the size of the main programs: `python tests/golden/programs/make_programs.py`.

Writes programs.json beside itself, an entry for every line of jax it was run with: what a program
asks for before it is compiled (FLOPs, bytes accessed, operations), what a small one becomes
(kernels, memory), and how many programs a short run compiles. To be run again, and looked at, when
something was meant to change.
"""

import collections
import json
import os
import re
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
PLACE = Path(__file__).with_name("programs.json")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from diffax.compilation import llvm_level  # noqa: E402
from diffax.generation import generate  # noqa: E402
from diffax.models import UNet  # noqa: E402
from diffax.training import Setup, load_recipe, prepare  # noqa: E402
from diffax.training.call import lower_call  # noqa: E402
from diffax.training.step import make_step  # noqa: E402

RECIPES = Path(__file__).parents[3] / "configs"
QUICK = {"xla_backend_optimization_level": 0}


def jax_line() -> str:
    """Such as "0.10"; programs of other releases of a line are the same within a few per cent."""
    return ".".join(jax.__version__.split(".")[:2])


def figures() -> dict[str, dict[str, float]]:
    """Program -> figure -> number."""
    digits = prepare(load_recipe("digits", RECIPES).config)
    tiny = prepare(load_recipe("s_curve:debug", RECIPES).config)
    return {
        "digits training call": requested(training_call(digits))
        | {"kinds of kernels": kinds_of_kernels(training_call(digits))},
        "s_curve:debug training call": requested(training_call(tiny))
        | compiled(training_call(tiny)),
        "CIFAR U-Net gradient, batch 8": requested(cifar_gradient()),
        "s_curve:debug start, train, sample": {"compilations": compilations(tiny)},
    }


def training_call(setup: Setup) -> jax.stages.Lowered:
    """The call of several steps, as `train.py` compiles it."""
    step = make_step(setup.problem)
    return lower_call(step, setup.places, setup.batch_shapes(), setup.mesh, packed=setup.packed)[0]


def requested(lowered: jax.stages.Lowered) -> dict[str, float]:
    """Of a program before the compiler has seen it."""
    cost = lowered.cost_analysis()
    operations = collections.Counter(re.findall(r"stablehlo\.(\w+)", lowered.as_text()))
    return {
        "gflops": round(cost["flops"] / 1e9, 4),
        "gigabytes": round(cost["bytes accessed"] / 1e9, 4),
        "operations": sum(operations.values()),
        "convolutions": operations["convolution"],
    }


def compiled(lowered: jax.stages.Lowered) -> dict[str, float]:
    """Of the compiled program: kernels, and what it needs besides its arguments."""
    program = lowered.compile(compiler_options=QUICK)
    kernels = re.findall(r" (?:fusion|dot|convolution|custom-call)\(", program.as_text())
    megabytes = program.memory_analysis().temp_size_in_bytes / 1e6
    return {"kernels": len(kernels), "megabytes": round(megabytes, 4)}


def kinds_of_kernels(lowered: jax.stages.Lowered) -> int:
    """Kernels that differ in more than names: those alike are compiled once."""
    # Only XLA's newer way to write fusions has it so; it is the one that training is compiled by.
    text = lowered.compile(compiler_options=llvm_level(0)).as_text()
    called = set(re.findall(r"kind=k(?:Loop|Input|Output), calls=(%[\w.\-]+)", text))
    bodies = re.findall(r"^(%[\w.\-]+) [^\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return len({_nameless(body) for name, body in bodies if name in called})


def _nameless(body: str) -> str:
    """The operations alone, with names in their order for names, without where they came from."""
    body = re.sub(r", (?:metadata|frontend_attributes|backend_config)=\{.*", "", body)
    names: dict[str, str] = {}
    return re.sub(r"%[\w.\-]+", lambda name: names.setdefault(name[0], f"%{len(names)}"), body)


def cifar_gradient() -> jax.stages.Lowered:
    """Gradient of a sum of the 35.7 M network's answers."""
    network = UNet()
    x, t = jnp.zeros((8, 32, 32, 3)), jnp.zeros(8)
    params = jax.eval_shape(network.init, jax.random.key(0), x, t)
    gradient = jax.grad(lambda params, x, t: network.apply(params, x, t).sum())
    return jax.jit(gradient).lower(params, x, t)


def compilations(setup: Setup) -> int:
    """Programs compiled from the start to the second picture; other seeds need no more."""
    found = []

    def listen(event: str, seconds: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    state, frozen = setup.start()
    setup.compile()
    model = setup.objective.model(state.trainable, frozen, setup.config.sample)
    generate(model, num=4, seed=0)
    made = len(found)
    generate(model, num=4, seed=1)
    assert len(found) == made, "another seed compiled again"
    return made


if __name__ == "__main__":
    known = json.loads(PLACE.read_text()) if PLACE.exists() else {}
    known[jax_line()] = figures()
    PLACE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(json.dumps(known[jax_line()], indent=1))
