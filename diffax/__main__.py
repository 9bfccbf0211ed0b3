"""`python -m diffax`: the command `diffax`."""

import sys

from diffax.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
