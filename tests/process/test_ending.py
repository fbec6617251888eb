"""The rules of ending of pync's own face, row by row, with real processes: TCP and unix streams, both roles.

`connected` gives a pync and the socket at its other end. What a process does is waited for; only where a rule is
itself about time (half a second of silence, a limit that was asked for) is the clock looked at.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PIPE,
    PYNC,
    Running,
    announced,
    connect,
    free_port,
    listen,
    pync,
    run,
)
from pairs import (
    client,
    complaints,
    drain,
    exchange,
    listener,
    lives_on,
    nothing_from,
    reset,
    stuck_port,
    take,
    through,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import IO, Any

    from pairs import Pair

    Connected = Callable[..., AbstractContextManager[Pair]]

LONG = 1.0  # seconds: clearly more than the half second after which somebody has nothing more to say
MEGABYTES = PAYLOAD(3_000_000)


# -- The roles ---------------------------------------------------------------------------------------------------

TCP = [pytest.param((client, False), id="client"), pytest.param((listener, False), id="listener")]
UNIX = [pytest.param((client, True), id="unix client"), pytest.param((listener, True), id="unix listener")]


@pytest.fixture(params=[*TCP, *UNIX])
def connected(request: pytest.FixtureRequest, tmp_path: Path) -> Connected:
    """`with connected(option…) as (process, peer)`: a pync in one of the roles, and the socket it is connected to."""
    role, unix = request.param
    return lambda *options, **kw: role(*options, path=tmp_path / "socket" if unix else None, **kw)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A regular file."""
    (tmp_path / "file").write_bytes(MEGABYTES)
    with (tmp_path / "file").open("rb") as file:
        yield file


either_way = pytest.mark.usefixtures("either_way")
over_tcp = pytest.mark.parametrize("connected", TCP, indirect=True)
listening = pytest.mark.parametrize("connected", [TCP[1], UNIX[1]], indirect=True)
connecting = pytest.mark.parametrize("connected", [TCP[0], UNIX[0]], indirect=True)


# -- End-of-file on stdin ----------------------------------------------------------------------------------------


@either_way
def test_the_end_of_stdin_is_passed_on_and_receiving_goes_on(connected: Connected) -> None:
    with connected() as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert drain(peer) == b"question"
        peer.sendall(MEGABYTES)
        peer.close()
        result = process.finish()
    assert (result.status, result.out == MEGABYTES, complaints(process)) == (0, True, [])


@either_way
def test_all_of_stdin_comes_before_its_end(connected: Connected, file: IO[bytes]) -> None:
    with connected(stdin=file) as (process, peer):
        assert drain(peer) == MEGABYTES
        peer.close()
        assert process.finish()[:2] == (0, b"")


@either_way
def test_without_half_close_the_peer_is_not_told(connected: Connected) -> None:
    with connected("--no-shutdown") as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert peer.recv(100) == b"question"
        exchange(process, peer)
        assert nothing_from(peer)
        peer.close()
        assert process.finish()[:2] == (0, b"")


@connecting
@pytest.mark.parametrize("stdin", [DEVNULL, PIPE], ids=["null", "empty"])
def test_a_client_that_never_spoke_half_closes_only_once_the_peer_is_silent(connected: Connected, stdin: int) -> None:
    with connected(stdin=stdin) as (process, peer):
        process.close_stdin()
        last = talk_until_it_ends(process, peer, LONG)
        assert last is None, "end-of-file while the peer was sending"
        since = time.monotonic()
        assert peer.recv(1) == b""
        assert time.monotonic() - since > 0.3
        peer.close()
        assert process.finish().status == 0


@either_way
@connecting
def test_an_empty_stdin_is_passed_on_at_once_if_asked_for(connected: Connected) -> None:
    with connected("-N", stdin=DEVNULL) as (process, peer):
        assert talk_until_it_ends(process, peer, DEADLINE) == b""
        peer.close()
        assert process.finish().status == 0


