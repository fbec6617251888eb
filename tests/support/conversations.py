"""Conversations between scripted ends, run to their end on a clock that jumps: for the tests of the rules of ending.

A script is what a source gives and when: bytes, END, errors, and pauses in seconds. `peer_takes` and `local_takes` are
what the sinks take and when (see doubles.py). "Local" is our side: stdin and stdout, or a program.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from doubles import Clock, MemoryFile, MemorySink, MemorySource, Stuck, a_context, play

from pync.config import Ending
from pync.endpoints import Peer
from pync.endpoints.stdio import Stdio
from pync.endpoints.wrappers import Delayed, Paced, PacedAfter
from pync.errors import PeerLost
from pync.events import Address
from pync.relay.flow import Flow
from pync.relay.other_rules import OtherConversation
from pync.relay.rules import Conversation, Relay
from pync.sessions.program import ProgramRelay
from pync.stages.telnet import Telnet, TelnetEscape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from doubles import Given, Taken

    from pync.behaviour import Behaviour
    from pync.config import Proxy
    from pync.endpoints import Source
    from pync.events import Event, Report
    from pync.loop.kernel import Loop
    from pync.relay.rules import Flows

    Script = Sequence[Given]
    Takes = Sequence[Taken]

RESET = PeerLost("connection to x", "Connection reset by peer")
FOREVER: Script = ()  # nothing comes, and no end either


class Ends:
    """Two flows, from a local source to the peer and from the peer to a local sink, all of them scripted."""

    def __init__(
        self,
        loop: Loop,
        local: Script,
        peer: Script,
        ending: Ending,
        *,
        peer_takes: Takes = (),
        local_takes: Takes = (),
        file: bool = False,
        telnet: bool = False,
        pace: float = 0,
        pause_after: float = 0,
        delay: float = 0,
    ) -> None:
        self.local_source = (MemoryFile if file else MemorySource)(loop, *local)
        self.peer_source = MemorySource(loop, *peer)
        self.peer_sink = MemorySink(loop, *peer_takes)
        self.local_sink = MemorySink(loop, *local_takes)
        self.telnet = Telnet() if telnet else None
        near: Source = Paced(loop, self.local_source, pace) if pace else self.local_source
        if pause_after:
            near = PacedAfter(loop, self.local_source, pause_after, around=False)
        far: Source = Delayed(loop, self.peer_source, delay) if delay else self.peer_source
        self.sending = Flow(loop, near, self.peer_sink, [TelnetEscape()] if telnet else [])
        stages = [self.telnet] if self.telnet else []
        self.receiving = Flow(loop, far, self.local_sink, stages, ending.receive_limit)

    @property
    def flows(self) -> Flows:
        """Both flows, and what answers negotiation."""
        return self.sending, self.receiving, self.telnet

    def histories(self) -> list[int]:
        """How much has happened at each end."""
        ends = (self.local_source, self.peer_source, self.peer_sink, self.local_sink)
        return [len(end.history) for end in ends]


class Connection(Peer):
    """The peer's connection, whose end is scripted; None: there is none, these are datagrams."""

    def __init__(self, loop: Loop, end: Script | None, *, unix: bool = False) -> None:
        self.loop = loop
        self.address = Address(host="x", port=None if unix else 1)
        self.has_eof = end is not None
        self.aborted = False
        self.end = None if end is None else MemorySource(loop, *end)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        await (self.end.read() if self.end else super().wait_closed())


class Outcome:
    """What came of a relay. Moments are seconds since its start."""

    def __init__(self) -> None:
        self.seconds: float | None = None  # when it ended; None: it goes on for ever
        self.error: BaseException | None = None
        self.reports: list[Event] = []
        self.peer: Connection
        self.ends: Ends

    @property
    def sent(self) -> bytes:
        """What the peer got."""
        return self.ends.peer_sink.data

    @property
    def received(self) -> bytes:
        """What stdout, or the program's stdin, got."""
        return self.ends.local_sink.data

    @property
    def half_closed(self) -> list[float]:
        """When the peer got our end-of-file."""
        return [round(moment - 1000, 9) for moment in self.ends.peer_sink.ends]

    @property
    def closed(self) -> list[float]:
        """When stdout, or the program's stdin, got the peer's end-of-file."""
        return [round(moment - 1000, 9) for moment in self.ends.local_sink.ends]

    @property
    def moments(self) -> list[tuple[float, bytes]]:
        """When the peer got what."""
        return [
            (round(moment - 1000, 9), item) for moment, item in self.ends.peer_sink.history if isinstance(item, bytes)
        ]


def relayed(make: Callable[[Loop, Report], tuple[Ends, Connection, Relay]]) -> Outcome:
    """Run a relay to its end."""
    outcome, clock = Outcome(), Clock()

    async def main(loop: Loop) -> None:
        outcome.ends, outcome.peer, relay = make(loop, outcome.reports.append)
        await relay.run()

    try:
        play(main, clock)
        outcome.seconds = round(clock.now - 1000, 9)
    except Stuck:
        pass
    except Exception as error:
        outcome.seconds, outcome.error = round(clock.now - 1000, 9), error
    return outcome


def converse(
    stdin: Script,
    peer: Script,
    ending: Ending = Ending(),  # noqa: B008 (frozen)
    *,
    connection: Script | None = FOREVER,
    speaks: bool = True,
    listens: bool = True,
    terminal: bool = False,
    loops: bool = False,
    proxy: Proxy | None = None,
    client: bool = True,
    behaviour: Behaviour | None = None,
    unix: bool = False,
    **how: object,
) -> Outcome:
    """A conversation. `connection` is the script of the connection's end; None: these are datagrams.

    By a `behaviour` the other rules hold (`pync/relay/other_rules.py`).
    """

    def make(loop: Loop, report: Report) -> tuple[Ends, Connection, Relay]:
        ends = Ends(loop, stdin, peer, ending, **how)  # type: ignore[arg-type]
        mode = "connect" if client else "listen"
        context = a_context(loop, report=report, mode=mode, receive=listens, ending=ending, proxy=proxy)
        stdio = Stdio(ends.local_source if speaks else None, ends.local_sink, terminal=terminal)
        stdio.loops = loops
        connected = Connection(loop, connection, unix=unix)
        if behaviour:
            return ends, connected, OtherConversation(context, behaviour, connected, stdio, ends.flows)
        return ends, connected, Conversation(context, connected, stdio, ends.flows)

    return relayed(make)


def serve(
    output: Script,
    peer: Script,
    program: Script,
    ending: Ending = Ending(),  # noqa: B008
    connection: Script | None = FOREVER,
    **how: object,
) -> Outcome:
    """A program's session. `program` is the script of its end; `connection` is as in `converse`."""

    def make(loop: Loop, report: Report) -> tuple[Ends, Connection, Relay]:
        ends = Ends(loop, output, peer, ending, **how)  # type: ignore[arg-type]
        process: Any = SimpleNamespace(ended=MemorySource(loop, *program).read)
        context, connected = a_context(loop, report=report, ending=ending), Connection(loop, connection)
        return ends, connected, ProgramRelay(context, connected, process, ends.flows)

    return relayed(make)


def trickle(pause: float, times: int) -> list[Given]:
    """A script: a byte after each pause."""
    return [item for _ in range(times) for item in (pause, b".")]
