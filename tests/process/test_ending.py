"""The rules of ending of pync's own face, row by row: the ends of stdin and of the peer, and what breaks.

Real processes over TCP and unix streams, in both roles: `connected` gives a pync and the socket at its other end. The
tests wait for what a process does. They look at the clock only where a rule is itself about time: half a second of
silence, a limit that was given. Limits and signals are in test_ending_early.py, programs and servers with many clients
in test_ending_services.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, meanwhile, reset, take
from harness import DEADLINE, DEVNULL, PIPE, PYNC, Running, announced, connect
from pairs import complaints, exchange, lives_on, nothing_from, stuffed_pipe, through
from roles import MEGABYTES, connecting, either_way, listening, over_tcp, over_unix

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO, Any

    from roles import Role

connected, large_file = roles.connected, roles.large_file
LONG = 1.0  # seconds: clearly more than the half second of silence after which a client ends its side


# -- End-of-file on stdin ----------------------------------------------------------------------------------------


@either_way
def test_the_end_of_stdin_is_passed_on_and_receiving_goes_on(connected: Role) -> None:
    with connected() as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert drain(peer) == b"question"
        peer.sendall(MEGABYTES)
        peer.close()
        assert process.finish().status_and_out == (0, MEGABYTES)
        assert complaints(process) == []


@either_way
def test_all_of_stdin_comes_before_its_end(connected: Role, large_file: IO[bytes]) -> None:
    with connected(stdin=large_file) as (process, peer):
        assert drain(peer) == MEGABYTES
        peer.close()
        assert process.finish().status_and_out == (0, b"")


@either_way
def test_without_half_close_the_end_of_stdin_does_not_reach_the_peer(connected: Role) -> None:
    with connected("--no-shutdown") as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert peer.recv(100) == b"question"
        exchange(process, peer)
        assert nothing_from(peer)
        peer.close()
        assert process.finish().status_and_out == (0, b"")


@connecting
@pytest.mark.parametrize("stdin", [DEVNULL, PIPE], ids=["null", "empty"])
def test_a_client_that_has_sent_nothing_half_closes_only_once_the_peer_is_silent(connected: Role, stdin: int) -> None:
    with connected(stdin=stdin) as (process, peer):
        process.close_stdin()
        assert send_until_it_ends(process, peer, LONG) is None, "end-of-file while the peer was sending"
        since = time.monotonic()
        peer.sendall(b"x")
        assert peer.recv(1) == b""
        assert time.monotonic() - since > 0.3
        peer.close()
        assert process.finish().status == 0


@either_way
@connecting
def test_an_empty_stdin_is_passed_on_at_once_if_asked_for(connected: Role) -> None:
    with connected("-N", stdin=DEVNULL) as (process, peer):
        assert send_until_it_ends(process, peer, DEADLINE) == b""
        peer.close()
        assert process.finish().status == 0


def send_until_it_ends(process: Running, peer: socket.socket, seconds: float) -> bytes | None:
    """Send without a pause for `seconds`, or until something arrives: that, or None."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        peer.sendall(b"x")
        process.read(1)
        if not nothing_from(peer):
            return peer.recv(1)
    return None


@either_way
def test_leaving_at_once_after_stdin_delivers_all_of_it(connected: Role, large_file: IO[bytes]) -> None:
    with connected("-q", "0", stdin=large_file) as (process, peer):
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0


@either_way
@over_tcp
def test_leaving_at_once_delivers_even_to_a_peer_that_keeps_sending(connected: Role, large_file: IO[bytes]) -> None:
    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer.send(bytes(1000))

    with connected("-q", "0", stdin=large_file, stdout=DEVNULL) as (process, peer), meanwhile(send):
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0
        peer.close()


@either_way
def test_a_limit_after_stdin_lets_late_answers_in_and_then_leaves(connected: Role) -> None:
    with connected("-q", "0.8") as (process, peer):
        process.send(b"question")
        since = time.monotonic()
        process.close_stdin()
        assert drain(peer) == b"question"
        peer.sendall(b"late")
        assert process.wait() == 0
        assert time.monotonic() - since >= 0.8
        assert process.read_all() == b"late"


