"""The program behind scripts/soak: `python -I scripts/lib/soak ARGUMENTS…`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python has put this directory first, in which the modules of the package would be found as modules of their own.
    sys.path[0] = str(Path(__file__).parent.parent)
    from soak.cli import main

    sys.exit(main())
