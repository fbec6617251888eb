"""Getting a connected peer: by connecting (`outgoing`, `proxy_client`), or accepting (`incoming`, `first_sender`)."""

from __future__ import annotations

from pync.endpoints.streams import StreamSocket
from pync.events import as_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Peer


def connected(context: Context, sock: socket.socket, name: Any) -> Peer:
    """The peer at the other end of a connected socket; `name` is its address as the system gives it."""
    if not context.config.datagram:
        return StreamSocket(context.loop, sock, as_address(name))
    from pync.connections.datagram_peer import datagram_peer

    return datagram_peer(context, sock, name)