def test_a_negative_limit_is_none(connected: Role) -> None:
    with connected("-q", "-1") as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert drain(peer) == b"question"
        assert lives_on(process.pid, LONG)
        peer.sendall(b"late")
        peer.close()
        assert process.finish().status_and_out == (0, b"late")


# -- stdin is not read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-d", "--recv-only"])
def test_a_pync_that_does_not_read_stdin_never_half_closes(connected: Role, option: str) -> None:
    with connected(option, stdin=DEVNULL) as (process, peer):
        assert receives_without_half_close(process, peer)


@either_way
@pytest.mark.parametrize("how", [{"stdin": DEVNULL}, {"start": through('exec "$@" <&-')}], ids=["null", "closed"])
@listening
def test_a_listener_without_stdin_never_half_closes(connected: Role, how: dict[str, Any]) -> None:
    with connected(**how) as (process, peer):
        assert receives_without_half_close(process, peer)


def receives_without_half_close(process: Running, peer: socket.socket) -> bool:
    exchange(process, peer)
    if not nothing_from(peer, LONG):
        return False
    peer.sendall(MEGABYTES)
    peer.close()
    return process.finish().status_and_out == (0, MEGABYTES)


def test_a_stdin_that_is_not_read_is_left_to_others(connected: Role, large_file: IO[bytes]) -> None:
    with connected("-d", stdin=large_file) as (process, peer):
        exchange(process, peer)
        peer.close()
        assert process.finish().status == 0
        assert os.lseek(large_file.fileno(), 0, os.SEEK_CUR) == 0


# -- End-of-file from the peer -----------------------------------------------------------------------------------


@either_way
def test_the_peers_end_closes_stdout_and_the_rest_of_stdin_is_still_sent(connected: Role) -> None:
    with connected() as (process, peer), meanwhile(process.send, MEGABYTES):
        begun = take(peer, 1)
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b"hello"
        assert begun + take(peer, len(MEGABYTES) - 1) == MEGABYTES
        assert process.wait() == 0, "stdin is open, but silent"
        assert peer.recv(1) == b""


@either_way
def test_a_peer_that_ended_gets_the_rest_of_a_large_stdin(connected: Role, large_file: IO[bytes]) -> None:
    with connected(stdin=large_file) as (process, peer):
        peer.sendall(b"GET\n")
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == MEGABYTES
        assert process.finish().status_and_out == (0, b"GET\n")


@either_way
def test_a_peer_that_is_slow_to_read_does_not_count_as_a_silent_stdin(connected: Role) -> None:
    with connected() as (process, peer), meanwhile(process.send, 5 * MEGABYTES):
        begun = take(peer, 1)
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        assert lives_on(process.pid, LONG)
        assert begun + drain(peer) == 5 * MEGABYTES
        assert process.wait() == 0


@either_way
def test_a_peer_that_only_receives_is_sent_to_for_as_long_as_stdin_lasts(connected: Role) -> None:
    with connected() as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b""
        assert nothing_from(peer, LONG)
        process.send(b"slow producer")
        assert peer.recv(100) == b"slow producer"
        process.close_stdin()
        assert peer.recv(1) == b""
        assert process.wait() == 0


@either_way
@over_unix
def test_a_unix_peer_that_has_closed_without_sending_is_not_waited_for(connected: Role) -> None:
    with connected() as (process, peer):
        peer.close()
        assert process.wait() == 0


@either_way
@over_tcp
def test_a_peer_that_only_received_and_resets_is_a_failure(connected: Role) -> None:
    with connected() as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b""
        reset(peer)
        assert process.wait() == 1
        assert len(complaints(process)) == 1


@either_way
def test_a_pipeline_that_loops_back_through_a_fifo_answers_and_ends(tmp_path: Path) -> None:
    script = 'mkfifo f; cat f | tr a-z A-Z | "$@" -v -l 127.0.0.1 0 > f'
    with (
        announced(Running(["sh", "-c", script, "sh", *PYNC], stdin=DEVNULL, cwd=tmp_path)) as pipeline,
        connect(pipeline.port) as peer,
    ):
        peer.sendall(b"the answer\n" * 1000)
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == b"THE ANSWER\n" * 1000
        assert pipeline.finish().status == 0


