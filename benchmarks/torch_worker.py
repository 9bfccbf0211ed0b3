"""The other side: diffusers on PyTorch, eager on a CPU and compiled on a GPU."""

from __future__ import annotations

import contextlib
import functools
import sys

import diffusers
import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from benchmarks.cases import Case, cases
from benchmarks.worker import peak_memory, serve, timed

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class StepMLP(nn.Module):
    """The S-curve tutorial's network."""

    def __init__(self, num_steps: int = 100, features: int = 128):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(2, features), nn.Linear(features, features), nn.Linear(features, features)]
        )
        self.tables = nn.ModuleList([nn.Embedding(num_steps, features) for _ in range(3)])
        self.out = nn.Linear(features, 2)

    def forward(self, x, t):
        """`[B, 2]` and whole times `[B]`."""
        for layer, table in zip(self.layers, self.tables, strict=True):
            x = torch.relu(layer(x) + table(t))
        return self.out(x)


def main() -> None:
    """Builds the case, then serves."""
    case = cases(tiny="tiny" in sys.argv[2:])[sys.argv[1]]
    torch.manual_seed(0)
    facts = {"torch": torch.__version__, "diffusers": diffusers.__version__}
    facts["threads"] = torch.get_num_threads()
    network = build(case)
    facts["parameters"] = sum(p.numel() for p in network.parameters())
    facts["forward_flops"] = count_flops(network, case)
    runs = Runs(case, torch.compile(network) if DEVICE == "cuda" else network)
    serve(
        {
            "facts": lambda: facts,
            "memory": memory,
            "ceiling": ceiling,
            "train": timed(runs.train, case.stack),
            "forward": timed(runs.forward),
            "sample": timed(runs.sample),
        }
    )


def build(case: Case) -> nn.Module:
    """The network of a case."""
    kind, fields = case.theirs
    if kind == "StepMLP":
        network = StepMLP(**fields)
    elif case.context:
        from diffax.pretrained.families import FAMILIES

        config = FAMILIES[kind]["unet"] | fields
        network = diffusers.UNet2DConditionModel.from_config(config)
        network = network.to(torch.bfloat16 if case.bfloat16 else torch.float32)
    else:
        network = getattr(diffusers, kind)(**fields)
    return network.to(DEVICE)


class Runs:
    """What is timed."""

    def __init__(self, case: Case, network: nn.Module):
        self.case, self.network = case, network
        self.steps = 100 if case.theirs[0] == "StepMLP" else 1000
        self.scheduler = diffusers.DDIMScheduler(self.steps)
        self.parameters = list(network.parameters())
        if case.train:
            self.optimizer = torch.optim.Adam(self.parameters, 1e-4)
            self.average = [p.detach().clone() for p in self.parameters]
        shape = case.shape[-1:] + case.shape[:-1]
        self.x = torch.randn(case.batch, *shape, device=DEVICE)
        self.labels = torch.zeros(case.batch, dtype=torch.long, device=DEVICE)
        if case.context:
            dtype = self.parameters[0].dtype
            self.x = self.x.to(dtype)
            self.context = torch.ones(case.batch, *case.context, device=DEVICE, dtype=dtype)

    @functools.cached_property
    def pipeline(self):
        """From a text to pictures, around the network."""
        from benchmarks.reference_pipeline import Pipeline

        return Pipeline(self.case.theirs[0], self.parameters[0].dtype, network=self.network)

    def answer(self, x, t):
        """Of the network, with what the case tells it."""
        half = self.case.bfloat16 and self.case.train
        cast = torch.autocast(DEVICE, torch.bfloat16) if half else contextlib.nullcontext()
        with cast:
            if self.case.theirs[0] == "StepMLP":
                return self.network(x, t)
            if self.case.context:
                return self.network(x, t, self.context[: len(x)]).sample
            if self.case.labels:
                return self.network(x, t, self.labels[: len(x)]).sample
            return self.network(x, t).sample

    def train(self):
        """The loop everybody writes: noise, loss, backward, clip, Adam, average."""
        for _ in range(self.case.stack):
            noise = torch.randn_like(self.x)
            t = torch.randint(0, self.steps, (len(self.x),), device=DEVICE)
            answer = self.answer(self.scheduler.add_noise(self.x, noise, t), t)
            loss = nn.functional.mse_loss(answer.float(), noise)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 0.001)
        loss.item()

    @torch.no_grad()
    def forward(self):
        """One call of the network."""
        t = torch.arange(len(self.x), device=DEVICE) % self.steps
        self.answer(self.x, t).flatten()[0].item()

    @torch.no_grad()
    def sample(self):
        """DDIM as in diffusers' pipelines, of a published family from a text to pictures."""
        num, steps = self.case.sample
        if self.case.context:
            latents = self.pipeline.latents(num, self.case.shape[0], steps)
            self.pipeline.decode(latents).flatten()[0].item()
            return
        self.scheduler.set_timesteps(steps)
        x = torch.randn(num, *self.x.shape[1:], device=DEVICE)
        for t in self.scheduler.timesteps:
            answer = self.answer(x, t.expand(num).to(DEVICE))
            x = self.scheduler.step(answer, t, x).prev_sample
        x.flatten()[0].item()


def count_flops(network: nn.Module, case: Case) -> float:
    """By formula, of one call: 2 per product in convolutions, linear maps and attention."""
    total = [0.0]

    def convolution(module, inputs, told, output):
        per_output = module.in_channels / module.groups * module.kernel_size[0] ** 2
        total[0] += 2 * output.numel() * per_output

    def linear(module, inputs, told, output):
        total[0] += 2 * output.numel() * module.in_features

    def attention(module, inputs, told, output):
        x = inputs[0]
        tokens = x.flatten(2).shape[-1] if x.ndim == 4 else x.shape[1]
        context = told.get("encoder_hidden_states")
        seen = tokens if context is None else context.shape[1]
        total[0] += 4 * len(x) * tokens * seen * module.inner_dim

    kinds = {nn.Conv2d: convolution, nn.Linear: linear}
    kinds[Attention] = attention
    hooks = [
        module.register_forward_hook(hook, with_kwargs=True)
        for module in network.modules()
        for kind, hook in kinds.items()
        if isinstance(module, kind)
    ]
    Runs(case, network).forward()
    for hook in hooks:
        hook.remove()
    return total[0]


def memory() -> float:
    """The most memory the device has held, GiB."""
    return torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else peak_memory()


def ceiling() -> dict:
    """GFLOP/s of a product of two matrices: the best of several."""
    size, dtype = (1024, torch.float32) if DEVICE == "cpu" else (8192, torch.bfloat16)
    a = torch.randn(size, size, device=DEVICE, dtype=dtype)
    run = timed(lambda: (a @ a)[0, 0].item())
    return {"gflops": 2e-9 * size**3 / min(run()["seconds"] for _ in range(10))}


if __name__ == "__main__":
    main()
