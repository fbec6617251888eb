"""The program behind scripts/fuzz: `python -I scripts/lib/fuzz ARGUMENTS…`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).parent
    # Python has put this directory first, in which the modules of the package would be found as modules of their own.
    sys.path[:1] = [str(here.parent), str(here.parents[2] / "tests" / "support")]
    from fuzz.cli import main

    sys.exit(main())
