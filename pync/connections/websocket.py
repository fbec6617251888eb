"""WebSocket over connections, in both roles: the handshake, with its deadline (RFC 6455, section 4).

Theory: a browser lets a page of any site open a WebSocket to any host, also to a server on the user's own machine. It
names the site in the header Origin. So a listener serves a page only if its site is the host that the page
asked for, or one that --ws-origin names. A client that is no browser sends no Origin, and is served.

A head is read to its end and has at most HEAD_LIMIT bytes. What comes behind it is the first of the frames. Compression
(permessage-deflate) is never offered or accepted: a few bytes could become gigabytes.
"""

from __future__ import annotations

from pync.endpoints import LINGER, write_all
from pync.errors import ConnectError, PeerLost, ProtocolError, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wsproto.events import Event, Request
    from wsproto.handshake import H11Handshake

    from pync.context import Context
    from pync.endpoints import Peer
    from pync.loop.tasks import Work

HANDSHAKE_LIMIT = 30.0  # seconds that a handshake may take, unless the user has set another limit
HEAD_LIMIT = 16 * 1024  # bytes of a request or a response
HEAD_END = b"\r\n\r\n"
REFUSAL = (
    b"HTTP/1.1 %s\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def require() -> None:
    """Import wsproto. Raises ProtocolError if it is not installed."""
    try:
        __import__("wsproto")
    except ImportError:
        raise ProtocolError("WebSocket", "needs wsproto: pip install 'pync-netcat[ws]', or 'wsproto'") from None


async def open_to_server(context: Context, peer: Peer, port: int | None) -> Peer:
    """A WebSocket over a connection to the config's host. Raises ConnectError, PeerLost, TimedOut; it is closed."""
    limit = context.config.connect_timeout or HANDSHAKE_LIMIT
    return await _in_time(peer, limit, _ask(context, peer, port))


async def open_to_client(context: Context, client: Peer) -> Peer:
    """A WebSocket over a client's connection. Raises ProtocolError, PeerLost, TimedOut; it is closed then."""
    return await _in_time(client, HANDSHAKE_LIMIT, _answer(context, client))


async def _in_time(peer: Peer, limit: float, handshake: Work[Peer]) -> Peer:
    try:
        return await peer.loop.within(limit, handshake)
    except TimeoutError:
        peer.close()
        raise TimedOut(_goal(peer), f"no answer for {limit:g} s") from None
    except BaseException:
        peer.close()
        raise


def _goal(peer: Peer) -> str:
    return f"WebSocket handshake with {peer.address}"


async def _head(peer: Peer, beginning: bytes) -> tuple[bytes, bytes]:
    """A head, and what came behind it; the first bytes alone, if they are no `beginning`.

    Raises PeerLost, ProtocolError.
    """
    data = b""
    while HEAD_END not in data and data[: len(beginning)] == beginning[: len(data)]:
        if len(data) > HEAD_LIMIT:
            raise ProtocolError(_goal(peer), f"its head has more than {HEAD_LIMIT} bytes")
        more = await peer.read()
        if more is None:
            raise PeerLost(_goal(peer), "the peer hung up")
        data += more
    head, end, rest = data.partition(HEAD_END)
    return head + end, rest


def _parsed(handshake: H11Handshake, head: bytes) -> Event:
    """What a head says. Raises RemoteProtocolError (of wsproto)."""
    from wsproto.utilities import RemoteProtocolError

    handshake.receive_data(head)
    event = next(handshake.events(), None)
    if event is None:
        raise RemoteProtocolError("Bad HTTP message")
    return event


# -- A client


async def _ask(context: Context, peer: Peer, port: int | None) -> Peer:
    from wsproto.connection import ConnectionType
    from wsproto.events import AcceptConnection, Request
    from wsproto.handshake import H11Handshake
    from wsproto.utilities import RemoteProtocolError

    from pync.connections.websocket_stream import WebSocketStream

    asked = context.config.websocket
    assert asked is not None
    handshake = H11Handshake(ConnectionType.CLIENT)
    headers = [(name.encode(), value.encode()) for name, value in asked.headers if name.lower() != "host"]
    host = next((value for name, value in asked.headers if name.lower() == "host"), _host(context, port))
    request = Request(host=host, target=asked.path, extra_headers=headers, subprotocols=list(asked.protocols))
    try:
        head = handshake.send(request)
    except UnicodeError:
        raise ConnectError(_goal(peer), f"{host} is no name of a server") from None
    await write_all(peer, head)
    try:
        head, rest = await _head(peer, b"HTTP/1.")
        answer = _parsed(handshake, head)
    except ProtocolError as error:
        raise ConnectError(error.what, error.why) from None
    except RemoteProtocolError as error:
        raise ConnectError(_goal(peer), f"the server does not speak WebSocket: {error}") from None
    if not isinstance(answer, AcceptConnection):
        raise ConnectError(_goal(peer), _refusal(head, answer))
    return WebSocketStream(peer, server_side=False, text=asked.text, received=rest)


def _host(context: Context, port: int | None) -> str:
    """The host as a request names it (RFC 9110, section 7.2), without the usual port."""
    config = context.config
    if port is None:
        return "localhost"
    host = config.host or ""
    host = f"[{host.partition('%')[0]}]" if ":" in host else host
    return host if port == (443 if config.tls else 80) else f"{host}:{port}"


def _refusal(head: bytes, answer: Event) -> str:
    """Why this is no WebSocket: the status, and where else it may be found."""
    status = head.partition(b"\r\n")[0].partition(b" ")[2].decode("latin-1")
    place = next((value.decode("latin-1") for name, value in getattr(answer, "headers", ()) if name == b"location"), "")
    where = f", and names {place}" if place and status.startswith("3") else ""
    return f"the server answered with status {status} instead of 101{where}"


# -- A listener


async def _answer(context: Context, client: Peer) -> Peer:
    from wsproto.connection import ConnectionType
    from wsproto.events import AcceptConnection, Request
    from wsproto.handshake import H11Handshake
    from wsproto.utilities import RemoteProtocolError

    from pync.connections.websocket_stream import WebSocketStream

    asked = context.config.websocket
    assert asked is not None
    handshake = H11Handshake(ConnectionType.SERVER)
    try:
        head, rest = await _head(client, b"GET ")
    except ProtocolError:
        await _refuse(client, b"431 Request Header Fields Too Large")
        raise
    try:
        request = _parsed(handshake, head)
    except (RemoteProtocolError, UnicodeError) as error:
        await _refuse(client, b"426 Upgrade Required")
        raise ProtocolError(_goal(client), f"it does not ask for WebSocket: {error}") from None
    assert isinstance(request, Request)
    if site := _foreign_site(request, asked.origins):
        await _refuse(client, b"403 Forbidden")
        raise ProtocolError(_goal(client), f"it is for a page of {site}, which --ws-origin does not name")
    # A browser ends a connection of which it has offered protocols and got none. To pync all are the same: bytes.
    protocol = next((name for name in request.subprotocols if name in (asked.protocols or (name,))), None)
    await write_all(client, handshake.send(AcceptConnection(subprotocol=protocol)))
    return WebSocketStream(client, server_side=True, text=asked.text, received=rest)


async def _refuse(client: Peer, status: bytes) -> None:
    await write_all(client, REFUSAL % status)
    await client.linger(LINGER)


def _foreign_site(request: Request, allowed: tuple[str, ...]) -> str | None:
    """The site of the page that asks, if it may not; None if it may, or if no page asks."""
    for name, value in request.extra_headers:
        if name != b"origin":
            continue
        site = value.decode("latin-1").lower()
        place = site.rpartition("://")[2]
        if not ({"*", site, place} & {item.lower() for item in allowed} or place == _place(request.host, site)):
            return site
    return None


def _place(host: str, site: str) -> str:
    """A Host header as an Origin shows it: in small letters, without the usual port of the site's scheme."""
    return host.lower().removesuffix(":443" if site.startswith(("https:", "wss:")) else ":80")
