"""How conversations under TLS begin and end, against Python's own TLS and against sockets that speak none.

pync's own end of file is close_notify and no more, and it goes on receiving after that. A connection that ends without
a close_notify was cut off, and pync reports that. A handshake that does not come about does not hold up other clients.
"""

from __future__ import annotations

import re
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from clients import drain, is_true, reset
from encrypted import (
    TRUNCATED,
    client,
    client_side,
    drain_tls,
    greeted,
    listener,
    ours,
    send_end,
    server_side,
    trusting,
)
from harness import DEVNULL, PAYLOAD, PYNC, connect, digest, failure, listen, run, serve, success
from pairs import complaints, nothing_from, stuck_port
from tls_peers import VERSIONS, curl

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from certificates import Authority
    from encrypted import Pair

    Start = Callable[..., AbstractContextManager[Pair]]

LARGE = PAYLOAD(3_000_000)


@pytest.fixture(params=[(role, version) for role in ("client", "listener") for version in VERSIONS], ids="-".join)
def start(request: pytest.FixtureRequest, authority: Authority) -> Start:
    """Starts a pync in either role, in either version, and gives it with our own side of its connection."""
    role, version = request.param
    if role == "client":
        return partial(client, server_side(authority.server, version), *trusting(authority, "-v"))
    return partial(listener, client_side(authority, version), *ours(authority.server))


def raw(peer: ssl.SSLSocket) -> socket.socket:
    """The TCP socket below TLS, to look at or to cut. The caller closes it."""
    below = socket.socket(fileno=socket.dup(peer.fileno()))
    below.settimeout(peer.gettimeout())
    return below


def cut(peer: ssl.SSLSocket) -> None:
    """End TCP without close_notify. Receiving goes on."""
    with raw(peer) as below:
        below.shutdown(socket.SHUT_WR)


# -- Half-closes ---------------------------------------------------------------------------------------------------


def test_pyncs_end_is_close_notify_and_nothing_more(start: Start) -> None:
    with start() as (process, peer):
        process.send(b"question\n")
        process.close_stdin()
        assert drain_tls(peer) == b"question\n"
        peer.sendall(LARGE)
        assert process.read(len(LARGE)) == LARGE
        assert nothing_from(peer)  # not even the end of TCP
        send_end(peer)
        assert process.finish().status_and_out == (0, b"")
        with raw(peer) as below:
            assert below.recv(1) == b""


def test_what_stdin_holds_is_sent_after_the_peers_close_notify(start: Start) -> None:
    with start() as (process, peer):
        peer.sendall(b"question\n")
        send_end(peer)
        assert process.read_all() == b"question\n"
        process.send(LARGE)
        process.close_stdin()
        assert drain_tls(peer) == LARGE
        assert process.finish().status == 0


# -- Connections that break ------------------------------------------------------------------------------------------


def test_a_connection_that_is_cut_is_an_error_after_all_that_came(start: Start) -> None:
    with start() as (process, peer):
        peer.sendall(LARGE)
        cut(peer)
        result = process.finish()
    assert (result.status, digest(result.out)) == (1, digest(LARGE))
    assert re.fullmatch(TRUNCATED, result.err.splitlines()[-1])


def test_a_connection_that_is_cut_within_a_record_is_an_error(start: Start) -> None:
    with start() as (process, peer):
        peer.sendall(b"whole\n")
        with raw(peer) as below:
            below.sendall(b"\x17\x03\x03\x40\x00" + bytes(1000))
        cut(peer)
        result = process.finish()
    assert result.status_and_out == (1, b"whole\n")
    assert re.fullmatch(TRUNCATED, result.err.splitlines()[-1])


def test_a_record_that_was_changed_is_an_error(start: Start) -> None:
    with start() as (process, peer):
        peer.sendall(b"whole\n")
        with raw(peer) as below:
            below.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
        assert process.read_all() == b"whole\n"
        result = process.finish()
    assert result.status == 1
    assert re.fullmatch(r"pync: connection to .*: a record was changed on its way", result.err.splitlines()[-1])


