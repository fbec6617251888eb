"""The rules of ending, rule by rule on a clock that jumps, and then all of them at once against traces.

A script of None, bytes and pauses is what stdin or the peer says and when; see doubles.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import END, Clock, MemoryFile, MemorySink, MemorySource, Stuck, play
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pync.config import Ending
from pync.endpoints.pacing import Delayed, Paced
from pync.errors import InputError, OutputError, OutputGone, PeerLost, PyncError, TimedOut
from pync.flow import Flow
from pync.relay import Conversation, Service
from pync.stages.telnet import Telnet, TelnetEscape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from doubles import Given, Taken

    from pync.endpoints import Source
    from pync.loop import Loop

RESET = PeerLost("connection to x", "Connection reset by peer")
DO_ECHO, WONT_ECHO = b"\xff\xfd\x01", b"\xff\xfc\x01"
IDLE_STRETCH = 1.25  # the idle limit may strike an eighth late, and an eighth later if that is not seen at once


class Over:
    """How a relay ended: after so many seconds (None: it goes on), with which error, and who got what when."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.error: BaseException | None = None
        self.said: MemorySource  # what stdin (or the program) said
        self.sent: MemorySink  # what the peer got
        self.heard: MemorySource  # what the peer said
        self.shown: MemorySink  # what stdout (or the program) got

    @property
    def half_closed(self) -> list[float]:
        """When the peer got an end-of-file."""
        return [moment - 1000 for moment in self.sent.ends]

    @property
    def closed(self) -> list[float]:
        """When stdout (or the program's stdin) was closed."""
        return [moment - 1000 for moment in self.shown.ends]


def relayed(kind: type[Conversation | Service], say: Any, hear: Any, **how: Any) -> Over:
    """Run a relay between scripted ends. What goes wrong is noted, not raised."""
    over, clock = Over(), Clock()

    async def main(loop: Loop) -> None:
        over.said = (MemoryFile if how.pop("file", False) else MemorySource)(loop, *say)
        over.heard = MemorySource(loop, *hear)
        over.sent = MemorySink(loop, *how.pop("sent", ()))
        over.shown = MemorySink(loop, *how.pop("shown", ()))
        telnet = Telnet() if how.pop("telnet", False) else None
        speech: Source = Paced(loop, over.said, how["pace"]) if how.get("pace") else over.said
        heard: Source = Delayed(loop, over.heard, how["delay"]) if how.pop("delay", 0) else over.heard
        ...
