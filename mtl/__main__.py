"""`python -m mtl`: the command line, as `run_meta.py` and the installed command `mtl`."""

import sys

from mtl.cli import main

if __name__ == "__main__":
    sys.exit(main())