def talk_until_it_ends(process: Running, peer: socket.socket, seconds: float) -> bytes | None:
    """Send without a pause for so long, or until something comes: that."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        peer.sendall(b"x")
        process.read(1)
        if not nothing_from(peer):
            return peer.recv(1)
    return None


@either_way
def test_leaving_at_once_after_stdin_delivers_all_of_it(connected: Connected, file: IO[bytes]) -> None:
    with connected("-q", "0", stdin=file) as (process, peer):
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0


@either_way
@over_tcp
def test_leaving_at_once_delivers_even_to_a_peer_that_keeps_sending(connected: Connected, file: IO[bytes]) -> None:
    def flood() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer.send(bytes(1000))

    with connected("-q", "0", stdin=file, stdout=DEVNULL) as (process, peer):
        flooding = threading.Thread(target=flood)
        flooding.start()
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0
        peer.close()
        flooding.join()


@either_way
def test_a_limit_after_stdin_lets_late_answers_in_and_then_leaves(connected: Connected) -> None:
    with connected("-q", "0.8") as (process, peer):
        process.send(b"question")
        since = time.monotonic()
        process.close_stdin()
        assert drain(peer) == b"question"
        peer.sendall(b"late")
        assert process.wait() == 0
        assert time.monotonic() - since >= 0.8
        assert process.read_all() == b"late"


def test_a_negative_limit_is_none(connected: Connected) -> None:
    with connected("-q", "-1") as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert drain(peer) == b"question"
        assert lives_on(process.pid, LONG)
        peer.sendall(b"late")
        peer.close()
        assert process.finish()[:2] == (0, b"late")


# -- stdin is not read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-d", "--recv-only"])
def test_who_does_not_read_stdin_never_half_closes(connected: Connected, option: str) -> None:
    with connected(option, stdin=DEVNULL) as (process, peer):
        assert receives_without_half_close(process, peer)


@either_way
@pytest.mark.parametrize("how", [{"stdin": DEVNULL}, {"start": through('exec "$@" <&-')}], ids=["null", "closed"])
@listening
def test_a_listener_without_stdin_never_half_closes(connected: Connected, how: dict[str, Any]) -> None:
    with connected(**how) as (process, peer):
        assert receives_without_half_close(process, peer)


def receives_without_half_close(process: Running, peer: socket.socket) -> bool:
    exchange(process, peer)
    if not nothing_from(peer, LONG):
        return False
    peer.sendall(MEGABYTES)
    peer.close()
    return process.finish()[:2] == (0, MEGABYTES)


def test_a_stdin_that_is_not_read_is_left_to_others(connected: Connected, file: IO[bytes]) -> None:
    with connected("-d", stdin=file) as (process, peer):
        exchange(process, peer)
        peer.close()
        assert process.finish().status == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0


# -- End-of-file from the peer -----------------------------------------------------------------------------------


@either_way
def test_the_peers_end_closes_stdout_and_what_stdin_yields_is_still_sent(connected: Connected) -> None:
    with connected() as (process, peer), sending(process, MEGABYTES):
        begun = take(peer, 1)
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b"hello"
        assert begun + take(peer, len(MEGABYTES) - 1) == MEGABYTES
        assert process.wait() == 0, "stdin is open, but silent"
        assert peer.recv(1) == b""


@contextlib.contextmanager
def sending(process: Running, data: bytes) -> Iterator[None]:
    """Meanwhile all of `data` is written to stdin."""
    thread = threading.Thread(target=process.send, args=(data,))
    thread.start()
    yield
    thread.join()


@either_way
def test_a_peer_that_ended_gets_the_rest_of_a_large_stdin(connected: Connected, file: IO[bytes]) -> None:
    with connected(stdin=file) as (process, peer):
        peer.sendall(b"GET\n")
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == MEGABYTES
        assert process.finish()[:2] == (0, b"GET\n")


@either_way
def test_a_peer_that_is_slow_to_read_does_not_count_as_a_silent_stdin(connected: Connected) -> None:
    with connected() as (process, peer), sending(process, 5 * MEGABYTES):
        begun = take(peer, 1)
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        assert lives_on(process.pid, LONG)
        assert begun + drain(peer) == 5 * MEGABYTES
        assert process.wait() == 0


@either_way
def test_a_peer_that_only_listens_is_sent_to_for_as_long_as_stdin_lasts(connected: Connected) -> None:
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
@pytest.mark.parametrize("connected", UNIX, indirect=True)
def test_a_unix_peer_that_has_gone_without_a_word_is_not_waited_for(connected: Connected) -> None:
    with connected() as (process, peer):
        peer.close()
        assert process.wait() == 0


@either_way
@over_tcp
def test_a_peer_that_only_listened_and_resets_is_lost(connected: Connected) -> None:
    with connected() as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b""
        reset(peer)
        assert process.wait() == 1
        assert len(complaints(process)) == 1


@either_way
def test_a_terminal_as_stdin_ends_with_the_peer(connected: Connected) -> None:
    master, slave = pty.openpty()
    with os.fdopen(master, "wb"), os.fdopen(slave, "rb") as terminal, connected(stdin=terminal) as (process, peer):
        peer.sendall(b"bye")
        peer.close()
        assert process.finish()[:2] == (0, b"bye")


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
def test_a_reset_is_named(connected: Connected) -> None:
    with connected() as (process, peer):
        name = "{}:{}".format(*peer.getsockname())
        exchange(process, peer)
        reset(peer)
        assert process.wait() == 1
        assert complaints(process) == [f"pync: connection to {name}: Connection reset by peer"]


@either_way
@over_tcp
def test_a_peer_that_leaves_during_an_upload_fails_it_and_the_rest_is_counted(
    connected: Connected, file: IO[bytes]
) -> None:
    size = 50_000_000
    os.truncate(file.name, size)
    with connected(stdin=file) as (process, peer):
        received = len(take(peer, 100_000))
        peer.close()  # what is unread makes it a reset
        assert process.wait() == 1
        (line,) = complaints(process)
    unsent = re.fullmatch(
        r"pync: connection to 127\.0\.0\.1:\d+: Connection reset by peer, (\d+) bytes were not sent", line
    )
    assert unsent, line
    # The last that it read it may not have acknowledged when it left: to us that was not received.
    assert size - received - 16_000_000 < int(unsent[1]) <= size


@either_way
@over_tcp
def test_an_answer_that_came_before_the_reset_is_not_lost(connected: Connected, file: IO[bytes]) -> None:
    os.truncate(file.name, 50_000_000)
    with connected(stdin=file) as (process, peer):
        peer.recv(1000)
        peer.sendall(b"too large")
        peer.close()
        assert process.finish()[:2] == (1, b"too large")
        assert len(complaints(process)) == 1


@either_way
@over_tcp
def test_bytes_of_a_pipe_that_were_not_sent_are_counted_too(connected: Connected) -> None:
    with stuffed_pipe() as (stdin, fill), connected(stdin=stdin) as (process, peer):
        accepted = fill()
        peer.close()
        assert process.wait() == 1
        unsent = re.search(r": Connection reset by peer, (\d+) bytes were not sent$", process.stderr)
    assert unsent
    assert 0 < int(unsent[1]) < accepted


@contextlib.contextmanager
def stuffed_pipe() -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """A pipe, and what fills it until nobody takes anything any more, and says how much that was."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def fill() -> int:
        size = 0
        while select.select([], [writing], [], 0.3)[1]:
            size += os.write(writing, bytes(1 << 16))
        return size

    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        yield stdin, fill


