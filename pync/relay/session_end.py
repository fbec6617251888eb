"""The end of a session: what it has moved, how long it took, and what has ended it.

A module of its own, because a run that is not interested in it does not import it.
"""

from __future__ import annotations

from pync.errors import Interrupted, OutputClosed, PyncError, TimedOut
from pync.events import SessionEnded
from pync.loop.tasks import Cancelled
from pync.relay.rules import Conversation, Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from pync.loop.kernel import Loop
    from pync.relay.flow import Session

    class Moving(Protocol):
        """What a session is made of: most are a relay."""

        @property
        def sent(self) -> int | None:
            """Bytes that the peer was sent; None if that is not known."""

        @property
        def received(self) -> int | None:
            """Bytes that came from the peer; None if that is not known."""

        @property
        def ended_by(self) -> str:
            """What has ended the session if nothing has failed, as in `SessionEnded`."""


Counts = tuple[int | None, int | None]  # bytes sent and received; None: not known


class Totals:
    """What all sessions of a run that have ended have moved."""

    def __init__(self, loop: Loop) -> None:
        self.counts: Counts = 0, 0
        self.since: float | None = None  # when the first of them has begun
        self.latest: Session | None = None  # the only one, if there is one alone
        self.clients: Callable[[], int] | None = None  # returns how many a server has

    def add(self, session: Session) -> None:
        """Add a session."""
        self.counts = total([self.counts, (session.moving.sent, session.moving.received)])
        self.latest = None if session.context.config.keep_open else session
        self.since = session.since if self.since is None else min(self.since, session.since)


def total(counts: Iterable[Counts]) -> Counts:
    """The sums, each of which is not known if it is not known of one of them."""
    sent, received = [None if None in column else sum(filter(None, column)) for column in zip(*counts, strict=True)]
    return sent, received


def note_end(session: Session, error: BaseException | None) -> None:
    """Take note of the end of a session, which has failed with the error, or not at all, and report it."""
    session.context.loop.shared(Totals).add(session)
    if session.context.wants(SessionEnded):
        _report(session, error)


def _report(session: Session, error: BaseException | None) -> None:
    context, moving, since, sums = session.context, session.moving, session.since, _sums(session)
    if isinstance(moving, Conversation) and moving.stdio.since is not None:
        since = moving.stdio.since
    context.report(
        SessionEnded(
            peer=session.peer,
            sent=moving.sent,
            received=moving.received,
            seconds=max(0.0, context.loop.clock() - since),
            ended_by=_well(session) if error is None else _badly(session, error),
            why=error.why if isinstance(error, PyncError) else None,
            status=session.status,
            sent_sha256=sums[0],
            received_sha256=sums[1],
        )
    )


def _sums(session: Session) -> tuple[str | None, str | None]:
    """The checksums of what was sent and received, where they were asked for."""
    relay = session.moving
    if not (session.context.config.checksum and isinstance(relay, Relay)):
        return None, None
    from pync.stages.checksum import Checksum

    flows = relay.sending, relay.receiving
    sums = [next((s.hexadecimal() for s in flow.stages if isinstance(s, Checksum)), None) for flow in flows]
    return sums[0], sums[1]


def _badly(session: Session, error: BaseException) -> str:
    if isinstance(error, Interrupted) or (isinstance(error, Cancelled) and session.context.loop.stopped_by):
        return "signal"
    if isinstance(error, TimedOut):
        return "limit"
    return "us" if isinstance(error, (Cancelled, OutputClosed)) else "error"


def _well(session: Session) -> str:
    relay = session.moving
    if session.status is not None:
        return "program"
    if isinstance(relay, Relay) and relay.receiving.read_limit and relay.receiving.reads == relay.receiving.read_limit:
        return "limit"
    if not isinstance(relay, Conversation) or relay.knows_its_end:
        return relay.ended_by
    # Where we have sent no end, because there is no stdin or no half-close, the end is the peer's.
    by_peer = relay.receiving.ended and (relay.ended_by == "peer" or not relay.sending.eof_sent)
    # Datagrams have no end: a server dismisses the peer that is silent for too long, or for longest.
    return "us" if not by_peer else "peer" if relay.peer.has_eof else "limit"
