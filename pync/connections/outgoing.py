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
    from pync.context import Run
    from pync.endpoints.streams import Stream
    from pync.sessions.conversation import Far


def prepare(run: Run) -> None:
    """Import and read what connections need: once, and before files may be out of reach. Raises TlsError."""
    if run.config.proxy:
        from pync.connections.proxy_client import prepare as prepare_proxy

        prepare_proxy(run, run.config.proxy)
    if run.config.tls:
        from pync.tls import handshake  # noqa: F401
        from pync.tls.context import client_context

        run.context = client_context(run.config.tls)


async def reach(run: Run, port: int | None) -> Far:
    """A connection to the config's host, on this port (None: a unix path). Call `prepare` first.

    Raises what `dial` raises, ProxyError, TlsError, PeerLost; TimedOut after `connect_timeout` seconds.
    """
    try:
        return await run.loop.within(run.config.connect_timeout, _reach(run, port))
    except TimeoutError:
        raise TimedOut(goal(run.config, port), "timed out") from None


async def _reach(run: Run, port: int | None) -> Far:
    far: Far
    if run.config.proxy and port is not None:
        from pync.connections.proxy_client import through

        far = await through(run, run.config.proxy, port)
    else:
        far = endpoint(run, *await dial(run.loop, run.config, port, run.report))
    if run.config.tls:
        far = await _encrypted(run, far)  # type: ignore[arg-type]
    return far


async def _encrypted(run: Run, stream: Stream) -> Stream:
    from pync.tls.handshake import HANDSHAKE, secure

    tls = run.config.tls
    assert tls is not None and run.context is not None
    name = tls.server_name or (run.config.host if run.config.family != "unix" else None)
    limit = run.config.connect_timeout or HANDSHAKE
    return await secure(
        stream, run.context, server_side=False, server_name=name, pin=tls.pin, limit=limit, report=run.report
    )
