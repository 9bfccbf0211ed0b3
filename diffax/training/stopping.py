"""Whether to stop: one answer of all processes, found out without waiting for the devices."""

from __future__ import annotations

from collections import deque

import jax
import numpy as np
from jax.sharding import Mesh

from diffax.training.devices import batch_sharding
from diffax.training.keeping.signals import StopRequest


class Stopping:
    """What each process was asked, passed on with every compiled call.

    Args:
        request: what this process was asked.
        mesh: all devices.
    """

    def __init__(self, request: StopRequest, mesh: Mesh) -> None:
        self._request = request
        self._mesh = mesh
        self._told: deque[jax.Array] = deque()

    def flags(self) -> jax.Array:
        """This process's wish to stop, as its part of an array that all processes can see."""
        local = np.full(len(self._mesh.local_devices), self._request.status or 0, np.int32)
        return jax.make_array_from_process_local_data(
            batch_sharding(self._mesh), local, (self._mesh.size,)
        )

    def after(self, flag: jax.Array | None) -> bool:
        """Whether to stop after the call just made: the same answer in all processes.

        Of several, each looks at what all of them wished in the call before the last one: that is
        known without waiting for the devices.

        Args:
            flag: the call's third result, whether any process wished to; None before the first.
        """
        if jax.process_count() == 1:
            return self._request.status is not None
        if flag is not None:
            self._told.append(flag)
        return len(self._told) > 1 and bool(self._told.popleft())
