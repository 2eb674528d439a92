"""`python -m evoopt` is the `evoopt` command."""

import sys

from evoopt.cli import main

if __name__ == "__main__":
    sys.exit(main())
