"""pync in scripts, under cron and in loops of the shell: what it inherits, what waiting costs, how a pipeline ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, take
from harness import DEADLINE, DEVNULL, PAYLOAD, PYNC, Running, connect, listen, require, run, success
from pairs import exchange, flood, lives_on, pipe
from roles import either_way, in_both_roles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import IO

    from roles import Role

large_file = roles.large_file
SMALL = PAYLOAD(300_000)


# -- Inherited descriptors ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def terminal() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A pseudo-terminal: what a user types goes into the first, the second is for the process."""
    master, slave = pty.openpty()
    with os.fdopen(master, "wb", 0) as keyboard, os.fdopen(slave, "r+b", 0) as screen:
        yield keyboard, screen


@contextlib.contextmanager
def socket_pair() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Two connected sockets as files: the test writes into the first, the second is for the process."""
    one, other = socket.socketpair()
    with os.fdopen(one.detach(), "wb", 0) as ours, os.fdopen(other.detach(), "r+b", 0) as theirs:
        yield ours, theirs


@in_both_roles
@pytest.mark.parametrize("place", [terminal, socket_pair])
def test_the_flags_of_stdin_and_stdout_are_left_alone(
    role: Role, place: Callable[[], AbstractContextManager[tuple[IO[bytes], IO[bytes]]]]
) -> None:
    with place() as (ours, theirs):
        before = fcntl.fcntl(theirs, fcntl.F_GETFL)
        with role(stdin=theirs, stdout=theirs) as (process, peer):
            ours.write(b"typed\n")
            assert take(peer, 6) == b"typed\n"
            assert fcntl.fcntl(theirs, fcntl.F_GETFL) == before
            peer.sendall(b"shown\n")
            peer.close()
            assert process.wait() == 0
        assert fcntl.fcntl(theirs, fcntl.F_GETFL) == before


@either_way
@in_both_roles
def test_the_flags_of_pipes_are_left_alone(role: Role) -> None:
    with pipe() as (stdin, feeding), pipe() as (reading, stdout):
        before = [fcntl.fcntl(end, fcntl.F_GETFL) for end in (stdin, stdout)]
        with role(stdin=stdin, stdout=stdout) as (process, peer):
            feeding.write(b"in")
            assert take(peer, 2) == b"in"
            peer.sendall(b"out")
            assert reading.read(3) == b"out"
            assert [fcntl.fcntl(end, fcntl.F_GETFL) for end in (stdin, stdout)] == before
            process.signal(signal.SIGTERM)
            assert process.wait() == 128 + signal.SIGTERM
        assert [fcntl.fcntl(end, fcntl.F_GETFL) for end in (stdin, stdout)] == before


# -- Waiting costs nothing ---------------------------------------------------------------------------------------


def cpu_while_waiting(process: Running) -> float:
    """The processor time that a second of waiting takes."""
    before = process.cpu_seconds()
    assert lives_on(process.pid, 1)
    return process.cpu_seconds() - before


def connected(process: Running, peer: socket.socket) -> None:
    exchange(process, peer)


def stdin_ended(process: Running, peer: socket.socket) -> None:
    process.send(b"x")
    process.close_stdin()
    assert drain(peer) == b"x"


def peer_ended(process: Running, peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)
    assert process.read_all() == b""


@in_both_roles
@pytest.mark.parametrize("state", [connected, stdin_ended, peer_ended])
@pytest.mark.parametrize("options", [(), ("-w", "60")], ids=["", "-w"])
def test_a_conversation_that_waits_uses_no_processor_time(
    role: Role, state: Callable[[Running, socket.socket], None], options: tuple[str, ...]
) -> None:
    with role(*options) as (process, peer):
        state(process, peer)
        assert cpu_while_waiting(process) < 0.1


@either_way
@in_both_roles
def test_a_conversation_with_a_stalled_peer_or_reader_uses_no_processor_time(role: Role, large_file: IO[bytes]) -> None:
    os.truncate(large_file.name, 50_000_000)
    with pipe() as (_, stdout), role(stdin=large_file, stdout=stdout) as (process, peer):
        flood(peer, SMALL)
        assert cpu_while_waiting(process) < 0.1


@in_both_roles
def test_a_stdout_that_its_reader_has_closed_uses_no_processor_time_while_nothing_is_received(role: Role) -> None:
    with pipe() as (reader, stdout), role(stdout=stdout) as (process, peer):
        peer.sendall(b"x")
        assert reader.read(1) == b"x"
        stdout.close()
        reader.close()
        assert cpu_while_waiting(process) < 0.1


@pytest.mark.parametrize("options", [(), ("-k",), ("-k", "--sh-exec", "exec cat"), ("-k", "--filter", "exec cat")])
def test_a_listener_that_waits_uses_no_processor_time(options: tuple[str, ...]) -> None:
    with listen(*options, "127.0.0.1", "0", stdin=DEVNULL) as process:
        assert cpu_while_waiting(process) < 0.1
        with connect(process.port):
            process.expect("^Connection received")
            assert cpu_while_waiting(process) < 0.1


# -- In scripts --------------------------------------------------------------------------------------------------


def test_a_loop_of_listeners_has_its_port_again_at_once() -> None:
    with listen("-q", "0", "127.0.0.1", "0") as first:
        port = str(first.port)
        first.send(b"round 0\n")
        first.close_stdin()
        assert run([*PYNC, "127.0.0.1", port], DEVNULL).status_and_out == (0, b"round 0\n")
    loop = 'for round in 1 2 3; do echo round $round | "$@" || exit; done'
    with Running(["sh", "-c", loop, "sh", *PYNC, "-q", "0", "-l", "127.0.0.1", port]) as server:
        for number in range(1, 4):
            result = run([*PYNC, "--retry", "10", "127.0.0.1", port], DEVNULL)
            assert result.status_and_out == (0, b"round %d\n" % number)
        assert server.finish() == success()


@either_way
def test_a_reader_that_has_enough_ends_the_pipeline_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE)
        script = '"$@" < /dev/null | head -n 1; echo ${PIPESTATUS[*]}'
        goal = ["127.0.0.1", str(server.getsockname()[1])]
        with Running([require("bash"), "-c", script, "bash", *PYNC, *goal], stdin=DEVNULL) as pipeline:
            peer = server.accept()[0]
            with peer, contextlib.suppress(OSError):
                while True:
                    peer.sendall(b"line\n")
            assert pipeline.finish() == success(b"line\n141 0\n")
