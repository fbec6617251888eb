"""Stages: what a flow does to bytes between reading them from its source and writing them to its sink.

Theory: a stage only computes. It does no I/O, never waits and knows no clock, so it can be tested with nothing but
bytes. It is fed what was read, in order, and returns what can be passed on now; at the end-of-file it is asked once for
its tail. How the bytes were cut into reads is an accident of the network: any split of the same input gives the same
output. A stage must hold back no more than it has to, and never more than a fixed number of bytes, so that a peer
cannot make it grow.

A stage has state and belongs to one direction of one conversation. It must never be shared.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    class Stage(Protocol):
        """Bytes in, bytes out."""

        def feed(self, data: bytes) -> bytes:
            """What can be passed on now that `data` has come; b"" if there is nothing yet."""

        def flush(self) -> bytes:
            """The tail, at the end-of-file. The stage must not be fed after that."""


def feed_all(stages: Sequence[Stage], data: bytes) -> bytes:
    """What comes out of the last stage when the first is fed `data`; b"" if there is nothing yet."""
    for stage in stages:
        data = stage.feed(data)
    return data


def flush_all(stages: Sequence[Stage]) -> Iterator[bytes]:
    """What comes out of the last stage at the end-of-file, in pieces that are never empty.

    Each stage is flushed when the pieces before its tail have been taken. Its tail is fed to the stages after it, which
    are flushed later.
    """
    for position, stage in enumerate(stages, 1):
        if tail := feed_all(stages[position:], stage.flush()):
            yield tail
