"""Making a connection, for every mode and service, except a scan's probes and a proxy's targets (`permitted.py`).

Theory: the host or its proxy is dialled, the proxy is asked for the host, and TLS is put over the result. One deadline
is for all three steps. A step that the config does not ask for is not imported; a proxy has all that in its own module.
"""

from __future__ import annotations

from pync.connections import connected
from pync.errors import ConnectError, ProxyError, TimedOut
from pync.net.dial import connect_goal, dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Peer

UNREACHED = (ConnectError, ProxyError, TimedOut)  # failures of one port; another port may answer


def prepare(context: Context) -> None:
    """Read what connections need, once, while it can be read. Raises TlsError, and ProtocolError without wsproto."""
    proxy = context.config.proxy
    if context.config.tls or (proxy and proxy.tls):
        from pync.connections.encryption import make_client_contexts

        make_client_contexts(context)
    if context.config.websocket:
        from pync.connections.websocket import require

        require()


async def open_connection(context: Context, port: int | None, without: Sequence[Any] = ()) -> Peer:
    """A connection to the config's host, on this port (None: a unix path). `prepare` comes first.

    The addresses in `without`, by the system's names for them, are passed over. Raises what `dial` raises, ProxyError,
    TlsError, PeerLost; TimedOut after `connect_timeout` seconds.
    """
    config = context.config
    if config.proxy and port is not None:
        from pync.connections.proxy_client import open_through

        return await open_through(context, config.proxy, port)
    limit = None if config.behaviour else config.connect_timeout  # then each address has its own (`net/one_by_one.py`)
    try:
        return await context.loop.within(limit, _open(context, port, without))
    except TimeoutError:
        raise TimedOut(connect_goal(context, port), "timed out") from None


async def _open(context: Context, port: int | None, without: Sequence[Any]) -> Peer:
    peer = connected(context, *await dial(context, port, without))
    if context.config.tls or context.config.websocket:
        from pync.connections.layers import with_layers

        peer = await with_layers(context, peer, port)
    return peer
