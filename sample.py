"""Draws samples: python sample.py --workdir DIR [--num N] [--sampler NAME] ... [--out PATH]."""

import sys

from diffax.commands.sample import main

if __name__ == "__main__":
    sys.exit(main())
