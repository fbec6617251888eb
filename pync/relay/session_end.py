"""The event at the end of a session: what it has moved, how long it took, and what has ended it.

A module of its own, because a run that reports no such event does not import it.
"""

from __future__ import annotations

from pync.errors import Interrupted, OutputClosed, PyncError, TimedOut
from pync.events import SessionEnded
from pync.loop.tasks import Cancelled
from pync.relay.rules import Conversation, Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

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


def report(session: Session, error: BaseException | None) -> None:
    """Report the end of a session, which has failed with the error, or not at all."""
    context, moving, since = session.context, session.moving, session.since
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
        )
    )


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
    if not isinstance(relay, Conversation):
        return relay.ended_by
    # Where we have sent no end, because there is no stdin or no half-close, the end is the peer's.
    by_peer = relay.receiving.ended and (relay.ended_by == "peer" or not relay.sending.eof_sent)
    # Datagrams have no end: a server dismisses the peer that is silent for too long, or for longest.
    return "us" if not by_peer else "peer" if relay.peer.has_eof else "limit"
