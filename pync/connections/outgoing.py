"""Making a connection: the one door out, for every mode and every service.

Theory: a connection is dialled, a proxy is talked to on it, and TLS is put over the result. Each step makes a peer out
of a peer, and one deadline is for all of them. What the config does not ask for is not imported.
"""

from __future__ import annotations

from pync.endpoints.streams import StreamSocket
from pync.errors import AddressError, ConnectError, ProxyError, PyncError, TimedOut
from pync.events import Retrying, as_address
from pync.net.dial import dial, goal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from ssl import SSLContext
    from typing import Any, TypeVar

    from pync.context import Context
    from pync.endpoints import Peer
    from pync.loop.tasks import Work

    T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two attempts with --retry
UNREACHED = (ConnectError, ProxyError, TimedOut)  # failures of one port; another port may answer
RETRIED = (AddressError, *UNREACHED)  # failures that may be over in a moment


def prepare(context: Context) -> None:
    """Read the files that connections need: once, and while they can be read. Raises TlsError."""
    proxy, tls = context.config.proxy, context.config.tls
    if tls or (proxy and proxy.tls):
        from pync.tls.context import client_context

        if proxy and proxy.tls:
            context.proxy_tls_context = client_context(proxy.tls)
        if tls:
            context.tls_context = client_context(tls)


async def open_connection(context: Context, port: int | None, without: Sequence[Any] = ()) -> Peer:
    """A connection to the config's host, on this port (None: a unix path). `prepare` comes first.

    The addresses in `without`, by the system's names for them, are passed over. Raises what `dial` raises, ProxyError,
    TlsError, PeerLost; TimedOut after `connect_timeout` seconds.
    """
    try:
        return await context.loop.within(context.config.connect_timeout, _open(context, port, without))
    except TimeoutError:
        raise TimedOut(goal(context, port), "timed out") from None


async def _open(context: Context, port: int | None, without: Sequence[Any]) -> Peer:
    config = context.config
    if config.proxy and port is not None:
        from pync.connections.proxy_client import connect_through

        peer = await connect_through(context, config.proxy, port)
    else:
        peer = connected(context, *await dial(context, port, without))
    if config.tls:
        name = config.tls.server_name or (config.host if config.family != "unix" else None)
        peer = await encrypt(context, peer, context.tls_context, name, config.tls.pin)
    return peer


async def encrypt(
    context: Context, peer: Peer, tls_context: SSLContext | None, server_name: str | None, pin: bytes | None = None
) -> Peer:
    """The peer under TLS. Raises TlsError, PeerLost, TimedOut; the connection is closed then."""
    from pync.tls.handshake import HANDSHAKE, secure

    assert tls_context is not None, "prepare() comes first"
    limit = context.config.connect_timeout or HANDSHAKE
    return await secure(
        peer, tls_context, server_side=False, server_name=server_name, pin=pin, limit=limit, report=context.report
    )


def connected(context: Context, sock: socket.socket, name: Any) -> Peer:
    """The endpoint of a connected socket; `name` is its peer's address as the system gives it."""
    if not context.config.datagram:
        return StreamSocket(context.loop, sock, as_address(name))
    from pync.endpoints.datagrams import DatagramSocket

    return DatagramSocket(context.loop, sock, name)


async def with_retry(context: Context, attempt: Callable[..., Work[T]], *arguments: Any) -> T:
    """The result of the attempt, repeated for as long as `retry` says. Raises TimedOut when that time is over."""
    retry = context.config.retry
    if retry is None:
        return await attempt(*arguments)
    failures: list[PyncError] = []
    try:
        return await context.loop.within(retry, _repeat(context, failures, attempt, *arguments))
    except TimeoutError:
        last = failures[-1] if failures else TimedOut(f"connect to {context.config.host}", "no answer")
        raise TimedOut(last.what, f"{last.why} (tried for {retry:g} s)") from None


async def _repeat(context: Context, failures: list[PyncError], attempt: Callable[..., Work[T]], *arguments: Any) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            return await attempt(*arguments)
        except RETRIED as error:
            failures[:] = [error]
        context.report(Retrying(error=failures[0], pause=pause))
        await context.loop.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
