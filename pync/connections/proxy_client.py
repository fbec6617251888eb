"""Connecting through a proxy: a connection to the proxy, a dialogue on it, and then the target is at the other end.

Theory: the proxy is a host like any other, dialled by a config that names it. An HTTP proxy that wants credentials is
asked again on a new connection, because many close the first. A password is sent only to a proxy that has asked for it.

A dialogue (`protocols/dialogue.py`) is a generator; `hold` runs one on a stream, for clients and servers of proxies.
"""

from __future__ import annotations

import os

from pync.connections import connected
from pync.endpoints import write_all
from pync.errors import AddressError, ConnectError, PeerLost, ProxyError
from pync.events import Address, Connected
from pync.net.dial import dial
from pync.net.resolve import resolve
from pync.protocols.dialogue import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from pync.config import Proxy
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Event
    from pync.protocols.dialogue import Dialogue, Login

    Result = TypeVar("Result")

ATTEMPTS = 3  # with credentials: the second attempt may fail because the nonce is too old


async def hold(peer: Peer, dialogue: Dialogue[Result]) -> Result:
    """Hold a dialogue with the peer and return its result. Bytes that came after the dialogue are left unread.

    Raises Refused, PeerLost.
    """
    shown = b""  # bytes that were peeked at and are not skipped yet
    result: Result
    try:
        reply = next(dialogue)
        while True:
            if reply:
                await write_all(peer, reply)
                reply = next(dialogue)
            else:  # the dialogue has used all that it was shown
                await peer.skip(len(shown))
                shown = await peer.peek() or b""
                reply = dialogue.send(shown)
    except StopIteration as end:
        result, rest = end.value
    await peer.skip(len(shown) - len(rest))
    return result


async def connect_through(context: Context, proxy: Proxy, port: int) -> Peer:
    """The config's host, through the proxy. Raises ProxyError, AddressError, BindError, TlsError, TimedOut."""
    host = context.config.host or ""
    names = [host] if proxy.remote_names else await _addresses(context, proxy, port)
    failure: ProxyError | None = None
    for name in names:
        try:
            peer = await _connect_to(context, proxy, name, port)
        except ProxyError as error:
            failure = error
            continue
        context.report(Connected(host=host, address=Address(host=name, port=port), transport=context.transport))
        return peer
    assert failure is not None
    raise failure


async def _addresses(context: Context, proxy: Proxy, port: int) -> list[str]:
    """The host's addresses, for a proxy that shall not look it up."""
    found = await resolve(context, context.config.host, port, "ipv4" if proxy.kind == "socks4" else None)
    return [name[0] for _, name in found]


async def _connect_to(context: Context, proxy: Proxy, host: str, port: int) -> Peer:
    """A connection through the proxy to this host."""
    try:
        if proxy.kind == "http":
            return await _by_http(context, proxy, host, port)
        return await _by_socks(context, proxy, host, port)
    except Refused as error:
        raise ProxyError(_name(proxy), str(error)) from None
    except PeerLost as error:
        raise ProxyError(_name(proxy), error.cause) from None


async def _by_socks(context: Context, proxy: Proxy, host: str, port: int) -> Peer:
    from pync.protocols.socks_client import socks4_connect, socks5_connect

    peer = await _open_proxy(context, proxy)
    four = proxy.kind == "socks4"
    await _hold(
        peer, socks4_connect(host, port, proxy.user or "") if four else socks5_connect(host, port, _login(proxy))
    )
    return peer


async def _by_http(context: Context, proxy: Proxy, host: str, port: int) -> Peer:
    """By CONNECT, at first without credentials (RFC 9110, section 11.7)."""
    from pync.protocols.hosts import authority
    from pync.protocols.http_auth import answer
    from pync.protocols.http_connect import connect

    login = _login(proxy)
    authorization: str | None = None
    for _ in range(ATTEMPTS):
        peer = await _open_proxy(context, proxy)
        challenges = await _hold(peer, connect(host, port, authorization))
        if challenges is None:
            return peer
        peer.close()
        if login is None:
            raise Refused("it wants to know who we are: give --proxy-auth")
        before, target = authorization, authority(host, port)
        authorization = answer(challenges, login, "CONNECT", target, os.urandom(16).hex())
        if authorization is None:
            raise Refused("it wants an authentication that is not known here")
        if authorization == before:
            break
    raise Refused("it does not accept this user and password")


async def _hold(peer: Peer, dialogue: Dialogue[Result]) -> Result:
    """As `hold`; the peer is closed if the dialogue fails."""
    try:
        return await hold(peer, dialogue)
    except BaseException:
        peer.close()
        raise


async def _open_proxy(context: Context, proxy: Proxy) -> Peer:
    """A connection to the proxy itself, under TLS if that is wanted. Raises as `connect_through`, and PeerLost."""

    def report(event: Event) -> None:
        if not isinstance(event, Connected):  # `connect_through` reports this event for the target
            context.report(event)

    to_proxy = context.derive(context.config.but(host=proxy.host), report)
    try:
        peer = connected(to_proxy, *await dial(to_proxy, proxy.port))
    except (AddressError, ConnectError) as error:
        raise ProxyError(_name(proxy), error.why) from None
    if proxy.tls:
        from pync.connections.encryption import encrypt_to_proxy

        peer = await encrypt_to_proxy(context, peer, proxy.host)
    return peer


def _name(proxy: Proxy) -> str:
    return f"proxy {Address(host=proxy.host, port=proxy.port)}"


def _login(proxy: Proxy) -> Login | None:
    return None if proxy.user is None else (proxy.user, proxy.password or "")
