"""The program behind scripts/bench: `python -I scripts/lib/bench ARGUMENTS…`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parent.parent)  # was this directory; the package is to be found, not its modules
    from bench.cli import main

    sys.exit(main())
