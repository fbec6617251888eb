"""How far a run has come: what its sessions have moved, how fast, and how long the rest will take.

Theory: the flows count what they move, also where the kernel moves it, so looking at their counters now and then costs
next to nothing. A rate is that of the last WINDOW seconds; a look that a signal has asked for, in a run that does not
look by itself, has only the average. The size of stdin is known if it is a regular file.

A module of its own, because only a run that is asked how far it has come imports it.
"""

from __future__ import annotations

from collections import deque

from pync.endpoints.stdio import STDIN, is_regular
from pync.events import Event
from pync.relay.rules import Conversation
from pync.relay.session_end import Totals, total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pync.context import Context
    from pync.relay.flow import Session
    from pync.relay.session_end import Counts

WINDOW = 5.0  # seconds


class Progress(Event):
    """What all sessions together have moved until now. Numbers are None where they are not known."""

    stage: str  # "connecting", "waiting" (for a client), "scanning" or "running"
    sent: int | None  # bytes
    received: int | None
    sent_rate: float | None  # bytes per second
    received_rate: float | None
    seconds: float  # since the oldest session began, or since a server's first report
    size: int | None  # bytes that are to be moved in all, in the direction in which more is moved
    left: float | None  # seconds until they are
    clients: int | None  # of a server
    drawn: bool  # the next report takes the place of this one
    last: bool


class Meter:
    """The latest looks at the counters of a run, each with its moment."""

    def __init__(self, began: float) -> None:
        self.looks: deque[tuple[float, Counts]] = deque([(began, (0, 0))])

    def look(self, now: float, counts: Counts) -> None:
        """Take note of a look. Two are kept at least, however old they are."""
        self.looks.append((now, counts))
        while len(self.looks) > 2 and now - self.looks[1][0] >= WINDOW:
            self.looks.popleft()

    def rates(self, now: float, counts: Counts) -> tuple[float | None, float | None]:
        """Bytes per second sent and received since the oldest look that counts."""
        since, before = self.looks[0]
        seconds = max(now - since, 1e-9)
        sent, received = [
            None if count is None or old is None else (count - old) / seconds
            for count, old in zip(counts, before, strict=True)
        ]
        return sent, received


async def show(context: Context) -> None:
    """Report how far the run has come, at each signal that asks for it; with `progress` also at its times."""
    loop, pause = context.loop, context.config.progress
    if not pause:  # a signal has brought us here
        while True:
            _report(context, Meter(_began(context)))
            await loop.wait(loop.asked)
    meter = Meter(loop.clock())
    try:
        while True:
            asked = await loop.wait(loop.asked, loop.clock() + pause)
            _report(context, meter, drawn=not asked)
            if not asked:
                meter.look(loop.clock(), _counts(context))
    finally:
        _report(context, Meter(_began(context)), last=True)


def _report(context: Context, meter: Meter, *, drawn: bool = False, last: bool = False) -> None:
    config, now, counts, totals = context.config, context.loop.clock(), _counts(context), context.loop.shared(Totals)
    rates = meter.rates(now, counts)
    size = None if config.keep_open else config.size or _size([*context.running] or [totals.latest])
    event = Progress(
        stage=_stage(context, totals),
        sent=counts[0],
        received=counts[1],
        sent_rate=rates[0],
        received_rate=rates[1],
        seconds=now - _began(context),
        size=size,
        left=None if last else _left(size, counts, rates),
        clients=totals.clients() if totals.clients else None,
        drawn=drawn,
        last=last,
    )
    context.report(event)


def _counts(context: Context) -> Counts:
    totals = context.loop.shared(Totals)
    return total([totals.counts, *((session.moving.sent, session.moving.received) for session in context.running)])


def _began(context: Context) -> float:
    """When the first session began; now, if none has."""
    moments = [session.since for session in context.running]
    totals = context.loop.shared(Totals)
    return min([*moments, context.loop.clock() if totals.since is None else totals.since])


def _size(sessions: Sequence[Session | None]) -> int | None:
    """Bytes that the only session has sent and will send, if they come from a regular file."""
    relay = sessions[0].moving if len(sessions) == 1 and sessions[0] else None
    if isinstance(relay, Conversation) and relay.stdio.source and is_regular(STDIN):
        return relay.sending.moved + relay.sending.unsent()
    return None


def _left(size: int | None, counts: Counts, rates: tuple[float | None, float | None]) -> float | None:
    rate = max(filter(None, rates), default=0)
    return None if size is None or rate <= 0 else max(0, size - max(filter(None, counts), default=0)) / rate


def _stage(context: Context, totals: Totals) -> str:
    # What all peers share (a hub, a crowd) runs before there is one.
    begun = context.running and not (totals.clients and not totals.clients() and not any(_counts(context)))
    if begun or totals.since is not None:
        return "running"
    return {"connect": "connecting", "listen": "waiting", "scan": "scanning"}[context.config.mode]
