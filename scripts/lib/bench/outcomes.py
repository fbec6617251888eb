"""What may come of a measurement beside a figure."""

from __future__ import annotations


class Wrong(Exception):
    """What came is not what was sent, or it did not come in time."""


class Short(Exception):
    """The tool came only so far, and another round would tell no more."""

    def __init__(self, reached: float, why: str) -> None:
        super().__init__(why)
        self.reached = reached


class Unable(Exception):
    """This tool, or this machine, cannot do it."""
