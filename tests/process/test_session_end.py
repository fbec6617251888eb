"""With -v one line says at the end of each session what it has moved, how long it took, and what has ended it."""

from __future__ import annotations

import contextlib
import re
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import encrypted
import pytest
from clients import datagrams, drain, reset, take
from harness import DEADLINE, DEVNULL, PYNC, connect, listen, pync, run, serve

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Authority
    from harness import Running

TIMES = r"in [\d.]+ s(?: \([\d.e+]+ [kMG]?B/s\))?"


def ends(process: Running, what: str, who: str = r"127\.0\.0\.1:\d+") -> None:
    """Wait for the line at the end of a session. `what` may have TIMES in it."""
    process.expect(rf"^pync: {who}: {what.replace('TIMES', TIMES)}$")


def exchange(port: int, question: bytes, answer: bytes) -> None:
    with connect(port) as conn:
        conn.sendall(question)
        assert take(conn, len(answer)) == answer
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(100):
            pass


def short(conn: socket.socket) -> None:
    conn.sendall(conn.recv(100)[:3])


def broken(conn: socket.socket) -> None:
    conn.recv(1)
    reset(conn)


def echo(conn: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):
        while data := conn.recv(100):
            conn.sendall(data)


# -- A client -----------------------------------------------------------------------------------------------------


def test_a_client_reports_what_has_passed() -> None:
    with (
        serve(lambda conn: conn.sendall(conn.recv(100)[:3])) as (_, port),
        pync("-v", "127.0.0.1", str(port)) as client,
    ):
        client.send(b"question")
        ends(client, "sent 8 B, received 3 B TIMES, closed by the peer")


def test_the_side_that_ends_first_has_closed() -> None:
    with serve(echo) as (_, port), pync("-v", "-N", "127.0.0.1", str(port)) as client:
        client.send(b"question")
        client.close_stdin()
        ends(client, "sent 8 B, received 8 B TIMES, closed by us")


@pytest.mark.parametrize("encrypts", [False, True], ids=["plain", "TLS"])
def test_a_file_is_counted_whole(encrypts: bool, tmp_path: Path, authority: Authority) -> None:
    options = encrypted.ours(authority.server) if encrypts else ()
    with open(tmp_path / "file", "wb+") as file, listen(*options, "127.0.0.1", "0", stdin=DEVNULL) as server:
        file.truncate(30_000_000)
        file.seek(0)
        trust = encrypted.trusting(authority) if encrypts else ()
        result = run([*PYNC, "-v", *trust, "localhost", str(server.port)], stdin=file)
        assert re.search(r": sent 30 MB, received 0 B in [\d.]+ s \([\d.]+ [kMG]B/s\), closed by us\n", result.err)
        ends(server, "sent 0 B, received 30 MB TIMES, closed by the peer")


def test_without_v_nothing_is_reported() -> None:
    with serve(lambda conn: conn.sendall(b"answer")) as (_, port):
        assert run([*PYNC, "127.0.0.1", str(port)]).err == ""


def test_a_limit_ends_a_session() -> None:
    with serve(echo) as (_, port), pync("-v", "-w", "0.2", "127.0.0.1", str(port)) as client:
        ends(client, "sent 0 B, received 0 B TIMES, ended by a limit")
        assert client.wait() == 124


def test_the_number_of_reads_is_a_limit() -> None:
    with serve(echo) as (_, port), pync("-v", "-W", "1", "127.0.0.1", str(port)) as client:
        client.send(b"a")
        ends(client, "sent 1 B, received 1 B TIMES, ended by a limit")


def test_a_signal_ends_a_session() -> None:
    with serve(echo) as (_, port), pync("-v", "127.0.0.1", str(port)) as client:
        client.send(b"a")
        client.read(1)
        client.signal(signal.SIGTERM)
        ends(client, "sent 1 B, received 1 B TIMES, ended by a signal")


def test_a_reset_is_an_error() -> None:
    with serve(broken) as (_, port), pync("-v", "127.0.0.1", str(port)) as client:
        client.send(b"a")
        ends(client, "sent 1 B, received 0 B TIMES, ended by an error")


def test_of_the_addresses_of_a_name_the_last_one_alone_has_an_end() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with pync("-v", "-u", "-w", "0.3", "localhost", str(server.getsockname()[1])) as client:
            client.send(b"question")
            client.close_stdin()
            client.wait()
            assert re.findall(r"pync: (\S+): sent", client.stderr) == [f"127.0.0.1:{server.getsockname()[1]}"]


# -- A server -----------------------------------------------------------------------------------------------------

SERVERS = {
    "receiver": ([], b"hello", b"", "sent 0 B, received 5 B TIMES, closed by the peer"),
    "program": (["-e", "/bin/cat"], b"hello", b"hello", "sent 5 B, received 5 B TIMES, exit status 0"),
    "failure": (["-c", "head -c 3; exit 3"], b"abc", b"abc", "sent 3 B, received 3 B TIMES, exit status 3"),
    "filter": (["--filter", "cat"], b"hello\n", b"hello\n", "sent 6 B, received 6 B TIMES, exit status 0"),
    "HTTP": (
        ["--http"],
        b"GET / HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 200 OK",
        r"sent \d+ B, received 18 B TIMES, closed by us",
    ),
}


