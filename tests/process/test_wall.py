"""A session is a wall: wherever one fails, for whatever reason, that client is let go and the next one is served."""

from __future__ import annotations

import select
import socket
import ssl
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import encrypted
import pytest
import trapped
from clients import datagrams, drain, reset, take
from harness import DEADLINE, DEVNULL, UNMEASURED, Running, announced, connect, listen, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Authority

# Without the warning of a task that was cancelled before its first step: the trap makes that of it.
TRAPPED = [sys.executable, "-W", "ignore::RuntimeWarning", trapped.__file__]
MOST = 150  # places to fail at; a session has fewer


class Mode(NamedTuple):
    """A way to serve, a client's whole dialogue with the server on a port, and what that gives if all is well."""

    options: list[str]
    ask: Callable[[int], bytes]
    answer: bytes
    stdin: bytes | None = None  # of the server
    out: bytes = b""  # on the server's stdout, for each client
    tls: bool = False
    clients: int = 1  # of a dialogue
    transport: str = "tcp"


def says(question: bytes, *steps: tuple[bytes, int]) -> Callable[[int], bytes]:
    """Take the steps: send something, and take so many bytes. Then send the question and an end: what comes then."""

    def ask(port: int) -> bytes:
        with connect(port) as conn:
            for step, size in steps:
                conn.sendall(filled(step))
                take(conn, size)
            conn.sendall(filled(question))
            conn.shutdown(socket.SHUT_WR)
            return drain(conn)

    return ask


def filled(text: bytes) -> bytes:
    """With the echo server's port in place of NUMBER, and in place of PORT as two bytes."""
    return text.replace(b"NUMBER", b"%d" % ECHO[0]).replace(b"PORT", ECHO[0].to_bytes(2, "big"))


def passes_on(port: int) -> bytes:
    """What one client of a hub gets of what another sends."""
    with connect(port) as first:
        first.sendall(b"hello\n")  # a client that could send this is among the others
        with connect(port) as second:
            data, second_data = b"", b""
            second.sendall(b"hello\n")
            while b"hello\n" not in data + second_data:
                ready = select.select([first, second], [], [], DEADLINE)[0]
                assert ready, "a client gets nothing"
                if first in ready:
                    data += received(first)
                if second in ready:
                    second_data += received(second)
            reset(first)  # from a broker, a client that has closed may still receive
            reset(second)
            return b"hello\n"


def received(conn: socket.socket) -> bytes:
    """Some bytes. A connection that has ended is broken off here."""
    if data := conn.recv(4096):
        return data
    raise ConnectionResetError


def datagram(port: int) -> bytes:
    """The answer to a datagram of a new peer; nothing if there is none for a while."""
    with datagrams(port) as peer:
        peer.settimeout(1)
        peer.send(b"hello\n")
        with suppress(TimeoutError):
            return peer.recv(100)
        return b""


GET = b"GET / HTTP/1.0\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
TUNNEL = b"CONNECT localhost:NUMBER HTTP/1.1\r\nHost: localhost:NUMBER\r\n\r\n"
PLAIN = b"GET http://localhost:NUMBER/served HTTP/1.0\r\n\r\n"
BRIEF = ("--idle-timeout", "300ms")  # with which a session of datagrams ends soon
ECHO: list[int] = []
HELLO = says(b"hello\n")
NAMED = says(b"PROXY TCP4 192.0.2.1 192.0.2.7 1 2\r\nhello\n")

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OWN_LOGS = ("-o", f"LOGS/%n{trapped.LOG}", "--timestamps", "--hex-dump", f"LOGS/%a-%n-%t{trapped.LOG}")
FRAMES = b"\x82\x86\0\0\0\0hello\n" + b"\x88\x82\0\0\0\0\x03\xe8"  # a message, and a Close with code 1000
MODES = {
    "receiver": Mode([], HELLO, b"", out=b"hello\n"),
    "receiver with stages": Mode(["-C", "-t", "--idle-timeout", "9"], HELLO, b"", out=b"hello\n"),
    "receiver with sums": Mode(["--checksum", "--progress"], HELLO, b"", out=b"hello\n"),
    "receiver with own logs": Mode([*OWN_LOGS], HELLO, b"", out=b"hello\n"),
    "program with own logs": Mode([*OWN_LOGS, "-e", "/bin/cat"], HELLO, b"hello\n"),
    "chat with own logs": Mode([*OWN_LOGS, "--chat"], passes_on, b"hello\n", clients=2),
    "HTTP with own logs": Mode([*OWN_LOGS, "--http"], says(GET), b"page\n", stdin=b"page\n"),
    "to, with own logs": Mode([*OWN_LOGS, "--to", "127.0.0.1:NUMBER"], HELLO, b"hello\n"),
    "file": Mode([], HELLO, b"page\n", stdin=b"page\n"),
    "program": Mode(["-e", "/bin/cat"], HELLO, b"hello\n"),
    "relayed program": Mode(["--idle-timeout", "9", "-c", "cat"], HELLO, b"hello\n"),
    "program on a terminal": Mode(["--pty", "-c", "read x; echo $x"], HELLO, b"hello\r\nhello\r\n"),
    "filter": Mode(["--filter", "cat"], HELLO, b"hello\n"),
    "broker": Mode(["--broker"], passes_on, b"hello\n", clients=2),
    "chat": Mode(["--chat"], passes_on, b"hello\n", clients=2),
    "HTTP": Mode(["--http"], says(GET), b"page\n", stdin=b"page\n"),
    "HTTP upload": Mode(["--http"], says(PUT), b"page\n", stdin=b"page\n"),
    "to": Mode(["--to", "127.0.0.1:NUMBER"], HELLO, b"hello\n"),
    "to a name": Mode(["--retry", "1", "--to", "localhost:NUMBER"], HELLO, b"hello\n"),
    "SOCKS": Mode(
        ["--proxy-server", "socks5"],
        says(b"hello\n", (b"\5\1\0", 2), (b"\5\1\0\3\x09localhostPORT", 10)),
        b"hello\n",
    ),
    "plain request to an HTTP proxy": Mode(["--proxy-server", "http"], says(PLAIN), b"served\n"),
    "HTTP proxy": Mode(["--proxy-server", "http"], says(b"hello\n", (TUNNEL, 19)), b"hello\n"),
    "behind a balancer": Mode(["--accept-proxy", "--allow", "127.0.0.1", "-e", "/bin/cat"], NAMED, b"hello\n"),
    "to, named": Mode(["--to", "127.0.0.1:NUMBER", "--send-proxy"], HELLO, b"hello\n"),
    "TLS": Mode([], HELLO, b"", out=b"hello\n", tls=True),
    "program under TLS": Mode(["-e", "/bin/cat"], HELLO, b"hello\n", tls=True),
    "WebSocket": Mode(["--ws"], says(FRAMES, (UPGRADE, 129)), b"\x88\x02\x03\xe8", out=b"hello\n"),
    "program of WebSocket": Mode(["--ws", "-c", "cat"], says(FRAMES, (UPGRADE, 129)), b"\x88\x02\x03\xe8"),
    "program for datagrams": Mode(["-e", "/bin/cat", *BRIEF], datagram, b"hello\n", transport="udp"),
    "to, by datagrams": Mode(["--to", "127.0.0.1:NUMBER", *BRIEF], datagram, b"hello\n", transport="udp"),
}
FAULTS = [
    ("await", "RuntimeError"),
    ("await", "EMFILE"),
    ("call", "EMFILE"),
    ("call", "LookupError"),
    ("await", "MemoryError"),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("where", "error"), FAULTS)