@either_way
@pytest.mark.parametrize("connected", UNIX, indirect=True)
def test_a_unix_peer_that_leaves_during_an_upload_fails_it(connected: Connected, file: IO[bytes]) -> None:
    with connected(stdin=file) as (process, peer):
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
def test_a_reader_of_stdout_that_has_gone_ends_it_by_sigpipe_quietly(
    connected: Connected, options: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stdout, connected(*options, stdout=stdout) as (process, peer):
        stdout.close()
        os.close(reading)
        peer.sendall(b"anybody?")
        assert process.wait() == 128 + signal.SIGPIPE
        assert complaints(process) == []


@either_way
def test_a_full_stdout_is_told_and_fails(connected: Connected) -> None:
    with open("/dev/full", "wb") as full, connected(stdout=full) as (process, peer):
        peer.sendall(b"data")
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: No space left on device"]


@either_way
def test_a_stdout_without_reader_does_not_matter_if_nothing_is_to_be_written(connected: Connected) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stdout, connected(stdout=stdout) as (process, peer):
        stdout.close()
        os.close(reading)
        process.send(b"data")
        process.close_stdin()
        assert drain(peer) == b"data"
        peer.close()
        assert process.wait() == 0


# -- No connection -----------------------------------------------------------------------------------------------


def test_a_refused_connection_is_one_line() -> None:
    with free_port() as port:
        result = run([*PYNC, "127.0.0.1", str(port)])
        assert result == (1, b"", f"pync: connect to 127.0.0.1 port {port} (tcp) failed: Connection refused\n")


def test_verbosely_each_address_that_failed_is_a_line_once() -> None:
    with free_port() as port:
        addresses = {item[4][0] for item in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        result = run([*PYNC, "-v", "localhost", str(port)])
        assert (result.status, result.out) == (1, b"")
        failed = rf"pync: connect to localhost \((.*)\) port {port} \(tcp\) failed: .*"
        told = [re.fullmatch(failed, line) for line in result.err.splitlines()]
        assert sorted(match[1] if match else "" for match in told) == sorted(addresses)


@pytest.mark.parametrize("options", [("-n", "nosuch"), ("-n", "-v", "nosuch"), ("nosuch.invalid",)])
def test_an_unknown_name_is_one_line(options: tuple[str, ...]) -> None:
    result = run([*PYNC, *options, "80"], DEVNULL)
    assert (result.status, result.out) == (1, b"")
    assert re.fullmatch(rf"pync: host {re.escape(options[-1])}: .+\n", result.err)


def test_a_unix_path_where_nobody_listens_is_one_line(tmp_path: Path) -> None:
    missing, dead = tmp_path / "missing", tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(dead))
    for path, why in (missing, "No such file or directory"), (dead, "Connection refused"):
        result = run([*PYNC, "-U", str(path)], DEVNULL)
        assert result == (1, b"", f"pync: connect to {path} failed: {why}\n")


# -- Time limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-w", "--connect-timeout"])
def test_a_connection_that_takes_too_long_times_out(option: str) -> None:
    with stuck_port() as port:
        since = time.monotonic()
        result = run([*PYNC, option, "0.3", "127.0.0.1", str(port)], DEVNULL)
        assert time.monotonic() - since >= 0.3
    assert result == (124, b"", f"pync: connect to 127.0.0.1 port {port} (tcp): timed out\n")


@pytest.mark.parametrize("option", ["-w", "--idle-timeout"])
def test_silence_in_both_directions_times_out(connected: Connected, option: str) -> None:
    with connected(option, "0.6") as (process, peer):
        process.send(b"data")
        assert peer.recv(100) == b"data"
        assert process.wait() == 124
        assert complaints(process) == ["pync: idle connection: nothing came or went for 0.6 s"]


@either_way
def test_a_stalled_upload_times_out(connected: Connected) -> None:
    with stuffed_pipe() as (stdin, fill), connected("--idle-timeout", "0.6", stdin=stdin) as (process, _):
        fill()
        assert process.wait() == 124


@either_way
@pytest.mark.parametrize(
    ("options", "size", "status"),
    [(("-q", "0"), 100_000, 0), (("-w", "0.5"), 50_000_000, 124)],  # what the kernels can hold, and what they cannot
    ids=["-q", "-w"],
)
def test_who_only_sends_does_not_wait_for_ever_for_a_peer_that_does_not_read(
    options: tuple[str, str], size: int, status: int, file: IO[bytes]
) -> None:
    os.truncate(file.name, size)
    with client("--send-only", *options, stdin=file) as (process, _):
        assert process.wait() == status
        assert len(complaints(process)) == (status != 0)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_either_direction_keeps_the_connection_from_being_idle(connected: Connected, direction: str) -> None:
    with connected("-w", "0.6") as (process, peer):
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if direction == "in":
                peer.sendall(b"x")
                assert process.read(1) == b"x"
            else:
                process.send(b"x")
                assert peer.recv(1) == b"x"
        process.close_stdin()
        peer.close()
        assert process.wait() == 0


def test_the_time_to_connect_alone_does_not_limit_silence() -> None:
    with client("--connect-timeout", "0.2") as (process, peer):
        assert lives_on(process.pid, LONG)
        process.close_stdin()
        peer.close()
        assert process.wait() == 0


def test_retrying_times_out_with_the_last_reason() -> None:
    with free_port() as port:
        result = run([*PYNC, "--retry", "0.5", "127.0.0.1", str(port)], DEVNULL)
    refused = f"connect to 127.0.0.1 port {port} (tcp) failed: Connection refused"
    assert result == (124, b"", f"pync: {refused} (tried for 0.5 s)\n")


def test_retrying_finds_a_server_that_comes_later() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        with pync("-vv", "--retry", "10", "127.0.0.1", str(server.getsockname()[1])) as process:
            process.expect("the next attempt is in")
            server.listen()
            peer = server.accept()[0]
            with peer:
                process.send(b"at last")
                process.close_stdin()
                assert drain(peer) == b"at last"
            assert process.wait() == 0


# -- Bad usage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["", "host", "host 0", "host 65536", "-l 65536", "-k host 80", "--nosuch", "-w x h 1"])
def test_bad_usage_is_a_line_and_a_hint(line: str) -> None:
    result = run([*PYNC, *line.split()], DEVNULL)
    assert (result.status, result.out) == (2, b"")
    assert re.fullmatch(r"pync: .+\nTry 'pync --help'\.\n", result.err)


# -- Signals -----------------------------------------------------------------------------------------------------

STOPPING = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])