COUNTED = pytest.mark.needs("linux")  # elsewhere the kernel does not count what a program moves by itself


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[COUNTED] * (name in ("program", "failure"))) for name in SERVERS]
)
def test_a_server_reports_the_end_of_each_session(name: str) -> None:
    options, question, answer, line = SERVERS[name]
    with listen("-k", *options, "127.0.0.1", "0", stdin=DEVNULL) as server:
        for count in 1, 2:
            exchange(server.port, question, answer)
            server.expect(rf"^pync: 127\.0\.0\.1:\d+: {line.replace('TIMES', TIMES)}$", count=count)


def test_a_forwarder_counts_the_side_of_its_client() -> None:
    with serve(echo) as (_, port), listen("-k", "--to", f"127.0.0.1:{port}", "127.0.0.1", "0") as server:
        exchange(server.port, b"hello", b"hello")
        ends(server, "sent 5 B, received 5 B TIMES, closed by the peer")


def test_the_target_may_be_what_closes() -> None:
    with (
        serve(lambda conn: conn.sendall(b"bye")) as (_, port),
        listen("-k", "--to", f"127.0.0.1:{port}", "127.0.0.1", "0") as server,
        connect(server.port) as conn,
    ):
        assert take(conn, 10) == b"bye"
        conn.close()
        ends(server, "sent 3 B, received 0 B TIMES, closed by the target")


def test_a_hub_counts_for_each_client() -> None:
    with listen("-k", "--broker", "127.0.0.1", "0") as server, connect(server.port) as one:
        server.expect("^Connection received")
        with connect(server.port) as other:
            server.expect("^Connection received", count=2)
            one.sendall(b"hello")
            assert take(other, 5) == b"hello"
            server.signal(signal.SIGTERM)
            ends(server, "sent 0 B, received 5 B TIMES, ended by a signal")
            ends(server, "sent 5 B, received 0 B TIMES, ended by a signal")


def test_a_proxy_counts_what_goes_through_the_tunnel() -> None:
    with serve(echo) as (_, port), listen("-k", "--proxy-server", "http", "127.0.0.1", "0") as server:
        proxy = ("--proxy", f"127.0.0.1:{server.port}")
        with pync("-v", *proxy, "--proxy-type", "http", "127.0.0.1", str(port)) as client:
            client.send(b"hello")
            assert client.read(5) == b"hello"
            client.close_stdin()
            client.wait()
        ends(server, r"sent 5 B, received 5 B TIMES, closed by \S+ ?\S*")


def test_a_proxy_counts_the_head_of_a_plain_request() -> None:
    def answer(conn: socket.socket) -> None:
        while not conn.recv(1000).endswith(b"\r\n\r\n"):
            pass
        conn.sendall(b"HTTP/1.0 200 OK\r\n\r\npage")

    with serve(answer) as (_, port), listen("-k", "--proxy-server", "http", "127.0.0.1", "0") as server:
        with connect(server.port) as conn:
            conn.sendall(b"GET http://127.0.0.1:%d/ HTTP/1.0\r\n\r\n" % port)
            assert drain(conn).endswith(b"page")
        ends(server, r"sent \d\d B, received \d\d B TIMES, closed by the \w+")


def test_the_silence_of_a_client_counts() -> None:
    with listen("-k", "127.0.0.1", "0", stdin=DEVNULL) as server, connect(server.port) as conn:
        server.expect("^Connection received")
        began = time.monotonic()
        assert not select.select([conn], [], [], 0.3)[0]
        conn.shutdown(socket.SHUT_WR)
        server.expect("^pync: .*, closed by the peer$")
        took = re.search(r"received 0 B in ([\d.]+) s", server.stderr)
        assert took
        assert 0.2 < float(took[1]) <= time.monotonic() - began + 0.1


def test_datagrams_end_by_a_limit() -> None:
    options = ("-u", "-k", "--idle-timeout", "0.2", "-e", "/bin/cat")
    with listen(*options, "127.0.0.1", "0") as server, datagrams(server.port) as peer:
        peer.send(b"hello")
        assert peer.recv(100) == b"hello"
        ends(server, "sent 5 B, received 5 B TIMES, ended by a limit")


def test_the_client_of_a_unix_socket_is_known_by_the_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listen("-U", str(path), stdin=DEVNULL) as server, socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(DEADLINE)
        conn.connect(str(path))
        conn.sendall(b"hello")
        conn.close()
        ends(server, "sent 0 B, received 5 B TIMES, closed by the peer", re.escape(str(path)))


def test_what_a_program_on_a_unix_socket_has_moved_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listen("-U", "-e", "/bin/cat", str(path)) as server, socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(DEADLINE)
        conn.connect(str(path))
        conn.sendall(b"hello")
        conn.shutdown(socket.SHUT_WR)
        assert conn.recv(100) == b"hello"
        server.expect(r"^pync: \S+: over after [\d.]+ s, exit status 0$")


@COUNTED
def test_what_waits_before_a_program_has_the_socket_counts() -> None:
    with listen("-k", "-c", "wc -c", "127.0.0.1", "0") as server:
        server.signal(signal.SIGSTOP)
        with connect(server.port) as conn:  # the system accepts it
            conn.sendall(bytes(10_000))
            conn.shutdown(socket.SHUT_WR)
            server.signal(signal.SIGCONT)
            assert conn.recv(100).strip() == b"10000"
            ends(server, "sent 6 B, received 10 kB TIMES, exit status 0")


def test_the_sessions_that_a_signal_ends_are_reported() -> None:
    with listen("-k", "127.0.0.1", "0", stdin=DEVNULL) as server, connect(server.port) as conn:
        conn.sendall(b"hello")
        assert server.read(5) == b"hello"
        server.signal(signal.SIGTERM)
        ends(server, "sent 0 B, received 5 B TIMES, ended by a signal")
