"""Targets: the dialogues with the clients of a proxy, and with the proxies that pync goes through."""

import h11
from dialogues import Outcome, hold

from fuzz import Target, pieces
from pync.protocols import http_connect, http_head, http_proxy, proxy_header, socks_client, socks_server
from pync.protocols.dialogue import ConnectRequest
from pync.protocols.hosts import authority
from pync.protocols.http_auth import Nonces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.protocols.dialogue import Dialogue

HEAD_LIMIT = 400  # bytes; many inputs are longer
LOGIN = "user", "Aladdin's other lamp"
SECRET, NOW = b"secret", 1_700_000_000.0
PRIVATE = {b"proxy-authorization", b"proxy-connection", b"keep-alive", b"te", b"upgrade"}

http_head.HEAD_LIMIT = HEAD_LIMIT


def socks_clients(data: bytes) -> None:
    """A client of our SOCKS proxy."""
    choice, whole, parts = pieces(data)
    login = LOGIN if choice & 1 else None
    _check_request(_however_split(lambda: socks_server.serve(login), whole, parts))


def http_clients(data: bytes) -> None:
    """A client of our HTTP proxy."""
    choice, whole, parts = pieces(data)
    login = LOGIN if choice & 1 else None
    outcome = _however_split(lambda: http_proxy.serve(login, Nonces(SECRET), NOW), whole, parts)
    _check_request(outcome)
    if outcome.refusal:
        _check_response(b"".join(outcome.said))


def http_targets(data: bytes) -> None:
    """The target of our HTTP proxy, whose response is rewritten."""
    _, whole, parts = pieces(data)
    outcome = _however_split(http_proxy.answer, whole, parts)
    if outcome.result:
        head, final = outcome.result
        assert head.count(b"\n") == head.count(b"\r\n") and head.endswith(b"\r\n\r\n"), head
        assert final == (b"connection" in _names(head)), head


def proxies(data: bytes) -> None:
    """A proxy that pync goes through."""
    choice, whole, parts = pieces(data)
    ways: list[Callable[[], Dialogue[Any]]] = [
        lambda: http_connect.connect("example.org", 443),
        lambda: socks_client.socks4_connect("example.org", 443),
        lambda: socks_client.socks5_connect("example.org", 443, LOGIN),
    ]
    outcome = _however_split(ways[choice % 3], whole, parts)
    assert outcome.refusal is None or outcome.refusal.isprintable(), outcome


def balancers(data: bytes) -> None:
    """A load balancer that names its client. The client that it has named can be named to a target."""
    choice, whole, parts = pieces(data)
    client = _however_split(proxy_header.receive, whole, parts).result
    if client:
        again = hold(proxy_header.receive(), [proxy_header.header(2 if choice & 1 else 1, client, client)]).result
        assert again and again.port == client.port, (client, again)


def _however_split(make: "Callable[[], Dialogue[Any]]", whole: bytes, parts: list[bytes]) -> Outcome:
    outcome = hold(make(), [whole])
    split = hold(make(), parts)
    assert split == outcome, f"{split} of the pieces, and {outcome} of the whole"
    return outcome


def _check_request(outcome: Outcome) -> None:
    """The target that a client asks for is one that can be asked for, and what it is sent holds nothing private."""
    asked = outcome.result
    if asked is None:
        return
    assert isinstance(asked, ConnectRequest)
    assert 0 <= asked.port < 65536, asked
    authority(asked.host, asked.port)
    if asked.head:
        server = h11.Connection(h11.SERVER)
        server.receive_data(asked.head)
        assert isinstance(server.next_event(), h11.Request), asked
        names = _names(asked.head)
        assert names.count(b"host") == 1 and names.count(b"connection") == 1, asked
        assert PRIVATE.isdisjoint(names), asked
        assert asked.head.count(b"\n") == asked.head.count(b"\r\n"), asked


def _check_response(said: bytes) -> None:
    """What was sent is nothing, if the client has left, or one whole response."""
    if said:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.receive_data(said)
        assert isinstance(client.next_event(), h11.Response), said


def _names(head: bytes) -> list[bytes]:
    return [line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n")[1:] if line]


_USER = b"\1\4user\x14Aladdin's other lamp"
_BASIC = b"Proxy-Authorization: Basic dXNlcjpBbGFkZGluJ3Mgb3RoZXIgbGFtcA==\r\n"
_DIGEST = (
    b'Proxy-Authorization: Digest username="user", realm="pync", nonce="6553f100-00", uri="/", qop=auth, nc=00000001, '
    b'cnonce="c", algorithm=SHA-256, response="00"\r\n'
)

TARGETS = {
    "proxy_header": Target(
        balancers,
        [
            b"\0PROXY TCP4 192.0.2.1 192.0.2.7 50000 443\r\nGET",
            b"\1PROXY TCP6 2001:db8::7 ::1 1 2\r\n",
            b"\0PROXY UNKNOWN\r\n",
            b"\1" + proxy_header.PREFIX_2 + b"\x21\x11\0\x0c" + bytes(range(12)) + b"GET",
            b"\0" + proxy_header.PREFIX_2 + b"\x21\x21\0\x2b" + bytes(36) + b"\2\0\4abcd",
            b"\1" + proxy_header.PREFIX_2 + b"\x20\0\0\0",
        ],
    ),
    "socks_server": Target(
        socks_clients,
        [
            b"\0\5\1\0\5\1\0\1\x7f\0\0\1\0\x50GET",
            b"\0\5\2\0\2\5\1\0\3\x0bexample.org\1\xbb",
            b"\0\5\1\0\5\1\0\4" + bytes(15) + b"\1\0\x16",
            b"\1\5\1\2" + _USER + b"\5\1\0\3\x09127.0.0.1\0\x50",
            b"\0\5\1\0\5\2\0\1\x7f\0\0\1\0\x50",
            b"\0\4\1\0\x50\x7f\0\0\1\0",
        ],
    ),
    "http_proxy": Target(
        http_clients,
        [
            b"\0CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n\x16\x03\x01",
            b"\1CONNECT [::1]:443 HTTP/1.0\r\n" + _BASIC + b"\r\n",
            b"\1GET http://a:80/x?y#z HTTP/1.1\r\nHost: b\r\nConnection: close, x\r\nX: 1\r\n" + _DIGEST + b"\r\n",
            b"\0POST http://a HTTP/1.1\nHost: a\nContent-Length: 3\n folded\nTE: trailers\n\nabc",
            b"\0PUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
            b"3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\nGET",
            b"\0\r\nOPTIONS http://a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nProxy-Connection: x\r\n\r\n",
        ],
    ),
    "http_target": Target(
        http_targets,
        [
            b"\0HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nabc",
            b"\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            b"\0HTTP/1.0 301\nLocation: x\n y\nTransfer-Encoding: chunked\nContent-Length: 3\n\n",
        ],
    ),
    "proxies": Target(
        proxies,
        [
            b"\0HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0",
            b"\3HTTP/1.1 100 Go on\r\n\r\nHTTP/1.0 503 Too \xff\x1b[31mbusy\r\n\r\n",
            b'\6HTTP/1.1 407 Who\r\nProxy-Authenticate: Digest realm="r", nonce="n"\r\nContent-Length: 0\r\n\r\n',
            b"\1\0\x5a\0\x50\x7f\0\0\1",
            b"\1\0\x5b\0\0\0\0\0\0",
            b"\2\5\2\1\0\5\0\0\3\x0bexample.org\0\x50",
            b"\2\5\0\5\0\0\4" + bytes(18) + b"SSH",
            b"\2\5\0\5\5\0\1" + bytes(6),
        ],
    ),
}
