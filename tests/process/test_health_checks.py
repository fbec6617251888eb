"""Health checks of servers that send the same to many clients: they connect, and leave in any way, without a word.

Such a server must never be full of clients that have left, and a client that only listens must stay.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from clients import is_true, line, reset
from encrypted import client_side, greeted, ours, send_end
from harness import DEVNULL, PYNC, Running, announced, connect, listen, require
from network import network

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from certificates import Authority

    Stack = contextlib.ExitStack


def close(conn: socket.socket, stack: Stack) -> None:
    """Leave as most programs do."""
    conn.close()


def break_off(conn: socket.socket, stack: Stack) -> None:
    """Leave by a reset."""
    reset(conn)


def half_close(conn: socket.socket, stack: Stack) -> None:
    """Half-close, and stay."""
    conn.shutdown(socket.SHUT_WR)
    stack.enter_context(conn)


every_kind = pytest.mark.parametrize("kind", ["--broker", "--chat", "-k"])
# A client of a chat that has half-closed was sent a line, and is known to be there: it is never in the way.
every_way = pytest.mark.parametrize(
    ("kind", "leave"),
    [
        *((kind, leave) for kind in ("--broker", "--chat", "-k") for leave in (close, break_off)),
        *((kind, half_close) for kind in ("--broker", "-k")),
    ],
)


def hears_of_stdin(server: Running, conn: socket.socket) -> bool:
    """Whether what is typed at the server reaches this client."""
    server.send(b"news\n")
    while word := line(conn):
        if word.endswith(b"news\n"):
            return True
    return False


@contextlib.contextmanager
def next_client(server: Running) -> Iterator[socket.socket]:
    """A client that is admitted: one that comes too early, before those that have left are noticed, comes again."""
    found: list[socket.socket] = []

    def admitted() -> bool:
        before = server.stderr.count("Connection received") + server.stderr.count("denied: ")
        conn = connect(server.port)
        server.expect("^(Connection received|.* denied: )", count=before + 1)
        name = "{}:{}".format(*conn.getsockname())
        if f"{name.replace(':', ' ')} denied" in server.stderr:
            conn.close()
            return False
        found.append(conn)
        return True

    is_true(admitted, "a client is admitted")
    with found[0] as conn:
        yield conn


@every_way
def test_a_server_with_a_limit_of_clients_is_never_full_of_health_checks(
    kind: str, leave: Callable[[socket.socket, Stack], None]
) -> None:
    with listen(kind, "--max-conns", "4", "0") as server, contextlib.ExitStack() as stack:
        for number in range(1, 20):
            with contextlib.suppress(ConnectionError):
                leave(connect(server.port), stack)
            server.expect("^(Connection received|.* denied: )", count=number)
        with next_client(server) as one, next_client(server) as other:
            assert hears_of_stdin(server, one)
            assert hears_of_stdin(server, other)
        assert "Traceback" not in server.stderr


@every_kind
def test_a_burst_of_health_checks_does_not_take_all_descriptors(kind: str) -> None:
    argv = [require("bash"), "-c", 'ulimit -n 60 && exec "$@"', "bash", *PYNC, "-v", "-l", kind, "0"]
    with announced(Running(argv)) as server:
        for _ in range(200):
            with contextlib.suppress(ConnectionError):
                connect(server.port).close()
        with connect(server.port) as one:
            server.expect(f"^Connection received on 127.0.0.1 {one.getsockname()[1]}$", timeout=20)
            assert hears_of_stdin(server, one)


def test_health_checks_under_tls_do_not_fill_a_broker(authority: Authority) -> None:
    with listen("--broker", "--max-conns", "4", *ours(authority.server), "127.0.0.1", "0") as server:
        found: list[ssl.SSLSocket] = []

        def admitted() -> bool:
            """Whether a client was admitted: not if it comes a moment before another one has left."""
            with contextlib.suppress(OSError):
                found[:] = [greeted(client_side(authority), server.port)]
                return True
            return False

        for _ in range(12):
            is_true(admitted, "a client is admitted")
            send_end(found[0])
            found[0].close()
        server.expect("cut off: it has half-closed, and its place is needed$", count=8)
        is_true(admitted, "a client is admitted")
        with found[0] as one:
            server.expect("^pync: TLSv1", count=13)
            server.send(b"news\n")
            assert one.recv(100) == b"news\n"


@pytest.mark.parametrize("kind", ["--broker", "-k"])
def test_clients_that_only_listen_stay_while_there_is_room(kind: str) -> None:
    with listen(kind, "--max-conns", "5", "0") as server, contextlib.ExitStack() as stack:
        argv = [*PYNC, "127.0.0.1", str(server.port)]
        listeners = [stack.enter_context(Running(argv, stdin=DEVNULL)) for _ in range(4)]
        server.expect("^Connection received on ", count=4)
        for turn in range(3):
            server.send(b"%d\n" % turn)
            assert [peer.read_until(b"\n") for peer in listeners] == [b"%d\n" % turn] * 4
        assert "cut off" not in server.stderr


@pytest.mark.parametrize("kind", ["--broker", "-k"])
def test_the_client_that_goes_is_named_and_sees_its_connection_break(kind: str) -> None:
    with listen(kind, "--max-conns", "2", "0") as server, connect(server.port) as first:
        first.shutdown(socket.SHUT_WR)
        with next_client(server) as second:
            name = "{}:{}".format(*first.getsockname())
            server.expect(f"^pync: connection to {name}: cut off: it has half-closed, and its place is needed$")
            with pytest.raises(ConnectionResetError):
                first.recv(1)
            assert hears_of_stdin(server, second)


@pytest.mark.parametrize("kind", ["--broker", "-k"])
def test_clients_that_have_closed_are_found_as_soon_as_their_system_forgets_them(kind: str) -> None:
    with (
        network("echo 1 > /proc/sys/net/ipv4/tcp_fin_timeout") as inside,
        announced(Running(inside([*PYNC, "-v", "-l", kind, "127.0.0.1", "0"]))) as server,
    ):
        before = len(server.descriptors())
        check = [require("nc.traditional"), "-z", "127.0.0.1", str(server.port)]
        for number in range(1, 6):
            with Running(inside(check)) as checking:
                checking.wait()
            server.expect("^Connection received on ", count=number)
        is_true(lambda: len(server.descriptors()) <= before, "all have left")