@either_way
@STOPPING
def test_a_signal_ends_a_conversation(connected: Connected, signum: int) -> None:
    with connected() as (process, peer):
        exchange(process, peer)
        process.signal(signum)
        assert process.wait() == 128 + signum
        assert complaints(process) == []
        assert peer.recv(1) == b""


@STOPPING
@pytest.mark.parametrize("option", [(), ("-k",)], ids=["", "-k"])
def test_a_signal_ends_a_listener_that_waits(option: tuple[str, ...], signum: int) -> None:
    with listen(*option, "127.0.0.1", "0") as process:
        process.signal(signum)
        assert process.wait() == 128 + signum
        with pytest.raises(ConnectionRefusedError):
            connect(process.port)
        assert complaints(process) == []


@STOPPING
def test_a_signal_ends_a_connection_that_is_being_made(signum: int) -> None:
    with stuck_port() as port, pync("-vv", "--retry", "60", "-w", "0.1", "127.0.0.1", str(port)) as process:
        process.expect("the next attempt")
        process.signal(signum)
        assert process.wait() == 128 + signum


@STOPPING
@pytest.mark.parametrize("program", ["--sh-exec", "--filter"])
def test_a_signal_ends_the_child_too(connected: Connected, program: str, signum: int) -> None:
    with connected(program, "echo $$; exec sleep 60") as (process, peer):
        pid = int(peer.recv(100))
        pidfd = os.pidfd_open(pid)
        process.signal(signum)
        assert process.wait() == 128 + signum
        assert select.select([pidfd], [], [], DEADLINE)[0], "the child lives"
        os.close(pidfd)


