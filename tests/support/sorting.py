"""Lines for `sort`, which answers only at the end of its input, and must get all of it."""

from __future__ import annotations

import os

LINES = b"".join(b"%d\n" % (number * 7919 % 20_011) for number in range(20_000))
SORTED = b"".join(sorted(LINES.splitlines(keepends=True)))
BYTEWISE = {**os.environ, "LC_ALL": "C"}  # the environment in which sort compares as Python does
