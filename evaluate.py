"""Measures a run, a published model or samples: `python evaluate.py --workdir runs/digits`."""

import sys

from diffax.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
