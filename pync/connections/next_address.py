"""Saying it again: to the next address of a name, where nobody turns out to listen at the first one.

Theory: "connecting" a UDP socket asks nobody, so the first address of a name always seems to be the right one. If it
turns out that nobody is there (`localhost` is often ::1 first, and the server on 127.0.0.1 only), the next address is
told again all that was said. Who has answered once is the right one.
"""

from __future__ import annotations

from pync.endpoints.wrappers import Replayable
from pync.errors import ConnectError, PeerLost
from pync.events import ConnectFailed, as_address
from pync.net.dial import dial, transport
from pync.sessions.conversation import endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Source
    from pync.endpoints.datagrams import DatagramSocket
    from pync.events import Event
    from pync.loop.tasks import Work

    Session = Callable[[DatagramSocket, Source], Work[None]]


async def with_next_address(
    context: Context, port: int | None, peer: DatagramSocket, source: Source, session: Session
) -> None:
    """Have a session between the source and this peer; with the next address if one is lost before it was heard.

    The session closes its peer. Raises what it raises, and of the last address how that was lost.
    """
    said, lost = Replayable(source), [peer.name]
    while True:
        try:
            return await session(peer, said)
        except PeerLost as error:
            again = None if peer.answered else said.replay()
            following = await _next(context, port, lost, error.cause) if again else None
            if not again or not following:
                raise
            peer, said = following, again
            lost.append(peer.name)


async def _next(context: Context, port: int | None, lost: list[Any], why: str) -> DatagramSocket | None:
    """The next address, and word of the one that was lost; None if that was the last."""
    events: list[Event] = []
    try:
        sock, name = await dial(context.loop, context.config, port, events.append, lost)
    except ConnectError:
        return None
    if name in lost:  # under another name: 0.0.0.0 is this host
        sock.close()
        return None
    host, where, kind = context.config.host or "", as_address(lost[-1]), transport(context.config)
    for event in ConnectFailed(host=host, address=where, transport=kind, why=why), *events:
        context.report(event)
    return endpoint(context, sock, name)  # type: ignore[return-value]
