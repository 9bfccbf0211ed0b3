"""The same numbers as diffusers: its scheduler configurations as schedule, grid and solver.

diffax places points and takes previous times its own way (see `docs/samplers.md`). Published models
come with a `scheduler_config.json`; `from_diffusers` reads one and gives what makes our loop repeat
that scheduler's numbers, its quirks included. Nothing outside `diffax.pretrained` depends on this.
"""

from diffax.pretrained.schedulers.setup import Setup, from_diffusers

__all__ = ["Setup", "from_diffusers"]
