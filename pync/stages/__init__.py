"""Stages: what a flow does to bytes between reading and writing them.

Theory: a stage only computes. It does no I/O, knows no clock and never waits, so it can be tested with nothing
but bytes. It is fed what was read, in order, and gives back what can be passed on now; at end-of-file it is asked
once for its tail. How the bytes were cut into reads is an accident of the network: any split of the same input
gives the same output. A stage must hold back no more than a few bytes, so that a peer cannot make it grow.

One stage serves one direction of one conversation: state is never shared.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Stage(Protocol):
        """Bytes in, bytes out."""

        def feed(self, data: bytes) -> bytes:
            """What can be passed on now that `data` has come; b"" if there is nothing yet."""

        def flush(self) -> bytes:
            """The tail, at end-of-file. Nothing is fed after it."""