def test_a_reset_is_an_error(start: Start) -> None:
    with start() as (process, peer):
        peer.sendall(b"whole\n")
        assert process.read(6) == b"whole\n"
        reset(peer)
        result = process.finish()
    assert result.status == 1
    assert re.fullmatch(r"pync: connection to .*: Connection reset by peer", result.err.splitlines()[-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_received_from_a_client_that_sends_and_closes_without_reading_anything(
    version: str, authority: Authority
) -> None:
    with listen(*ours(authority.server), "127.0.0.1", "0", stdin=DEVNULL) as process:
        with greeted(client_side(authority, version), process.port) as peer:
            peer.sendall(LARGE)  # to close with something unread would reset the connection
        result = process.finish()
    assert (result.status, digest(result.out)) == (1, digest(LARGE))
    assert re.fullmatch(TRUNCATED, result.err.splitlines()[-1])


def test_a_server_reports_that_a_connection_was_cut_and_goes_on(authority: Authority) -> None:
    with listen("-k", *ours(authority.server), "127.0.0.1", "0", stdin=DEVNULL) as process:
        for number in range(1, 4):
            with greeted(client_side(authority), process.port) as peer:
                peer.sendall(b"line\n")
                cut(peer)
                assert drain_tls(peer) == b""
            process.expect(f"^{TRUNCATED}$", count=number)
        assert process.read(15) == 3 * b"line\n"


def test_a_filter_of_a_server_answers_a_client_that_has_cut_the_connection(authority: Authority) -> None:
    with listen("-k", *ours(authority.server, "--filter", "tr a-z A-Z"), "127.0.0.1", "0") as process:
        with greeted(client_side(authority), process.port) as peer:
            peer.sendall(b"hello\n")
            cut(peer)
            assert drain_tls(peer) == b"HELLO\n"
        process.expect(f"^{TRUNCATED}$")


# -- Handshakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["-k"], [], ["--max-conns", "1"]], ids=["with -k", "without -k", "one session"])
def test_silent_clients_do_not_hold_up_the_others(options: list[str], authority: Authority) -> None:
    with (
        listen(*options, *ours(authority.server), "127.0.0.1", "0") as process,
        connect(process.port),
        connect(process.port),
    ):
        process.expect("^Connection received", count=2)
        with greeted(client_side(authority), process.port) as peer:
            peer.sendall(b"hello\n")
            assert process.read(6) == b"hello\n"


def test_a_listener_that_has_its_client_closes_the_silent_connections(authority: Authority) -> None:
    with listen(*ours(authority.server), "127.0.0.1", "0") as process, connect(process.port) as silent:
        process.expect("^Connection received")
        with greeted(client_side(authority), process.port) as peer:
            assert drain(silent) == b""
            send_end(peer)
            assert process.finish().status == 0


@pytest.mark.parametrize("options", [["-k"], []], ids=["with -k", "without -k"])
def test_a_signal_ends_a_listener_in_the_middle_of_a_handshake(options: list[str], authority: Authority) -> None:
    with listen(*options, *ours(authority.server), "127.0.0.1", "0") as process, connect(process.port) as silent:
        process.expect("^Connection received")
        process.signal(signal.SIGTERM)
        assert process.wait() == 143
        assert drain(silent) == b""
        assert complaints(process) == []


def test_the_one_answer_is_not_for_a_client_without_tls(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "page").write_bytes(b"hello\n")
    with (
        (tmp_path / "page").open("rb") as page,
        listen(*ours(authority.server, "--http"), "127.0.0.1", "0", stdin=page) as process,
        connect(process.port),
        connect(process.port) as stranger,
    ):
        stranger.sendall(HTTP)
        drain(stranger)
        assert run(curl(process.port, authority.trust, "1.3")) == success(b"hello\n")
        assert process.finish().status == 0
    assert [line.rpartition(": ")[2] for line in complaints(process)][0] == WORDS[HTTP]


HTTP = b"GET / HTTP/1.0\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"
WORDS = {HTTP: "the peer speaks HTTP without TLS", SSH: "what the peer sends is not TLS", b"": "the peer hung up"}


@pytest.mark.parametrize("options", [["-k"], []], ids=["with -k", "without -k"])
@pytest.mark.parametrize("sent", WORDS, ids=["HTTP", "SSH", "nothing"])
def test_a_listener_reports_what_is_not_tls_and_waits_for_the_next_client(
    sent: bytes, options: list[str], authority: Authority
) -> None:
    with listen(*options, *ours(authority.server), "127.0.0.1", "0") as process:
        with connect(process.port) as stranger:
            stranger.sendall(sent)
            stranger.shutdown(socket.SHUT_WR)
            drain(stranger)
        process.expect(rf"^pync: TLS handshake with 127\.0\.0\.1:\d+: {WORDS[sent]}$")
        with greeted(client_side(authority), process.port) as peer:
            peer.sendall(b"hello\n")
            send_end(peer)
            assert process.read(6) == b"hello\n"
        process.expect("^pync: TLSv1.3 with ")
        assert len(complaints(process)) == 2


def hang_up(conn: socket.socket) -> None:
    conn.recv(1 << 16)


def echo(conn: socket.socket) -> None:
    conn.sendall(conn.recv(1 << 16))
    conn.recv(1)


def banner(conn: socket.socket) -> None:
    conn.sendall(SSH)
    drain(conn)


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (hang_up, "the peer hung up"),
        (echo, "unexpected message"),
        (banner, "what the peer sends is not TLS"),
    ],
)
def test_a_client_reports_that_the_server_speaks_no_tls(
    server: Callable[[socket.socket], None], why: str, authority: Authority
) -> None:
    with serve(server) as (_, port):
        result = run([*PYNC, *trusting(authority), "-4", "localhost", str(port)], b"secret\n")
    assert result == failure(f"TLS handshake with 127.0.0.1:{port}: {why}")