def test_a_child_that_ignores_signals_is_ended_too() -> None:
    with listener("--sh-exec", "trap '' HUP TERM; echo $$; while :; do sleep 60; done") as (process, peer):
        pid = int(peer.recv(100))
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert not lives_on(pid, 0)


def test_a_signal_that_was_ignored_at_the_start_stays_ignored() -> None:
    with client(start=through('trap "" INT HUP; exec "$@"')) as (process, peer):
        exchange(process, peer)
        process.signal(signal.SIGINT)
        process.signal(signal.SIGHUP)
        exchange(process, peer)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


# -- Programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (("--exec", "/nonexistent"), 127, "No such file or directory"),
        (("--exec", "nosuchprogram"), 127, "No such file or directory"),
        (("--exec", "/etc/passwd"), 126, "Permission denied"),
    ],
)
def test_a_program_that_cannot_be_run_is_told_in_the_shells_way(
    connected: Connected, options: tuple[str, str], status: int, why: str
) -> None:
    with connected(*options) as (process, peer):
        assert process.wait() == status
        assert complaints(process) == [f"pync: {options[1]}: {why}"]
        assert peer.recv(1) == b""


@pytest.mark.parametrize("program", ["--sh-exec", "--filter"])
@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_programs_status_is_ours(connected: Connected, program: str, command: str, status: int) -> None:
    with connected(program, f"read x; echo got $x; {command}") as (process, peer):
        peer.sendall(b"it\n")
        assert drain(peer) == b"got it\n"
        peer.close()
        assert process.wait() == status


# -- Many clients ------------------------------------------------------------------------------------------------


@either_way
def test_every_client_gets_the_whole_file_and_its_end(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(MEGABYTES)
    with (tmp_path / "page").open("rb") as page, listen("-k", "127.0.0.1", "0", stdin=page) as process:
        with connect(process.port) as idle, connect(process.port) as first:
            assert drain(first) == MEGABYTES
            with connect(process.port) as second:
                assert drain(second) == MEGABYTES
            assert drain(idle) == MEGABYTES
        assert complaints(process) == []


@either_way
def test_what_a_pipe_brings_goes_to_all_who_are_connected_then() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as first:
        process.expect("^Connection received")
        process.send(b"one\n")
        assert first.recv(100) == b"one\n"
        with connect(process.port) as second:
            process.expect("^Connection received", count=2)
            process.send(b"two\n")
            assert (first.recv(100), second.recv(100)) == (b"two\n", b"two\n")
            process.close_stdin()
            assert (drain(first), drain(second)) == (b"", b"")


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
