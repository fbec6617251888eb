"""Traps of other netcats: lost data, and a success that is none. pync must neither lose bytes nor hide that it did.

Each test is named after a row of the list of faults found in nc.openbsd, Ncat and nc.traditional that pync was written
against. Its other rows are in test_traps_hangs.py and test_traps_surprises.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, meanwhile, reset, take
from harness import DEADLINE, PAYLOAD, connect, listen, pync, success
from pairs import complaints, flood, listener, lives_on, nothing_from, pipe
from roles import MEGABYTES, either_way, in_both_roles

if TYPE_CHECKING:
    from typing import IO

    from roles import Role

large_file = roles.large_file
SMALL = PAYLOAD(300_000)
HUGE = PAYLOAD(12_000_000)  # more than a queue and the buffers of two sockets hold


@in_both_roles
def test_01_a_reset_by_the_peer_is_a_failure(role: Role) -> None:
    with role() as (process, peer):
        reset(peer)
        assert process.wait() == 1
        assert complaints(process)[0].endswith(": Connection reset by peer")


@either_way
@in_both_roles
def test_02_a_peer_that_closes_during_an_upload_is_a_failure_that_counts_what_was_unsent(
    role: Role, large_file: IO[bytes]
) -> None:
    os.truncate(large_file.name, 50_000_000)
    with role(stdin=large_file) as (process, peer):
        take(peer, 1000)
        peer.close()
        assert process.wait() == 1
        (line,) = complaints(process)
    assert re.search(r", \d{8} bytes were not sent$", line)


@either_way
@in_both_roles
def test_03_a_full_stdout_is_reported_and_nothing_more_is_received(role: Role) -> None:
    def send() -> None:
        with pytest.raises(OSError, match="reset|Broken pipe"):
            while True:
                peer.sendall(SMALL)

    with open("/dev/full", "wb") as full, role(stdout=full) as (process, peer), meanwhile(send):
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: No space left on device"]


@in_both_roles
@pytest.mark.parametrize("options", [(), ("-N",), ("--no-shutdown",), ("-C",)])
def test_02_all_is_counted_that_was_sent_to_a_peer_that_had_left(role: Role, options: tuple[str, ...]) -> None:
    with role(*options) as (process, peer):
        peer.sendall(b"bye")
        peer.close()
        assert process.read_all() == b"bye"
        process.send(bytes(50_000))
        process.close_stdin()
        assert process.wait() == 1
        (line,) = complaints(process)
    assert line.endswith(": Connection reset by peer, 50000 bytes were not sent")


def test_04_a_listener_sends_all_of_its_stdin_to_a_client_that_half_closed(large_file: IO[bytes]) -> None:
    with listener(stdin=large_file) as (process, peer):
        peer.sendall(b"GET\n")
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b"GET\n"
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0


def test_04_a_slow_producer_is_waited_for() -> None:
    with listener() as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b""
        assert nothing_from(peer, 1)
        process.send(b"here it is")
        process.close_stdin()
        assert drain(peer) == b"here it is"
        assert process.wait() == 0


@in_both_roles
def test_05_an_idle_limit_that_cuts_a_transfer_is_a_failure_that_counts_what_was_unsent(
    role: Role, large_file: IO[bytes]
) -> None:
    os.truncate(large_file.name, 50_000_000)
    with role("-w", "0.5", stdin=large_file) as (process, peer):
        assert process.wait() == 124
        (line,) = complaints(process)
        missing = re.fullmatch(
            r"pync: idle connection: nothing came or went for 0\.5 s, (\d+) bytes were not sent", line
        )
        assert missing, line
        # What the peer has received and not acknowledged yet is counted as missing.
        assert 50_000_000 - int(missing[1]) <= len(drain_until_reset(peer)) < 50_000_000


def drain_until_reset(peer: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := peer.recv(1 << 20):
            data += chunk
    return bytes(data)


@in_both_roles
def test_06_a_limit_of_zero_is_none(role: Role) -> None:
    with role("-w", "0") as (process, peer):
        assert lives_on(process.pid, 0.5)
        process.send(b"question")
        process.close_stdin()
        assert drain(peer) == b"question"
        peer.sendall(SMALL)
        peer.close()
        assert process.finish().status_and_out == (0, SMALL)


def test_07_a_listener_that_is_to_leave_later_receives_until_then() -> None:
    with listener("-q", "1") as (process, peer):
        process.send(b"all")
        process.close_stdin()
        assert drain(peer) == b"all"
        peer.sendall(b"late")
        assert process.read(4) == b"late"
        assert process.wait() == 0


def test_09_a_datagram_client_whose_stdin_has_ended_waits_for_the_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE)
        with pync("-u", "127.0.0.1", str(server.getsockname()[1])) as process:
            process.send(b"question")
            process.close_stdin()
            question, peer = server.recvfrom(100)
            assert lives_on(process.pid, 1)
            server.sendto(b"answer", peer)
            assert question == b"question"
            assert process.finish() == success(b"answer")


@pytest.mark.parametrize("program", ["--exec", "--sh-exec", "--filter"])
def test_13_the_answer_of_a_program_outlives_the_clients_half_close(program: str) -> None:
    with listener(program, "sort") as (process, peer):
        peer.sendall(b"".join(b"%d\n" % number for number in range(30_000, 10_000, -1)))
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == b"".join(b"%d\n" % number for number in range(10_001, 30_001))
        peer.close()
        assert process.wait() == 0


@either_way
@in_both_roles
def test_14_a_stdout_that_does_not_block_is_waited_for(role: Role) -> None:
    with pipe() as (reader, writer):
        os.set_blocking(writer.fileno(), False)
        with role(stdout=writer) as (process, peer):
            sent = flood(peer, SMALL)
            assert lives_on(process.pid, 0.5)
            peer.shutdown(socket.SHUT_WR)
            writer.close()
            process.close_stdin()
            assert reader.read() == sent
            assert process.wait() == 0


@in_both_roles
def test_15_a_pync_that_only_sends_notices_that_the_peer_has_left(role: Role) -> None:
    with role("--send-only") as (process, peer):
        process.send(b"data")
        assert take(peer, 4) == b"data"
        peer.close()
        with pytest.raises(BrokenPipeError):
            while True:
                process.send(SMALL)
        assert process.wait() == 1
        assert len(complaints(process)) == 1


@either_way
@in_both_roles
def test_15_a_pync_that_only_sends_discards_what_it_receives(role: Role, large_file: IO[bytes]) -> None:
    def send() -> None:
        with contextlib.suppress(OSError):  # pync ends when it has sent everything
            peer.sendall(HUGE)

    with role("--send-only", stdin=large_file) as (process, peer), meanwhile(send):
        assert drain(peer) == MEGABYTES
        assert process.finish().status_and_out == (0, b"")


@in_both_roles
def test_16_a_line_end_cut_in_two_reads_is_one(role: Role) -> None:
    with role("-C") as (process, peer):
        for part, sent in (b"a\r", b"a\r"), (b"\n", b"\n"), (b"b\n", b"b\r\n"), (b"\n", b"\r\n"), (b"c\r\n", b"c\r\n"):
            process.send(part)
            assert take(peer, len(sent)) == sent
        process.close_stdin()
        assert drain(peer) == b""


def test_20_stdin_is_sent_to_all_clients_and_waits_for_the_next_if_there_is_none() -> None:
    with listen("-k", "127.0.0.1", "0") as process:
        with connect(process.port) as one, connect(process.port) as other:
            process.expect("^Connection received", count=2)
            process.send(b"for both")
            assert [take(conn, 8) for conn in (one, other)] == [b"for both"] * 2
            reset(one)
            reset(other)
            process.expect("^pync: connection to .* reset", count=2)
        process.send(b"for the next")
        with connect(process.port) as late:
            assert take(late, 12) == b"for the next"
