"""Few-shot classification by meta-transfer learning: `python run_meta.py --help`."""

import sys

from mtl.cli import main

if __name__ == "__main__":
    sys.exit(main())
