"""The rules of ending of pync's own face: what ends it before its peer does, or before it has one.

A connection that cannot be made, a limit, bad usage, a signal: each is one line at most and an exit status of its own.
`connected` gives a pync and the socket at its other end, over TCP and unix streams, in both roles.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain
from harness import DEADLINE, DEVNULL, PYNC, connect, failure, free_port, listen, pync, run
from pairs import client, complaints, exchange, listener, lives_on, stuck_port, stuffed_pipe, through
from roles import either_way

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from roles import Role

connected, large_file = roles.connected, roles.large_file
LONG = 1.0  # seconds: clearly more than any limit of a test


# -- No connection -----------------------------------------------------------------------------------------------


def test_a_refused_connection_is_one_line() -> None:
    with free_port() as port:
        result = run([*PYNC, "127.0.0.1", str(port)])
        assert result == failure(f"connect to 127.0.0.1 port {port} (tcp) failed: Connection refused")


def test_verbosely_each_address_that_failed_is_a_line_once() -> None:
    with free_port() as port:
        addresses = {item[4][0] for item in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        result = run([*PYNC, "-v", "localhost", str(port)])
        assert result.status_and_out == (1, b"")
        failed = rf"pync: connect to localhost \((.*)\) port {port} \(tcp\) failed: .*"
        lines = [re.fullmatch(failed, line) for line in result.err.splitlines()]
        assert sorted(line[1] if line else "" for line in lines) == sorted(addresses)


@pytest.mark.parametrize("options", [("-n", "nosuch"), ("-n", "-v", "nosuch"), ("nosuch.invalid",)])
def test_an_unknown_name_is_one_line(options: tuple[str, ...]) -> None:
    result = run([*PYNC, *options, "80"], DEVNULL)
    assert result.status_and_out == (1, b"")
    assert re.fullmatch(rf"pync: host {re.escape(options[-1])}: .+\n", result.err)


def test_a_unix_path_without_a_listener_is_one_line(tmp_path: Path) -> None:
    missing, dead = tmp_path / "missing", tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(dead))
    for path, why in (missing, "No such file or directory"), (dead, "Connection refused"):
        result = run([*PYNC, "-U", str(path)], DEVNULL)
        assert result == failure(f"connect to {path} failed: {why}")


# -- Time limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-w", "--connect-timeout"])
def test_a_connection_that_takes_too_long_times_out(option: str) -> None:
    with stuck_port() as port:
        since = time.monotonic()
        result = run([*PYNC, option, "0.3", "127.0.0.1", str(port)], DEVNULL)
        assert time.monotonic() - since >= 0.3
    assert result == failure(f"connect to 127.0.0.1 port {port} (tcp): timed out", status=124)


@pytest.mark.parametrize("option", ["-w", "--idle-timeout"])
def test_silence_in_both_directions_times_out(connected: Role, option: str) -> None:
    with connected(option, "0.6") as (process, peer):
        process.send(b"data")
        assert peer.recv(100) == b"data"
        assert process.wait() == 124
        assert complaints(process) == ["pync: idle connection: nothing came or went for 0.6 s"]


@either_way
def test_a_stalled_upload_times_out(connected: Role) -> None:
    with stuffed_pipe() as (stdin, fill), connected("--idle-timeout", "0.6", stdin=stdin) as (process, _):
        fill()
        assert process.wait() == 124


@either_way
@pytest.mark.parametrize(
    ("options", "size", "status"),
    # The kernel can hold the first file, and not the second.
    [(("-q", "0"), 100_000, 0), (("-w", "0.5"), 50_000_000, 124)],
    ids=["-q", "-w"],
)
def test_a_pync_that_only_sends_does_not_wait_for_ever_for_a_peer_that_does_not_read(
    options: tuple[str, str], size: int, status: int, large_file: IO[bytes]
) -> None:
    os.truncate(large_file.name, size)
    with client("--send-only", *options, stdin=large_file) as (process, _):
        assert process.wait() == status
        assert len(complaints(process)) == (status != 0)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_either_direction_keeps_the_connection_from_being_idle(connected: Role, direction: str) -> None:
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


def test_silence_is_measured_when_stdout_is_closed_already() -> None:
    with listen("--no-shutdown", "-w", "1", "0") as server, connect(server.port) as peer:
        peer.sendall(b"all")
        peer.shutdown(socket.SHUT_WR)
        assert server.read_all() == b"all"
        assert server.wait() == 0, server.stderr  # stdin is open, and has nothing ready


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
    assert result == failure(f"{refused} (tried for 0.5 s)", status=124)


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
    assert result.status_and_out == (2, b"")
    assert re.fullmatch(r"pync: .+\nTry 'pync --help'\.\n", result.err)


# -- Signals -----------------------------------------------------------------------------------------------------

STOPPING = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])


@either_way
@STOPPING
def test_a_signal_ends_a_conversation(connected: Role, signum: int) -> None:
    with connected() as (process, peer):
        exchange(process, peer)
        process.signal(signum)
        assert process.wait() == 128 + signum
        assert complaints(process) == []
        if peer.family == socket.AF_UNIX:  # such a connection cannot be reset
            assert peer.recv(1) == b""
        else:
            with pytest.raises(ConnectionResetError):
                peer.recv(1)


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
def test_a_signal_ends_the_child_too(connected: Role, program: str, signum: int) -> None:
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