# -- The connection breaks ---------------------------------------------------------------------------------------


@either_way
@over_tcp
def test_a_reset_is_named(connected: Role) -> None:
    with connected() as (process, peer):
        name = "{}:{}".format(*peer.getsockname())
        exchange(process, peer)
        reset(peer)
        assert process.wait() == 1
        assert complaints(process) == [f"pync: connection to {name}: Connection reset by peer"]


@either_way
@over_tcp
def test_a_peer_that_leaves_during_an_upload_fails_it_and_the_rest_is_counted(
    connected: Role, large_file: IO[bytes]
) -> None:
    size = 50_000_000
    os.truncate(large_file.name, size)
    with connected(stdin=large_file) as (process, peer):
        received = len(take(peer, 100_000))
        peer.close()  # by a reset, because not everything was received
        assert process.wait() == 1
        (line,) = complaints(process)
    unsent = re.fullmatch(
        r"pync: connection to 127\.0\.0\.1:\d+: Connection reset by peer, (\d+) bytes were not sent", line
    )
    assert unsent, line
    # The peer may not have acknowledged the last bytes that it received: to pync those are unsent.
    assert size - received - 16_000_000 < int(unsent[1]) <= size


@either_way
@over_tcp
def test_an_answer_that_came_before_the_reset_is_kept(connected: Role, large_file: IO[bytes]) -> None:
    os.truncate(large_file.name, 50_000_000)
    with connected(stdin=large_file) as (process, peer):
        peer.recv(1000)
        peer.sendall(b"too large")
        peer.close()
        assert process.finish().status_and_out == (1, b"too large")
        assert len(complaints(process)) == 1


@either_way
@over_tcp
def test_bytes_of_a_pipe_that_were_not_sent_are_counted_too(connected: Role) -> None:
    with stuffed_pipe() as (stdin, fill), connected(stdin=stdin) as (process, peer):
        accepted = fill()
        peer.close()
        assert process.wait() == 1
        unsent = re.search(r": Connection reset by peer, (\d+) bytes were not sent$", process.stderr)
    assert unsent
    assert 0 < int(unsent[1]) < accepted


@either_way
@over_unix
def test_a_unix_peer_that_leaves_during_an_upload_fails_it(connected: Role, large_file: IO[bytes]) -> None:
    with connected(stdin=large_file) as (process, peer):
        peer.recv(1000)
        peer.close()
        assert process.wait() == 1
        (line,) = complaints(process)
    assert re.fullmatch(
        r"pync: connection to .*: (Broken pipe|Connection reset by peer), \d+ bytes were not sent", line
    )


# -- stdout breaks -----------------------------------------------------------------------------------------------


@either_way
@pytest.mark.parametrize("options", [(), ("-d",)], ids=["", "-d"])
def test_a_stdout_that_its_reader_has_closed_ends_pync_by_sigpipe_quietly(
    connected: Role, options: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stdout, connected(*options, stdout=stdout) as (process, peer):
        stdout.close()
        os.close(reading)
        with contextlib.suppress(ConnectionError):  # pync may have left already
            peer.sendall(b"hello")
        assert process.wait() == 128 + signal.SIGPIPE
        assert complaints(process) == []


@either_way
def test_a_full_stdout_is_reported_and_fails(connected: Role) -> None:
    with open("/dev/full", "wb") as full, connected(stdout=full) as (process, peer):
        peer.sendall(b"data")
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: No space left on device"]


@either_way
def test_a_stdout_without_reader_does_not_matter_until_stdin_has_ended(connected: Role) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stdout, connected(stdout=stdout) as (process, peer):
        stdout.close()
        os.close(reading)
        process.send(b"data")
        assert take(peer, 4) == b"data"
        process.send(b"more")
        process.close_stdin()
        assert drain(peer) == b"more"
        assert process.wait() == 141
