"""Conversations between scripted ends, run to their end on a clock that jumps: for the tests of the rules of ending.

A script is what stdin, the peer or a program says and when: bytes, END, and pauses in seconds (see doubles.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from doubles import Clock, MemoryFile, MemorySink, MemorySource, Stuck, play

from pync.config import Ending
from pync.endpoints.pacing import Delayed, Paced
from pync.errors import PeerLost
from pync.relay.flow import Flow
from pync.relay.rules import Conversation, ProgramRelay, Relay
from pync.stages.telnet import Telnet, TelnetEscape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from doubles import Given, Taken

    from pync.endpoints import Source
    from pync.loop.kernel import Loop

    Said = Sequence[Given]
    Room = Sequence[Taken]


RESET = PeerLost("connection to x", "Connection reset by peer")
FOREVER: Said = ()


class Ends:
    """Two flows between scripted ends. `said` goes to the peer, which is `sent` it; `heard` is `shown`."""

    def __init__(
        self,
        loop: Loop,
        said: Said,
        heard: Said,
        ending: Ending,
        *,
        sent: Room = (),
        shown: Room = (),
        file: bool = False,
        telnet: bool = False,
        pace: float = 0,
        delay: float = 0,
    ) -> None:
        self.said = (MemoryFile if file else MemorySource)(loop, *said)
        self.heard = MemorySource(loop, *heard)
        self.sent = MemorySink(loop, *sent)
        self.shown = MemorySink(loop, *shown)
        self.telnet = Telnet() if telnet else None
        speech: Source = Paced(loop, self.said, pace) if pace else self.said
        hearing: Source = Delayed(loop, self.heard, delay) if delay else self.heard
        self.sending = Flow(loop, speech, self.sent, [TelnetEscape()] if telnet else [])
        self.receiving = Flow(loop, hearing, self.shown, [self.telnet] if self.telnet else [], ending.receive_limit)


class Over:
    """How a relay ended: after so many seconds (None: it goes on for ever), and with which error."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.error: BaseException | None = None
        self.ends: Ends

    @property
    def sent(self) -> bytes:
        return self.ends.sent.data

    @property
    def shown(self) -> bytes:
        return self.ends.shown.data

    @property
    def half_closed(self) -> list[float]:
        """When the peer got our end-of-file."""
        return [moment - 1000 for moment in self.ends.sent.ends]

    @property
    def closed(self) -> list[float]:
        """When stdout, or the program's stdin, got the peer's."""
        return [moment - 1000 for moment in self.ends.shown.ends]

    @property
    def moments(self) -> list[tuple[float, bytes]]:
        """What the peer got, and when."""
        return [(moment - 1000, item) for moment, item in self.ends.sent.history if isinstance(item, bytes)]


def relayed(make: Callable[[Loop], tuple[Ends, Relay]]) -> Over:
    """Run a relay to its end."""
    over, clock = Over(), Clock()

    async def main(loop: Loop) -> None:
        over.ends, relay = make(loop)
        await relay.run()

    try:
        play(main, clock)
        over.seconds = clock.now - 1000
    except Stuck:
        pass
    except Exception as error:
        over.seconds, over.error = clock.now - 1000, error
    return over


def converse(
    stdin: Said,
    peer: Said,
    ending: Ending = Ending(),  # noqa: B008 (frozen)
    *,
    gone: Said | None = FOREVER,
    speaks: bool = True,
    listens: bool = True,
    terminal: bool = False,
    client: bool = True,
    **how: object,
) -> Over:
    """A conversation. `gone` is the script of the connection's end; None: these are datagrams."""

    def make(loop: Loop) -> tuple[Ends, Relay]:
        ends = Ends(loop, stdin, peer, ending, **how)  # type: ignore[arg-type]

        async def is_gone() -> None:
            await MemorySource(loop, *(gone or ())).read()

        return ends, Conversation(
            loop,
            ends.sending,
            ends.receiving,
            ending,
            ends.telnet,
            gone=None if gone is None else is_gone,
            speaks=speaks,
            listens=listens,
            terminal=terminal,
            client=client,
        )

    return relayed(make)


def serve(
    output: Said,
    peer: Said,
    program: Said,
    ending: Ending = Ending(),  # noqa: B008
    lost: Said | None = FOREVER,
    **how: object,
) -> Over:
    """A program's session. `program` is the script of its end, `lost` that of the connection; None: datagrams."""

    def make(loop: Loop) -> tuple[Ends, Relay]:
        ends = Ends(loop, output, peer, ending, **how)  # type: ignore[arg-type]
        life = MemorySource(loop, *program)

        async def is_lost() -> None:
            await MemorySource(loop, *(lost or ())).read()

        watch = None if lost is None else is_lost
        relay = ProgramRelay(
            loop, ends.sending, ends.receiving, ending, ends.telnet, program_ended=life.read, lost=watch
        )
        return ends, relay

    return relayed(make)


def trickle(pause: float, times: int) -> list[Given]:
    """A byte after each pause."""
    return [item for _ in range(times) for item in (pause, b".")]
