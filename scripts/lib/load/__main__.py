"""The program behind scripts/load: `python -I scripts/lib/load ARGUMENTS…`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python has put this directory first, in which the modules of the package would be found as modules of their own.
    sys.path[0] = str(Path(__file__).parent.parent)
    from load.cli import main

    sys.exit(main())
