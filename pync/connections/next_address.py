"""Sending the same datagrams to the next address of a name, if the port at the first one turns out to be closed.

Theory: "connecting" a UDP socket sends nothing, so the first address of a name always seems to be the right one. If
its host then refuses (`localhost` is often ::1 first, and the server is on 127.0.0.1 only), the next address is sent
everything that was sent to the first. An address that has answered once is the right one.
"""

from __future__ import annotations

from pync.connections.outgoing import open_connection
from pync.endpoints.datagrams import DatagramSocket
from pync.endpoints.wrappers import Replayable
from pync.errors import ConnectError, PeerLost
from pync.events import SessionEnded
from pync.net.attempt import attempt_failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Peer, Source
    from pync.endpoints.stdio import Stdio
    from pync.events import Event
    from pync.loop.tasks import Work

    Session = Callable[[Peer, Source], Work[None]]
    Converse = Callable[[Context, Peer, Stdio], Work[None]]


async def with_next_address(context: Context, port: int | None, peer: Peer, source: Source, session: Session) -> None:
    """Run a session of the source and the peer; run it with the next address if it fails before the peer has answered.

    The session closes its peer. Raises what the last session raises; and as `open_connection`, but no ConnectError.
    """
    current, replayable = _datagrams(peer), Replayable(source)
    failed = [current.name]
    while True:
        try:
            return await session(current, replayable)
        except PeerLost as error:
            again = None if current.answered else replayable.replay()
            following = await _next(context, port, failed, error.cause) if again else None
            if not again or not following:
                raise
            current, replayable = following, again
            failed.append(current.name)


async def converse_with_next_address(
    context: Context, port: int | None, peer: Peer, stdio: Stdio, converse: Converse
) -> None:
    """The same for a conversation of the peer with a stdio that has a source."""

    def session(peer: Peer, source: Source) -> Work[None]:
        stdio.source = source
        return converse(reporting_one_end, peer, stdio)

    assert stdio.source
    with OneEnd(context) as reporting_one_end:
        await with_next_address(context, port, peer, stdio.source, session)


class OneEnd:
    """A context manager: of the sessions with each address only the last one's end is reported, and at its end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._end: SessionEnded | None = None

    def __enter__(self) -> Context:
        return self._context.derive(self._context.config, self._report)

    def __exit__(self, *_: object) -> None:
        if self._end:
            self._context.report(self._end)

    def _report(self, event: Event) -> None:
        if isinstance(event, SessionEnded):
            self._end = event
        else:
            self._context.report(event)


def _datagrams(peer: Peer) -> DatagramSocket:
    assert isinstance(peer, DatagramSocket), "a stream that was connected has reached its peer"
    return peer


async def _next(context: Context, port: int | None, failed: list[Any], why: str) -> DatagramSocket | None:
    """A peer at the next address, after a report why the last one failed; None if there is no other address."""
    events: list[Event] = []
    quiet = context.derive(context.config, events.append)
    try:
        peer = _datagrams(await open_connection(quiet, port, failed))
    except ConnectError:
        return None
    if peer.name in failed:  # another name of the same host: 0.0.0.0 is connected to as 127.0.0.1
        peer.close()
        return None
    for event in attempt_failed(context, failed[-1], why), *events:
        context.report(event)
    return peer
