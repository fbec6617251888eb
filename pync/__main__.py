"""`python -m pync`."""

from __future__ import annotations

from pync.cli import main

main()
