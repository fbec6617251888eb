"""Through a proxy: a connection to it, a dialogue on that, and then the target is at the other end.

Theory: the proxy is a host like any other, dialled by a config that names it. An HTTP proxy that wants credentials is
asked again on a new connection, for many close the first. Nobody is told a password who has not asked for it.
"""

from __future__ import annotations

import os

from pync.connections.talk import talk
from pync.endpoints.streams import StreamSocket
from pync.errors import AddressError, ConnectError, PeerLost, ProxyError
from pync.events import Address, Connected, as_address
from pync.net.dial import dial, transport
from pync.net.resolve import resolve
from pync.protocols.dialogue import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from pync.config import Proxy
    from pync.context import Context
    from pync.endpoints.streams import Stream
    from pync.events import Event
    from pync.protocols.dialogue import Dialogue, Login

    Result = TypeVar("Result")

ATTEMPTS = 3  # with credentials: the second may fail for a nonce that was too old


def prepare(context: Context, proxy: Proxy) -> None:
    """Import and read what a dialogue with the proxy needs. Raises TlsError."""
    from pync.protocols import (
        http_connect,  # noqa: F401
        socks_client,  # noqa: F401
    )

    if proxy.kind == "http":
        import h11  # noqa: F401

        from pync.protocols import http_auth  # noqa: F401

        if proxy.user is not None:
            import base64  # noqa: F401
            import hashlib  # noqa: F401
    if proxy.tls:
        from pync.tls import handshake  # noqa: F401
        from pync.tls.context import client_context

        context.proxy_tls_context = client_context(proxy.tls)


async def through(context: Context, proxy: Proxy, port: int) -> Stream:
    """A stream to the config's host that goes through the proxy. Raises ProxyError, AddressError, TlsError."""
    host = context.config.host or ""
    names = [host] if proxy.remote_names else await _addresses(context, proxy, port)
    failure: ProxyError | None = None
    for name in names:
        try:
            stream = await _connected(context, proxy, name, port)
        except ProxyError as error:
            failure = error
            continue
        context.report(Connected(host=host, address=Address(host=name, port=port), transport=transport(context.config)))
        return stream
    assert failure is not None
    raise failure


async def _addresses(context: Context, proxy: Proxy, port: int) -> list[str]:
    """The host's addresses, for a proxy that is not to look it up."""
    family = "ipv4" if proxy.kind == "socks4" else context.config.family
    found = await resolve(
        context.loop, context.config.host, port, family, datagram=False, numeric=context.config.numeric
    )
    return [name[0] for _, name in found]


async def _connected(context: Context, proxy: Proxy, host: str, port: int) -> Stream:
    """A stream through the proxy to this host."""
    what = f"proxy {Address(host=proxy.host, port=proxy.port)}"
    try:
        if proxy.kind == "http":
            return await _by_http(context, proxy, host, port)
        from pync.protocols.socks_client import socks4, socks5

        stream = await _reach(context, proxy)
        four = proxy.kind == "socks4"
        await _held(stream, socks4(host, port, proxy.user or "") if four else socks5(host, port, _login(proxy)))
        return stream
    except Refused as error:
        raise ProxyError(what, str(error)) from None
    except PeerLost as error:
        raise ProxyError(what, error.cause) from None


async def _by_http(context: Context, proxy: Proxy, host: str, port: int) -> Stream:
    """CONNECT, at first without saying who we are (RFC 9110, section 11.7)."""
    from pync.protocols.hosts import authority
    from pync.protocols.http_auth import answer
    from pync.protocols.http_connect import connect

    login = _login(proxy)
    authorization: str | None = None
    for _ in range(ATTEMPTS):
        stream = await _reach(context, proxy)
        challenges = await _held(stream, connect(host, port, authorization))
        if challenges is None:
            return stream
        stream.close()
        if login is None:
            raise Refused("it wants to know who we are: give --proxy-auth")
        said, authorization = (
            authorization,
            answer(challenges, login, "CONNECT", authority(host, port), os.urandom(16).hex()),
        )
        if authorization is None:
            raise Refused("it wants an authentication that is not known here")
        if authorization == said:
            break
    raise Refused("it does not accept this user and password")


async def _held(stream: Stream, dialogue: Dialogue[Result]) -> Result:
    """The dialogue's result; the stream is closed if there is none."""
    try:
        return await talk(stream, dialogue)
    except BaseException:
        stream.close()
        raise


async def _reach(context: Context, proxy: Proxy) -> Stream:
    """A stream to the proxy itself, under TLS if it wants that. Raises ProxyError, TlsError, PeerLost."""

    def report(event: Event) -> None:
        if not isinstance(event, Connected):  # that is to be said of the target
            context.report(event)

    config = context.config.but(host=proxy.host, connect_timeout=None)
    try:
        sock, name = await dial(context.loop, config, proxy.port, report)
    except (AddressError, ConnectError) as error:
        raise ProxyError(f"proxy {Address(host=proxy.host, port=proxy.port)}", error.why) from None
    stream = StreamSocket(context.loop, sock, as_address(name))
    return await _encrypted(context, proxy, stream) if proxy.tls else stream


async def _encrypted(context: Context, proxy: Proxy, stream: Stream) -> Stream:
    from pync.tls.handshake import HANDSHAKE, secure

    assert context.proxy_tls_context is not None
    limit = context.config.connect_timeout or HANDSHAKE
    return await secure(
        stream,
        context.proxy_tls_context,
        server_side=False,
        server_name=proxy.host,
        pin=None,
        limit=limit,
        report=context.report,
    )


def _login(proxy: Proxy) -> Login | None:
    return None if proxy.user is None else (proxy.user, proxy.password or "")
