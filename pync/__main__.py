"""`python -m pync` is the command `pync`."""

from __future__ import annotations

from pync.cli import main

main()
