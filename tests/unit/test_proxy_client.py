"""Time limits of a connection through a proxy: what does not answer is named, the proxy or the host behind it."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from clients import drain, line
from doubles import a_context
from harness import DEADLINE, free_port, serve
from loopback import black_hole, peer, port_of, server

from pync.behaviour import Behaviour
from pync.config import Proxy, Tls
from pync.connections.outgoing import open_connection, prepare
from pync.connections.retry import with_retry
from pync.errors import AddressError, ProxyError, TimedOut

if TYPE_CHECKING:
    import socket

    from doubles import Clock

    from pync.config import ProxyKind
    from pync.loop.kernel import Loop

KINDS: list[ProxyKind] = ["http", "socks4", "socks5"]


async def late(loop: Loop, port: int, kind: ProxyKind, limit: float | None = None) -> str:
    """How the failure reads to connect through a proxy at this port."""
    proxy = Proxy(kind=kind, host="127.0.0.1", port=port)
    context = a_context(loop, peer("192.0.2.1", 7, proxy=proxy, connect_timeout=limit))
    with pytest.raises(TimedOut) as caught:
        await open_connection(context, 7)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_silent_proxy_is_named_after_30_seconds(kind: ProxyKind, loop: Loop, clock: Clock) -> None:
    with server() as silent:
        begun = clock()
        assert await late(loop, port_of(silent), kind) == f"proxy 127.0.0.1:{port_of(silent)}: no answer for 30 s"
        assert clock() - begun == 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [3.0, 60.0])
async def test_a_silent_proxy_has_the_time_that_the_user_gives(
    kind: ProxyKind, limit: float, loop: Loop, clock: Clock
) -> None:
    with server() as silent:
        begun = clock()
        why = f"no answer for {limit:g} s"
        assert await late(loop, port_of(silent), kind, limit) == f"proxy 127.0.0.1:{port_of(silent)}: {why}"
        assert clock() - begun == limit


async def test_a_proxy_that_is_not_reached_in_time_is_named(loop: Loop) -> None:
    with black_hole() as port:
        assert await late(loop, port, "http", 3.0) == f"proxy 127.0.0.1:{port}: no answer for 3 s"


async def test_a_silent_host_behind_a_proxy_is_named(real_loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def tunnel_to_nothing(conn: socket.socket) -> None:
        head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        drain(conn)

    monkeypatch.setattr("pync.connections.encryption.HANDSHAKE_LIMIT", 0.1)
    with serve(tunnel_to_nothing) as (_, port):
        proxy = Proxy(kind="http", host="127.0.0.1", port=port)
        context = a_context(real_loop, peer("192.0.2.1", 7, proxy=proxy, tls=Tls(verify=False)))
        prepare(context)
        with pytest.raises(TimedOut) as caught:
            await open_connection(context, 7)
    assert str(caught.value) == "connect to 192.0.2.1 port 7 (tcp): timed out"


def head(conn: socket.socket) -> None:
    """Read a request to the end of its head."""
    while line(conn) != b"\r\n":
        pass


async def test_retrying_names_the_proxy_that_never_answered(loop: Loop) -> None:
    with server() as silent:
        port = port_of(silent)
        proxy = Proxy(kind="http", host="127.0.0.1", port=port)
        context = a_context(loop, peer("192.0.2.1", 7, proxy=proxy, retry=5.0))
        with pytest.raises(TimedOut) as caught:
            await with_retry(context, lambda: open_connection(context, 7))
    through = f"connect to 192.0.2.1 through proxy 127.0.0.1:{port}"
    assert str(caught.value) == f"{through}: no answer (tried for 5 s)"


# -- What a face learns about a failure, and other ways to ask ---------------------------------------------------------


async def failed(
    loop: Loop, kind: ProxyKind, answers: list[bytes], behaviour: Behaviour | None = None
) -> tuple[ProxyError, bytes]:
    """How a proxy fails that gives these answers, each to what it was sent, and what it was sent."""
    asked = bytearray()

    def proxy(conn: socket.socket) -> None:
        for answer in answers:
            asked.extend(conn.recv(4096))
            conn.sendall(answer)

    with serve(proxy) as (_, port):
        through = Proxy(kind=kind, host="127.0.0.1", port=port, password=None)
        context = a_context(loop, peer("192.0.2.1", 7, proxy=through, behaviour=behaviour))
        with pytest.raises(ProxyError) as caught:
            await open_connection(context, 7)
    return caught.value, bytes(asked)


@pytest.mark.parametrize(
    ("kind", "answers", "answer", "received"),
    [
        ("socks5", [b"\5\xff"], 0xFF, 2),
        ("socks5", [b"\5\0", b"\5\4\0\1"], 4, 6),
        ("socks5", [b"\5\0", b"\5"], None, 3),
        ("socks4", [b"\0\x5b"], 91, 2),
        ("http", [b"HTTP/1.0 403 No\r\n\r\n"], "HTTP/1.0 403 No", 19),
    ],
)
async def test_a_failure_has_the_answer_of_the_proxy_and_how_much_has_come(
    real_loop: Loop, kind: ProxyKind, answers: list[bytes], answer: int | str | None, received: int
) -> None:
    error, _ = await failed(real_loop, kind, answers, Behaviour(plain_proxies=True))
    assert (error.answer, error.received, error.asked) == (answer, received, True)


async def test_a_plain_request_has_no_field_and_no_credentials_that_are_not_there(real_loop: Loop) -> None:
    _, asked = await failed(real_loop, "http", [b"HTTP/1.0 407 Who?\r\n\r\n"], Behaviour(plain_proxies=True))
    assert asked == b"CONNECT 192.0.2.1:7 HTTP/1.0\r\n\r\n"


async def test_a_proxy_that_is_not_there_was_not_asked(real_loop: Loop) -> None:
    with free_port() as port:
        through = Proxy(kind="socks5", host="127.0.0.1", port=port)
        with pytest.raises(ProxyError) as caught:
            await open_connection(a_context(real_loop, peer("192.0.2.1", 7, proxy=through)), 7)
    assert not caught.value.asked


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_may_have_as_long_as_it_takes(kind: ProxyKind, loop: Loop, clock: Clock) -> None:
    with server() as silent:
        proxy = Proxy(kind=kind, host="127.0.0.1", port=port_of(silent))
        context = a_context(loop, peer("192.0.2.1", 7, proxy=proxy, behaviour=Behaviour(waits_for_proxy=True)))
        with pytest.raises(TimeoutError):
            await loop.within(3600, open_connection(context, 7))
        assert clock() >= 3600


async def test_a_plain_request_goes_on_whatever_a_socks_5_proxy_chooses_but_refusal(real_loop: Loop) -> None:
    error, asked = await failed(real_loop, "socks5", [b"\4\2", b"\4\5\0\1"], Behaviour(plain_proxies=True))
    assert asked == b"\5\1\0" + b"\5\1\0\1\xc0\0\2\1\0\7"
    assert error.answer == 5


async def test_a_plain_request_looks_a_name_up_once_the_proxy_is_connected_to(real_loop: Loop) -> None:
    read: SimpleQueue[bytes] = SimpleQueue()
    with serve(lambda conn: read.put(conn.recv(1))) as (_, port):
        through = Proxy(kind="socks4", host="127.0.0.1", port=port, remote_names=False)
        config = peer("::1", 7, proxy=through, behaviour=Behaviour(plain_proxies=True), numeric=True)
        with pytest.raises(AddressError):
            await open_connection(a_context(real_loop, config), 7)
        assert read.get(timeout=DEADLINE) == b""


@pytest.mark.parametrize(("kind", "answer"), [("socks5", b"\5\xff"), ("socks4", b"\0\x5b"), ("http", b"nonsense\n")])
async def test_a_refusal_that_is_read_is_answered_with_an_end_and_no_reset(
    real_loop: Loop, kind: ProxyKind, answer: bytes
) -> None:
    ends: SimpleQueue[bytes] = SimpleQueue()

    def proxy(conn: socket.socket) -> None:
        conn.recv(4096)
        conn.sendall(answer)
        ends.put(conn.recv(1))

    with serve(proxy) as (_, port):
        through = Proxy(kind=kind, host="127.0.0.1", port=port)
        config = peer("192.0.2.1", 7, proxy=through, behaviour=Behaviour(plain_proxies=True))
        with pytest.raises(ProxyError):
            await open_connection(a_context(real_loop, config), 7)
        assert ends.get(timeout=DEADLINE) == b""
