"""The rules of ending of pync's own face, with a program on the connection, and with many clients (-k).

`connected` gives a pync and the socket at its other end, over TCP and unix streams, in both roles.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, reset
from harness import connect, listen
from pairs import complaints, exchange
from roles import MEGABYTES, either_way

if TYPE_CHECKING:
    from typing import IO

    from roles import Role

connected, large_file = roles.connected, roles.large_file


# -- Programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (("--exec", "/nonexistent"), 127, "No such file or directory"),
        (("--exec", "nosuchprogram"), 127, "No such file or directory"),
        (("--exec", "/etc/passwd"), 126, "Permission denied"),
    ],
)
def test_a_program_that_cannot_be_run_is_a_failure_in_the_shells_way(
    connected: Role, options: tuple[str, str], status: int, why: str
) -> None:
    with connected(*options) as (process, peer):
        assert process.wait() == status
        assert complaints(process) == [f"pync: {options[1]}: {why}"]
        assert peer.recv(1) == b""


@pytest.mark.parametrize("program", ["--sh-exec", "--filter"])
@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_programs_status_is_ours(connected: Role, program: str, command: str, status: int) -> None:
    with connected(program, f"read x; echo got $x; {command}") as (process, peer):
        peer.sendall(b"it\n")
        assert drain(peer) == b"got it\n"
        peer.close()
        assert process.wait() == status


# -- Many clients ------------------------------------------------------------------------------------------------


@either_way
def test_every_client_gets_the_whole_file_and_its_end(large_file: IO[bytes]) -> None:
    with listen("-k", "127.0.0.1", "0", stdin=large_file) as process:
        with connect(process.port) as idle, connect(process.port) as first:
            assert drain(first) == MEGABYTES
            with connect(process.port) as second:
                assert drain(second) == MEGABYTES
            assert drain(idle) == MEGABYTES
        assert complaints(process) == []


@either_way
def test_what_a_pipe_holds_is_sent_to_all_clients_that_are_connected() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as first:
        process.expect("^Connection received")
        process.send(b"one\n")
        assert first.recv(100) == b"one\n"
        with connect(process.port) as second:
            process.expect("^Connection received", count=2)
            process.send(b"two\n")
            assert [conn.recv(100) for conn in (first, second)] == [b"two\n"] * 2
            process.close_stdin()
            assert [drain(conn) for conn in (first, second)] == [b""] * 2


def test_clients_do_not_wait_for_each_other_and_their_lines_are_not_mixed() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as one, connect(process.port) as two:
        process.expect("^Connection received", count=2)
        one.sendall(b"begun by one, ")
        two.sendall(b"two\n")
        assert process.read_until(b"\n") == b"two\n"
        one.sendall(b"ended by one\n")
        assert process.read_until(b"\n") == b"begun by one, ended by one\n"


def test_a_client_that_breaks_ends_its_own_session_and_is_named() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as good, connect(process.port) as bad:
        process.expect("^Connection received", count=2)
        name = "{}:{}".format(*bad.getsockname())
        reset(bad)
        process.expect(f"^pync: connection to {name}: Connection reset by peer$")
        exchange(process, good)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_a_stdout_that_breaks_ends_a_server() -> None:
    with open("/dev/full", "wb") as full, listen("-k", "127.0.0.1", "0", stdout=full) as process:
        with connect(process.port) as peer:
            peer.sendall(b"data\n")
            assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: No space left on device"]