def test_the_time_for_connecting_is_for_the_handshake_too(authority: Authority) -> None:
    received = threading.Event()

    def silent(conn: socket.socket) -> None:
        while conn.recv(1 << 16):
            received.set()

    for option in "-w", "--connect-timeout":
        received.clear()
        with serve(silent) as (_, port):
            begin = time.monotonic()
            result = run([*PYNC, *trusting(authority), option, "0.5", "-4", "localhost", str(port)], b"secret\n")
            assert time.monotonic() - begin > 0.5
        assert received.is_set()
        assert result == failure(f"connect to localhost port {port} (tcp): timed out", status=124)


def test_the_time_for_connecting_is_for_the_connection_too(authority: Authority) -> None:
    with stuck_port() as port:
        result = run([*PYNC, *trusting(authority), "-w", "0.3", "-4", "localhost", str(port)])
    assert result.status_and_out == (124, b"")
    assert re.fullmatch(rf"pync: .*{port}.*\n", result.err)


# -- Many ------------------------------------------------------------------------------------------------------------


def test_fifty_clients_at_once_leave_nothing_behind(authority: Authority) -> None:
    def fetch(number: int) -> bytes:
        with greeted(client_side(authority, VERSIONS[number % 2]), process.port) as peer:
            peer.sendall(b"line %d\n" % number)
            send_end(peer)
            return drain_tls(peer)

    with listen("-k", *ours(authority.server, "--exec", "sort"), "127.0.0.1", "0", stdin=DEVNULL) as process:
        before = process.descriptors()
        with ThreadPoolExecutor(50) as pool:
            assert list(pool.map(fetch, range(50))) == [b"line %d\n" % number for number in range(50)]
        is_true(lambda: process.children() == [], "no child is left over")
        is_true(lambda: process.descriptors() == before, "no descriptor is left over")
        assert all("TLSv" in line for line in complaints(process))
