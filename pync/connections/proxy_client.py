"""Connecting through a proxy: a connection to the proxy, a dialogue on it, and then the target is at the other end.

Theory: the proxy is a host like any other, dialled by a config that names it. An HTTP proxy that wants credentials is
asked again on a new connection, because many close the first. A password is sent only to a proxy that has asked for it.
One deadline is for all, but each step names what has not answered: the proxy, or behind it the host.

A dialogue (`protocols/dialogue.py`) is a generator; `hold` runs one on a stream, for clients and servers of proxies.
"""

from __future__ import annotations

import os

from pync.connections import connected
from pync.connections.layers import with_layers
from pync.endpoints import write_all
from pync.errors import AddressError, ConnectError, PeerLost, ProxyError, TimedOut
from pync.events import Address, Connected
from pync.net.dial import connect_goal, dial
from pync.net.resolve import resolve
from pync.protocols.dialogue import Refused, counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from pync.config import Proxy
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Event
    from pync.loop.tasks import Work
    from pync.protocols.dialogue import Dialogue, Login

    Result = TypeVar("Result")

DIALOGUE_LIMIT = 30.0  # seconds that a proxy has to answer, unless the user has set another limit
ATTEMPTS = 3  # with credentials: the second attempt may fail because the nonce is too old


async def hold(peer: Peer, dialogue: Dialogue[Result], *, ends_well: bool = False) -> Result:
    """Hold a dialogue with the peer and return its result. Bytes that came after the dialogue are left unread.

    `ends_well`: what a refused dialogue has used is read, so that closing the connection is no reset. Otherwise it is
    one. Raises Refused, PeerLost.
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
    except Refused as refusal:
        if ends_well:
            await peer.skip(len(shown) - len(refusal.rest))
        raise
    await peer.skip(len(shown) - len(rest))
    return result


async def open_through(context: Context, proxy: Proxy, port: int) -> Peer:
    """The config's host through the proxy, under TLS if that is wanted. Raises as `open_connection`.

    Without `connect_timeout` the proxy has the time of `_limit` for each answer.
    """
    limit = context.config.connect_timeout
    until = None if limit is None else context.loop.clock() + limit
    proxy_late = TimedOut(_name(proxy), f"no answer for {_limit(context) or 0:g} s")
    host_late = TimedOut(connect_goal(context, port), "timed out")
    names = await _in_time(context, until, _names(context, proxy, port), host_late)
    peer = await _in_time(context, until, _connect_to_one(context, proxy, names, port), proxy_late)
    return await _in_time(context, until, with_layers(context, peer, port), host_late)


def _limit(context: Context) -> float | None:
    """Seconds that a proxy has for an answer; None: as long as it takes."""
    behaviour = context.config.behaviour
    return context.config.connect_timeout or (None if behaviour and behaviour.waits_for_proxy else DIALOGUE_LIMIT)


async def _in_time(context: Context, until: float | None, step: Work[Result], late: TimedOut) -> Result:
    """The result of a step. Raises `late` at the moment `until`, or when a limit within the step has passed."""
    try:
        return await context.loop.within(None if until is None else max(0.0, until - context.loop.clock()), step)
    except (TimeoutError, TimedOut):  # a handshake names the other end of the socket, which is the proxy in any case
        raise late from None


async def _names(context: Context, proxy: Proxy, port: int) -> list[str]:
    """The host as the proxy is asked for it: its name, or its addresses for a proxy that shall not look it up."""
    host = context.config.host or ""
    if proxy.remote_names or (context.config.behaviour and context.config.behaviour.plain_proxies):
        return [host]
    found = await resolve(context, host, port, "ipv4" if proxy.kind == "socks4" else None)
    return [name[0] for _, name in found]


async def _connect_to_one(context: Context, proxy: Proxy, names: list[str], port: int) -> Peer:
    """A connection through the proxy to the first of these names that it reaches. Raises ProxyError, TlsError."""
    failure: ProxyError | None = None
    for name in names:
        try:
            peer = await _connect_to(context, proxy, name, port)
        except ProxyError as error:
            failure = error
            continue
        host, address = context.config.host or "", Address(host=name, port=port)
        context.report(Connected(host=host, address=address, transport=context.transport))
        return peer
    assert failure is not None
    raise failure


async def _connect_to(context: Context, proxy: Proxy, host: str, port: int) -> Peer:
    """A connection through the proxy to this host."""
    received: list[int] = []
    try:
        if (behaviour := context.config.behaviour) and behaviour.plain_proxies:
            return await _by_plain_request(context, proxy, host, port, received)
        if proxy.kind == "http":
            return await _by_http(context, proxy, host, port)
        return await _by_socks(context, proxy, host, port)
    except (Refused, PeerLost) as error:
        failure = ProxyError(_name(proxy), error.cause if isinstance(error, PeerLost) else str(error))
        failure.answer, failure.received = getattr(error, "answer", None), sum(received)
        raise failure from None


async def _by_socks(context: Context, proxy: Proxy, host: str, port: int) -> Peer:
    from pync.protocols.socks_client import socks4_connect, socks5_connect

    peer = await _open_proxy(context, proxy)
    four = proxy.kind == "socks4"
    dialogue = socks4_connect(host, port, proxy.user or "") if four else socks5_connect(host, port, _login(proxy))
    await _hold(context, peer, dialogue)
    return peer


async def _by_plain_request(context: Context, proxy: Proxy, host: str, port: int, received: list[int]) -> Peer:
    """By what `Behaviour.plain_proxies` is. The sizes of what the proxy sends are added to `received`."""
    peer = await _open_proxy(context, proxy)
    if proxy.kind == "http":
        from pync.protocols.http_plain_connect import connect

        dialogue = connect(host, port, None if proxy.password is None else _login(proxy))
    else:
        from pync.protocols.socks_client import socks4_connect, socks5_connect

        if proxy.kind == "socks4":
            try:
                host = (await resolve(context, host, port, "ipv4"))[0][1][0]
            except AddressError:
                peer.close()
                raise
        dialogue = socks4_connect(host, port) if proxy.kind == "socks4" else socks5_connect(host, port, lenient=True)
    await _hold(context, peer, counted(dialogue, received), ends_well=True)
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
        challenges = await _hold(context, peer, connect(host, port, authorization))
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


async def _hold(context: Context, peer: Peer, dialogue: Dialogue[Result], *, ends_well: bool = False) -> Result:
    """As `hold`; the peer is closed if the dialogue fails. Raises TimeoutError, too."""
    try:
        return await context.loop.within(_limit(context), hold(peer, dialogue, ends_well=ends_well))
    except BaseException:
        peer.close()
        raise


async def _open_proxy(context: Context, proxy: Proxy) -> Peer:
    """A connection to the proxy, perhaps under TLS. Raises ProxyError, BindError, TlsError, TimedOut, PeerLost."""

    def report(event: Event) -> None:
        if not isinstance(event, Connected):  # `_connect_to_one` reports this event for the target
            context.report(event)

    to_proxy = context.derive(context.config.but(host=proxy.host), report)
    try:
        peer = connected(to_proxy, *await dial(to_proxy, proxy.port))
    except (AddressError, ConnectError) as error:
        failure = ProxyError(_name(proxy), error.why)
        failure.asked = False
        raise failure from None
    if proxy.tls:
        from pync.connections.encryption import encrypt_to_proxy

        peer = await encrypt_to_proxy(context, peer, proxy.host)
    return peer


def _name(proxy: Proxy) -> str:
    return f"proxy {Address(host=proxy.host, port=proxy.port)}"


def _login(proxy: Proxy) -> Login | None:
    return None if proxy.user is None else (proxy.user, proxy.password or "")
