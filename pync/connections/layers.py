"""What lies over a connection that pync has made, when there is a way to the host: TLS, and then WebSocket.

A module of its own, because a plain connection does not import it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer


async def with_layers(context: Context, peer: Peer, port: int | None) -> Peer:
    """A connection to the config's host, with TLS and WebSocket over it if they are wanted. It is closed on a failure.

    Raises TlsError, ConnectError, ProtocolError, PeerLost, TimedOut.
    """
    if context.config.tls:
        from pync.connections.encryption import encrypt_to_server

        peer = await encrypt_to_server(context, peer)
    if context.config.websocket:
        from pync.connections.websocket import open_to_server

        peer = await open_to_server(context, peer, port)
    return peer
