"""Published checkpoints in JAX: networks, tokenizers and whole pipelines, without PyTorch."""

from diffax.pretrained.network import LoadedNetwork, load_network

__all__ = ["LoadedNetwork", "load_network"]
