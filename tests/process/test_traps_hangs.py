"""Traps of other netcats: hangs, and processes that never end. pync must end, and let nothing wait that need not.

Each test is named after a row of the list of faults found in nc.openbsd, Ncat and nc.traditional that pync was written
against. Its other rows are in test_traps_data_loss.py and test_traps_surprises.py.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, meanwhile, reset, take
from harness import DEADLINE, DEVNULL, PAYLOAD, PYNC, connect, listen, run
from pairs import client, exchange, flood, listener, lives_on, nothing_from, pipe
from roles import MEGABYTES, either_way, in_both_roles

if TYPE_CHECKING:
    from typing import IO

    from roles import Role

large_file = roles.large_file
SMALL = PAYLOAD(300_000)
HUGE = PAYLOAD(12_000_000)  # more than a queue and the buffers of two sockets hold


def test_21_the_end_of_stdin_ends_both_sides(large_file: IO[bytes]) -> None:
    with listen("127.0.0.1", "0", stdin=DEVNULL) as receiver:
        assert run([*PYNC, "127.0.0.1", str(receiver.port)], large_file).status == 0
        assert receiver.finish().status_and_out == (0, MEGABYTES)


@in_both_roles
def test_22_pync_ends_after_the_peer_though_its_stdin_is_open(role: Role) -> None:
    with role() as (process, peer):
        peer.sendall(SMALL)
        peer.close()
        assert process.read_all() == SMALL
        assert process.wait() == 0


@in_both_roles
@pytest.mark.parametrize("seconds", ["0", "1"])
def test_23_the_time_to_leave_is_kept_while_the_peer_stays(role: Role, seconds: str) -> None:
    with role("-q", seconds) as (process, peer):
        process.send(b"data")
        since = time.monotonic()
        process.close_stdin()
        assert drain(peer) == b"data"
        assert process.wait() == 0
        assert int(seconds) <= time.monotonic() - since < int(seconds) + 5


@pytest.mark.parametrize(("option", "status"), [("-q", 0), ("-w", 0), ("--idle-timeout", 124)])
def test_24_datagrams_end_by_the_limits_asked_for(option: str, status: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert run([*PYNC, "-u", option, "0.5", "127.0.0.1", str(silent.getsockname()[1])], b"x").status == status
        assert silent.recv(10) == b"x"


def test_28_a_client_that_is_denied_does_not_end_the_listener() -> None:
    with listen("--deny", "127.0.0.1", "127.0.0.1", "0") as process:
        with connect(process.port) as stranger:
            assert stranger.recv(1) == b""
        process.expect("^pync: connection from 127.0.0.1 .* denied")
        with socket.create_connection(("127.0.0.1", process.port), DEADLINE, ("127.0.0.2", 0)) as friend:
            exchange(process, friend)
        assert process.finish().status == 0


def test_28_a_client_beyond_the_limit_does_not_end_the_listener() -> None:
    with listen("-k", "--max-conns", "1", "127.0.0.1", "0") as process:
        with connect(process.port) as first:
            exchange(process, first)
            with connect(process.port) as second:
                assert second.recv(1) == b""
            exchange(process, first)
        process.expect(r"denied: connection limit reached \(1\)")
        assert process.stderr.count("denied: ") == 1


def test_30_an_idle_client_does_not_block_the_others() -> None:
    with listen("-k", "127.0.0.1", "0") as process, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(process.port))
        with connect(process.port) as busy:
            exchange(process, busy)


def test_31_a_client_that_does_not_read_is_cut_off_and_the_others_receive_everything() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as idle, connect(process.port) as good:
        process.expect("^Connection received", count=2)
        with meanwhile(process.send, HUGE):
            assert take(good, len(HUGE)) == HUGE
        process.expect(f"^pync: connection to .*{idle.getsockname()[1]}: cut off: it takes nothing")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


@either_way
@in_both_roles
def test_32_a_slow_reader_of_stdout_does_not_stop_what_is_sent(role: Role) -> None:
    with pipe() as (reader, writer), role(stdout=writer) as (process, peer):
        flood(peer, SMALL)
        process.send(b"still sending")
        assert take(peer, 13) == b"still sending"
        assert reader.read(10) == SMALL[:10]


@in_both_roles
def test_33_pacing_slows_the_sender_alone(role: Role) -> None:
    with role("-i", "60") as (process, peer):
        process.send(b"one\ntwo\n")
        assert take(peer, 4) == b"one\n"
        exchange(process, peer)
        assert nothing_from(peer)


def test_33_lines_are_paced() -> None:
    with client("-i", "0.3") as (process, peer):
        since = time.monotonic()
        process.send(b"one\ntwo\nthree")
        process.close_stdin()
        assert drain(peer) == b"one\ntwo\nthree"
        assert time.monotonic() - since >= 0.6


@in_both_roles
def test_34_a_transfer_that_is_over_does_not_wait_for_its_idle_limit(role: Role) -> None:
    with role("--idle-timeout", "3600") as (process, peer):
        process.send(b"data")
        process.close_stdin()
        assert drain(peer) == b"data"
        peer.close()
        assert process.wait() == 0


def test_35_each_client_of_a_server_has_an_idle_limit_of_its_own() -> None:
    with listen("-k", "--idle-timeout", "0.6", "127.0.0.1", "0", stdin=DEVNULL) as process:
        with connect(process.port) as idle, connect(process.port) as busy:
            while nothing_from(idle):
                exchange(process, busy)
            assert idle.recv(1) == b""
            exchange(process, busy)
        process.expect("^pync: .*idle")
        with connect(process.port) as late:
            exchange(process, late)


@pytest.mark.parametrize("program", ["--sh-exec", "--filter"])
@pytest.mark.parametrize("command", ["cat", "while :; do echo y; done", "trap '' HUP; cat; echo; cat"])
def test_36_a_program_does_not_survive_its_client(program: str, command: str) -> None:
    with listen("-k", program, f"echo $$; {command}", "127.0.0.1", "0", stdin=DEVNULL) as process:
        with connect(process.port) as peer:
            pid = int(peer.makefile("rb").readline())
        assert not lives_on(pid, DEADLINE)
        assert lives_on(process.pid, 0)


@pytest.mark.parametrize("program", ["--sh-exec", "--filter"])
def test_36_a_program_that_does_not_read_is_ended_when_its_client_resets(program: str) -> None:
    with listener(program, "echo $$; exec sleep 60") as (process, peer):
        pid = int(peer.recv(100))
        reset(peer)
        assert process.wait() == 1
        assert not lives_on(pid, 0)
