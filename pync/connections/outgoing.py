"""Reaching a peer by more than a connection: through a proxy, under TLS.

Theory: a connection is dialled, a proxy is talked to on it, and TLS is put over what comes of that: each step makes a
stream out of a stream. One deadline is for all of them. A plain connection does not come here unless a server makes
it for a client.
"""

from __future__ import annotations

from pync.errors import TimedOut
from pync.net.dial import dial, goal
from pync.sessions.conversation import endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints.streams import Stream
    from pync.sessions.conversation import Peer


def prepare(context: Context) -> None:
    """Import and read what connections need: once, and before files may be out of reach. Raises TlsError."""
    if context.config.proxy:
        from pync.connections.proxy_client import prepare as prepare_proxy

        prepare_proxy(context, context.config.proxy)
    if context.config.tls:
        from pync.tls import handshake  # noqa: F401
        from pync.tls.context import client_context

        context.tls_context = client_context(context.config.tls)


async def reach(context: Context, port: int | None) -> Peer:
    """A connection to the config's host, on this port (None: a unix path). Call `prepare` first.

    Raises what `dial` raises, ProxyError, TlsError, PeerLost; TimedOut after `connect_timeout` seconds.
    """
    try:
        return await context.loop.within(context.config.connect_timeout, _reach(context, port))
    except TimeoutError:
        raise TimedOut(goal(context.config, port), "timed out") from None


async def _reach(context: Context, port: int | None) -> Peer:
    far: Peer
    if context.config.proxy and port is not None:
        from pync.connections.proxy_client import through

        far = await through(context, context.config.proxy, port)
    else:
        far = endpoint(context, *await dial(context.loop, context.config, port, context.report))
    if context.config.tls:
        far = await _encrypted(context, far)  # type: ignore[arg-type]
    return far


async def _encrypted(context: Context, stream: Stream) -> Stream:
    from pync.tls.handshake import HANDSHAKE, secure

    tls = context.config.tls
    assert tls is not None and context.tls_context is not None
    name = tls.server_name or (context.config.host if context.config.family != "unix" else None)
    limit = context.config.connect_timeout or HANDSHAKE
    return await secure(
        stream,
        context.tls_context,
        server_side=False,
        server_name=name,
        pin=tls.pin,
        limit=limit,
        report=context.report,
    )
