"""A program that gets a socket of datagrams itself (`Program.keeps_datagrams`), as nc.traditional gives it one."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness import DEADLINE, DEVNULL, Running

if TYPE_CHECKING:
    from collections.abc import Iterator

TWO = "dd bs=100 count=2 status=none; exit 3"  # returns two datagrams
RUN = """
import sys
from pync.config import Access, Config, Program
from pync.engine import run
config = Config(
    mode=sys.argv[1], host="127.0.0.1", ports=(int(sys.argv[2]),), datagram=True,
    access=Access(deny=tuple(sys.argv[4:])),
    program=Program(argv=("/bin/sh", "-c", sys.argv[3]), keeps_datagrams=True),
)
outcome = run(config, lambda event: print(event, file=sys.stderr, flush=True))
sys.exit(outcome.child_status)
"""


@contextmanager
def program(mode: str, port: int, command: str, *denied: str) -> Iterator[Running]:
    argv = [sys.executable, "-P", "-c", RUN, mode, str(port), command, *denied]
    with Running(argv, stdin=DEVNULL) as running:
        if mode == "listen":
            running.port = int(running.expect(r"port=(\d+)")[1])
        yield running


@contextmanager
def sender(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE)
        sock.bind((address, 0))
        yield sock


def test_the_program_of_a_listener_reads_the_first_datagram_itself_and_its_status_counts() -> None:
    with program("listen", 0, TWO) as running, sender() as sock:
        for data in b"one", b"two":
            sock.sendto(data, ("127.0.0.1", running.port))
            assert sock.recv(100) == data
        assert running.wait() == 3


def test_the_datagrams_of_a_sender_that_is_denied_do_not_reach_the_program() -> None:
    with program("listen", 0, TWO, "127.0.0.2") as running, sender() as sock, sender("127.0.0.2") as denied:
        denied.sendto(b"no", ("127.0.0.1", running.port))
        running.expect("^Denied")
        for data in b"one", b"two":
            sock.sendto(data, ("127.0.0.1", running.port))
            assert sock.recv(100) == data
        assert running.wait() == 3


def test_the_program_of_a_client_has_the_connected_socket() -> None:
    with sender() as server, program("connect", server.getsockname()[1], "echo hello; exec " + TWO):
        data, address = server.recvfrom(100)
        assert data == b"hello\n"
        server.sendto(b"one", address)
        assert server.recv(100) == b"one"


def test_a_refusal_is_the_programs_to_notice() -> None:
    with sender() as server:
        port = server.getsockname()[1]
    with program("connect", port, "echo hello; cat; exit 5") as running:
        assert running.wait() == 5
