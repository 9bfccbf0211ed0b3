"""Several processes: how they find each other, and what they must agree on."""

from __future__ import annotations

import glob
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_LONGEST = 1024  # bytes of a message that processes pass on


@dataclass(frozen=True)
class Cluster:
    """How the processes of a run find each other.

    Attributes:
        coordinator: host:port of process 0; None: found automatically, or a single process.
        num_processes: how many there are.
        process_id: which of them this one is, from 0.
        timeout: seconds without a sign of life after which a process counts as dead, and the
            others end.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    timeout: int = 100


def initialize(cluster: Cluster) -> None:
    """Joins the other processes, where there are others. Call it before any other use of JAX.

    By the flags where they are given; on TPU pods, under SLURM with more than one task, and under
    Open MPI by what the environment says.

    Raises:
        ValueError: some of the flags but not all of them.
    """
    flags = (cluster.coordinator, cluster.num_processes, cluster.process_id)
    if any(flag is not None for flag in flags) and None in flags:
        raise ValueError(
            "--coordinator HOST:PORT, --num-processes N and --process-id I go together; "
            f"got {cluster.coordinator}, {cluster.num_processes}, {cluster.process_id}"
        )
    if cluster.coordinator is None and not _in_cluster():
        return
    if _only_cpu():
        # The processes of a CPU run talk to each other through gloo.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if cluster.coordinator is None:
        jax.distributed.initialize(
            local_device_ids=_slurm_devices(), heartbeat_timeout_seconds=cluster.timeout
        )
    else:
        jax.distributed.initialize(
            *flags, heartbeat_timeout_seconds=cluster.timeout, initialization_timeout=300
        )


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def agree(value: Any) -> Any:
    """Process 0's value, everywhere; a tree of NumPy numbers of the same shapes."""
    if jax.process_count() == 1:
        return value
    return multihost_utils.broadcast_one_to_all(value)


def by_first(action: Callable[[], int]) -> int:
    """What process 0 does for all: its answer, or its error in one line, in every process.

    Args:
        action: done by process 0 only; gives a number.

    Raises:
        ValueError, OSError: process 0's own there, a ValueError with the same words elsewhere.
    """
    answer, failure = 0, None
    if is_first():
        try:
            answer = action()
        except (ValueError, OSError) as error:
            failure = error
    failed, answer, text = agree((np.int32(failure is not None), np.int32(answer), _sent(failure)))
    if failure is not None:
        raise failure
    if failed:
        raise ValueError(_words(text))
    return int(answer)


def by_all(action: Callable[[], None]) -> None:
    """What every process does for itself; where one fails, all do.

    Args:
        action: may wait for no other process.

    Raises:
        ValueError, OSError: a process's own there, a ValueError with the words of the first that
            failed elsewhere.
    """
    failure: Exception | None = None
    try:
        action()
    except (ValueError, OSError) as error:
        failure = error
    if jax.process_count() > 1:
        own = np.int32(failure is not None), _sent(failure)
        failed, texts = multihost_utils.process_allgather(own)
        if failure is None and failed.any():
            first = int(failed.argmax())
            raise ValueError(f"process {first}: {_words(texts[first])}")
    if failure is not None:
        raise failure


def _sent(failure: Exception | None) -> np.ndarray:
    """An error's words as an array of one size."""
    text = np.zeros(_LONGEST, np.uint8)
    words = str(failure or "").encode()[:_LONGEST]
    text[: len(words)] = np.frombuffer(words, np.uint8)
    return text


def _words(text: np.ndarray) -> str:
    return text.tobytes().rstrip(b"\0").decode(errors="replace")


def any_process(flag: bool) -> bool:
    """Whether any process says so; the same answer everywhere."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.int32(flag)).any())


def _only_cpu() -> bool:
    return os.environ.get("JAX_PLATFORMS", "") == "cpu"


def _in_cluster() -> bool:
    """Whether the environment describes several processes that JAX knows how to join."""
    env = os.environ
    slurm = int(env.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in env
    open_mpi = int(env.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
    return slurm or open_mpi or (_on_tpu() and not _only_cpu())


def _slurm_devices() -> list[int] | None:
    """All GPUs of the machine where SLURM runs one task on each.

    JAX alone would give every SLURM task one GPU, and leave the others idle.
    """
    env = os.environ
    one_task_a_node = "SLURM_NNODES" in env and env["SLURM_NNODES"] == env.get("SLURM_NTASKS")
    gpus = env.get("SLURM_GPUS_ON_NODE", "")
    return list(range(int(gpus))) if one_task_a_node and gpus.isdigit() else None


def _on_tpu() -> bool:
    # A single TPU machine is a pod of one: joining itself does no harm.
    chips = glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None