@pytest.mark.parametrize("name", MODES)
def test_wherever_a_session_fails_the_next_client_is_served(
    name: str, where: str, error: str, tmp_path: Path, authority: Authority
) -> None:
    mode = MODES[name]
    tls = encrypted.client_side(authority) if mode.tls else None
    with echoing(mode.transport), trapped_server(mode, where, error, tmp_path / "page", authority) as server:
        for number in range(1, MOST):
            with ended():
                dialogue(server.port, mode, tls)
            fate = server.expect("^trap: (sprung|escaped)$", count=number)[1]
            assert mode.answer in dialogue(server.port, mode, tls)
            if fate == "escaped":
                break
        else:
            pytest.fail("a session has too many places to fail at")
        assert number > 1, "the trap was never set"
        assert not {"Traceback", trapped.LATE} & {*server.stderr.split()}
        if mode.out:
            assert server.read(len(mode.out)) == mode.out


@contextmanager
def ended() -> Iterator[None]:
    """Here a connection may end in any way, but end it must."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError:
        pass


@contextmanager
def trapped_server(mode: Mode, where: str, error: str, page: Path, authority: Authority) -> Iterator[Running]:
    """A pync with a trap, of which every second dialogue meets it."""
    options = [filled(option.encode()).decode().replace("LOGS", str(page.parent)) for option in mode.options]
    if mode.tls:
        options += encrypted.ours(authority.server)
    if mode.transport == "udp":
        options.append("-u")
    page.write_bytes(mode.stdin or b"")
    argv = [*TRAPPED, where, error, str(2 * mode.clients), "-v", "-lk", *options, "127.0.0.1", "0"]
    with page.open("rb") as file:
        server = Running(argv, stdin=DEVNULL if mode.stdin is None else file, env=UNMEASURED)
    with announced(server, "Bound" if mode.transport == "udp" else "Listening"):
        yield server


def dialogue(port: int, mode: Mode, tls: ssl.SSLContext | None) -> bytes:
    """The whole dialogue of a mode's clients."""
    if tls is None:
        return mode.ask(port)
    with encrypted.greeted(tls, port) as peer:
        peer.sendall(b"hello\n")
        encrypted.send_end(peer)
        return encrypted.drain_tls(peer)


@contextmanager
def echoing(transport: str) -> Iterator[None]:
    """A server that answers with what it gets, and a request of HTTP with "served". Its port is in `ECHO`."""
    if transport == "tcp":
        with serve(echo) as (_, port):
            ECHO[:] = [port]
            yield
    else:
        with listen("-k", "-u", "-e", "/bin/cat", "127.0.0.1", "0") as server:
            ECHO[:] = [server.port]
            yield


def echo(conn: socket.socket) -> None:
    with suppress(ConnectionError):  # that of a session that has failed
        while data := conn.recv(4096):
            conn.sendall(b"HTTP/1.0 200 OK\r\n\r\nserved\n" if data.startswith(b"GET") else data)
            if data.startswith(b"GET"):
                break
