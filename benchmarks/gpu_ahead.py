"""What a GPU's compiler makes of the GPU suite, where there is no GPU.

    pip install -e '.[cuda13]'
    python -m benchmarks.gpu_ahead [--only cifar_128] [--out benchmarks/results/gpu_ahead.json]

XLA compiles for a device that it is only told of, here an H100. That shows whether a program
compiles, which kernels it consists of, how many bytes they read and write and how much memory is
held; not how long it takes. Convolutions and products are not tuned, for that needs the device.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.cases import CASES, Case
from benchmarks.diffax_worker import training_of
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.families import FAMILIES
from diffax.training.call import lower_call
from diffax.training.devices import make_mesh
from diffax.training.step import make_step

# An H100 with 80 GB as XLA describes it.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 19 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "pred": 1, "s8": 1, "u8": 1}
_MOVES_NOTHING = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all"}
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(([^)]*)\)")


def main() -> None:
    """Compiles case after case and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    names = [name for name, case in CASES.items() if case.suite == "gpu"]
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    parser.add_argument("--out", type=Path, help="JSON")
    flags = parser.parse_args()
    mesh = mesh_of(H100)
    found = {}
    print("| case | kernels | of a library | GB moved | GiB held | compiled in |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in flags.only:
        found[name] = one = planned(CASES[name], mesh)
        cells = [
            CASES[name].title,
            f"{one['kernels']:,}",
            f"{sum(one['libraries'].values()):,}",
            f"{one['bytes'] / 1e9:.1f}",
            f"{one['memory_gib']:.1f}",
            f"{one['compile_s']:.0f} s",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    if flags.out is not None:
        versions = {"date": str(date.today()), "jax": jax.__version__, "device": "NVIDIA H100 80GB"}
        flags.out.write_text(json.dumps(versions | {"cases": found}, indent=1) + "\n")


def mesh_of(target: str) -> Mesh:
    """One device that is not there, and a process that takes it for its own."""
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # they ask the device
    jax.config.update("jax_platforms", "")  # as if nothing had been asked for
    try:
        described = topologies.get_topology_desc(
            platform="cuda", target_config=target, topology="1x1x1"
        )
    except NotImplementedError as error:
        raise SystemExit(
            f"expected jax's CUDA plugin, got none ({error}); pip install -e '.[cuda13]'"
        ) from None
    jax.config.update("jax_platforms", "cpu")
    mesh = make_mesh()
    jax.default_backend = lambda: "gpu"  # what networks ask before they choose attention's form
    devices = np.array(described.devices).reshape(mesh.devices.shape)
    return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)


def planned(case: Case, mesh: Mesh) -> dict[str, Any]:
    """Figures of the case's training step, or of a call of its published network."""
    began = time.perf_counter()
    compiled = (_training(case, mesh) if case.train else _call(case, mesh)).compile()
    seconds = time.perf_counter() - began
    held = compiled.memory_analysis()
    size = held.argument_size_in_bytes + held.output_size_in_bytes + held.temp_size_in_bytes
    return {
        "title": case.title,
        **moved(compiled.as_text()),
        "memory_gib": (size - held.alias_size_in_bytes) / 2**30,
        "compile_s": seconds,
    }


def _training(case: Case, mesh: Mesh) -> jax.stages.Lowered:
    training = training_of(case, mesh)
    step = make_step(training.problem)
    return lower_call(step, training.places, training.batches, mesh, packed=True)[0]


def _call(case: Case, mesh: Mesh) -> jax.stages.Lowered:
    family, changes = case.ours
    module = module_from_config(
        FAMILIES[family]["unet"] | changes, dtype="bfloat16", param_dtype="bfloat16"
    )
    whole = NamedSharding(mesh, PartitionSpec())

    def there(shape: tuple[int, ...], dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

    params = jax.tree.map(lambda leaf: there(leaf.shape, leaf.dtype), parameter_shapes(module))
    x, t = there((case.batch, *case.shape)), there((case.batch,), jnp.float32)
    context = there((case.batch, *(case.context or ())))
    return jax.jit(module.apply).lower(params, x, t, {"context": context})


def moved(text: str) -> dict[str, Any]:
    """Kernels of a compiled program's largest part, its loop over steps, and what they move.

    Args:
        text: of the compiled program.

    Returns:
        "kernels", the number of them; "bytes", read and written by them, as if no cache kept
        anything between two; "libraries", how many calls of which library function.
    """
    parts = re.split(r"\n(?=(?:ENTRY )?%\S+ .*\{\n)", text)
    lines = max(parts, key=lambda part: part.count(" fusion(")).splitlines()
    found = [(match, line) for line in lines if (match := _INSTRUCTION.match(line))]
    types = {match[1]: match[2] for match, _ in found}
    kernels = total = 0
    libraries: Counter[str] = Counter()
    for match, line in found:
        _, kind, operation, operands = match.groups()
        if operation in _MOVES_NOTHING:
            continue
        kernels += 1
        read = (types.get(name, "") for name in re.findall(r"%([\w.\-]+)", operands))
        total += _size(kind) + sum(map(_size, read))
        if called := re.search(r'custom_call_target="([^"]*)"', line):
            libraries[called[1]] += 1
    return {"kernels": kernels, "bytes": total, "libraries": dict(libraries)}


def _size(kind: str) -> int:
    """Bytes of an array's type, or of a tuple's; the scratch space of libraries is left out."""
    arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", re.sub(r"\b[su]8\[\d+\]", "", kind))
    counts = ((_BYTES.get(name, 0), shape.split(",")) for name, shape in arrays)
    return sum(size * int(np.prod([int(n) for n in shape if n])) for size, shape in counts)


if __name__ == "__main__":
    main()
