"""A peer that takes little, but goes on taking, is slow and not idle, in every role; one that stops taking is idle.

Each peer has a small receive buffer and takes 2,000 bytes twenty times a second, for several times the idle limit. The
kernel's own buffer is full all that time, so that pync itself cannot write.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import time
from typing import IO, TYPE_CHECKING

import pytest
from clients import meanwhile, pour
from encrypted import ours, server_side
from harness import DEADLINE, DEVNULL, Running, listen, pync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Authority

    Ends = tuple[Running, socket.socket]

LIMIT = ("--idle-timeout", "0.5")
SIZE = 20_000_000
RECORD = 16 * 1024  # bytes that TLS gives at a time: until they are taken, nothing more is received
SMALL = 4096  # bytes of a receive buffer
IDLE = r"^pync: .*: nothing (?:came or went|was taken) for 0\.5 s, (\d+) bytes were not sent$"


def sip(conn: socket.socket, size: int = 2000, seconds: float = 2.0) -> int:
    """Take a little now and then; the bytes that came."""
    until, taken = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = conn.recv(size)
        assert data, "it was cut off"
        taken += len(data)
        time.sleep(0.05)  # the pace of the peer
    return taken


@pytest.fixture
def large(tmp_path: Path) -> Iterator[IO[bytes]]:
    with open(tmp_path / "large", "w+b") as file:
        os.truncate(file.name, SIZE)
        yield file


@contextlib.contextmanager
def client(*options: str, host: str = "127.0.0.1", stdin: IO[bytes] | int = DEVNULL) -> Iterator[Ends]:
    """A client, and what it is connected to."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(DEADLINE)
        where = host, str(server.getsockname()[1])
        with pync("-4", *LIMIT, *options, *where, stdin=stdin) as process, server.accept()[0] as conn:
            conn.settimeout(DEADLINE)
            yield process, conn


@contextlib.contextmanager
def listener(*options: str, stdin: IO[bytes] | int = DEVNULL) -> Iterator[Ends]:
    """A listener, and a client of it."""
    with listen("-k", *LIMIT, *options, "127.0.0.1", "0", stdin=stdin) as process, narrow(process.port) as conn:
        yield process, conn


def narrow(port: int) -> socket.socket:
    """A connection with a small receive buffer."""
    conn = socket.socket()
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    conn.settimeout(DEADLINE)
    conn.connect(("127.0.0.1", port))
    return conn


def check(process: Running, conn: socket.socket, size: int = 2000) -> int:
    """The peer is slow for a while, and then idle. Returns the bytes that were not sent, as they are reported."""
    taken = sip(conn, size)
    assert "nothing came" not in process.stderr
    missing = int(process.expect(IDLE)[1])
    assert missing > 0
    return taken + missing


WAYS: dict[str, Callable[[IO[bytes]], contextlib.AbstractContextManager[Ends]]] = {
    "client": lambda file: client(stdin=file),
    "client that copies": lambda file: client("-o", os.devnull, stdin=file),
    "client that only sends": lambda file: client("--send-only", stdin=file),
    "listener": lambda file: listener(stdin=file),
}
PROGRAMS = {
    "client's program": lambda file: client("-e", f"cat {file.name}"),
    "listener's program": lambda file: listener("-e", f"cat {file.name}"),
    "listener's program with pipes": lambda file: listener("--pipes", "-e", f"cat {file.name}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_peer_that_takes_a_file_slowly_is_not_idle_and_what_was_not_sent_is_counted(
    way: str, large: IO[bytes]
) -> None:
    with WAYS[way](large) as (process, conn):
        # The peer's kernel has acknowledged what the peer has not taken: no more than its buffer.
        assert SIZE - 20 * SMALL <= check(process, conn) <= SIZE


@pytest.mark.parametrize("way", PROGRAMS)
def test_a_peer_that_takes_slowly_what_a_program_prints_is_not_idle(way: str, large: IO[bytes]) -> None:
    with PROGRAMS[way](large) as (process, conn):
        check(process, conn)


def test_what_was_sent_to_a_peer_that_takes_nothing_is_counted(large: IO[bytes]) -> None:
    os.truncate(large.name, 100_000)  # which is sent at once, and waits in the kernel
    with client("--send-only", stdin=large) as (process, conn):
        assert 100_000 - 20 * SMALL <= check(process, conn) <= 100_000


def test_a_client_that_takes_a_page_slowly_is_not_idle(large: IO[bytes]) -> None:
    with listener("--http", stdin=large) as (process, conn):
        conn.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        check(process, conn)


def test_a_peer_that_takes_slowly_under_tls_is_not_idle(authority: Authority, large: IO[bytes]) -> None:
    server, anyone = server_side(authority.server), ssl._create_unverified_context()
    with (
        client("--ssl-no-verify", host="localhost", stdin=large) as (process, conn),
        server.wrap_socket(conn, server_side=True) as peer,
    ):
        check(process, peer, RECORD)
    with listener(*ours(authority.server), stdin=large) as (process, conn), anyone.wrap_socket(conn) as peer:
        check(process, peer, RECORD)


def test_a_peer_that_takes_slowly_what_a_target_sends_is_not_idle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        to = ("--to", f"127.0.0.1:{target.getsockname()[1]}")
        with listener(*to) as (process, conn), target.accept()[0] as far, meanwhile(pour, far):
            check(process, conn)


def test_a_peer_that_takes_slowly_what_others_say_is_not_idle() -> None:
    with listener("--broker") as (process, conn), narrow(process.port) as other:
        process.expect("^Connection received", count=2)
        with meanwhile(pour, other):
            assert sip(conn) > 0
            assert "nothing came" not in process.stderr
            process.signal(signal.SIGTERM)  # which breaks the sender's connection


def test_a_process_that_reads_stdout_slowly_is_not_idle() -> None:
    out, into = os.pipe()
    try:
        with listen(*LIMIT, "127.0.0.1", "0", stdin=DEVNULL, stdout=into) as process, narrow(process.port) as conn:
            os.close(into)
            with meanwhile(pour, conn):
                until = time.monotonic() + 2
                while time.monotonic() < until:
                    assert os.read(out, 100)
                    time.sleep(0.05)  # the pace of the reader
                process.expect(r"^pync: idle connection: nothing came or went for 0.5 s$")
    finally:
        os.close(out)
    assert re.search("idle", process.stderr)
