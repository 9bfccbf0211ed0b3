"""Trains a diffusion model: python train.py --config NAME[:variant] [--section.field VALUE ...]."""

import sys

from diffax.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
