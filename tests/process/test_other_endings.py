"""How conversations end in nc.openbsd and nc.traditional: each scene with the real one, and with pync behaving like it.

A test whose name says what pync mends (`mended`) is about pync alone. A scene that takes seconds says how many.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from clients import drain, reset, take
from harness import DEADLINE, DEVNULL, PAYLOAD, Result, connect
from other_netcats import OPENBSD, RECEIVED, TRADITIONAL, Netcat, client, listener, listening, over_unix
from pairs import exchange, flood, lives_on, nothing_from, pipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from pairs import Pair
    from roles import Role

BOTH = OPENBSD + TRADITIONAL
MENDED = [netcat for netcat in BOTH if not netcat.real]
WHILE = 0.4  # seconds for which nothing happens where something would happen at once
MEGABYTES = PAYLOAD(3_000_000)

either = pytest.mark.parametrize("netcat", BOTH, ids=str)
openbsd = pytest.mark.parametrize("netcat", OPENBSD, ids=str)
traditional = pytest.mark.parametrize("netcat", TRADITIONAL, ids=str)
mended = pytest.mark.parametrize("netcat", MENDED, ids=str)
both_roles = pytest.mark.parametrize("role", [client, listener])
UNIX = [pytest.param(over_unix(role), id=f"unix {role.__name__}") for role in (client, listener)]
every_stream = pytest.mark.parametrize("role", [client, listener, *UNIX])
listeners = pytest.mark.parametrize("role", [listener, UNIX[1]])


@pytest.fixture
def large(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A regular file that holds MEGABYTES."""
    (tmp_path / "large").write_bytes(MEGABYTES)
    with (tmp_path / "large").open("rb") as file:
        yield file


@contextlib.contextmanager
def lasting(seconds: float) -> Iterator[None]:
    """What happens in here takes so long, and a little more."""
    start = time.monotonic()
    yield
    assert seconds - 0.05 <= time.monotonic() - start < seconds + 0.8


# -- The end of stdin --------------------------------------------------------------------------------------------


@either
@both_roles
def test_the_end_of_stdin_is_not_passed_on(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert take(peer, 8) == b"question"
        assert nothing_from(peer, WHILE)
        peer.sendall(b"answer")
        peer.close()
        assert process.finish().status_and_out == (0, b"answer")


@openbsd
@every_stream
def test_with_a_half_close_it_is_passed_on_at_once(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-N") as (process, peer):
        process.send(b"question")
        process.close_stdin()
        with lasting(0):
            assert drain(peer) == b"question"
        peer.sendall(b"answer")
        peer.close()
        assert process.finish().status_and_out == (0, b"answer")


@openbsd
def test_a_stdin_that_is_not_read_ends_with_the_peers_first_event(netcat: Netcat) -> None:
    with client(netcat, "-d", "-N") as (process, peer):
        assert nothing_from(peer, WHILE)
        peer.sendall(b"hello")
        assert drain(peer) == b""
        peer.close()
        assert process.finish().status_and_out == (0, b"hello")


@openbsd
def test_a_listeners_null_device_ends_like_any_stdin(netcat: Netcat) -> None:
    with listener(netcat, "-N", stdin=DEVNULL) as (process, peer):
        assert drain(peer) == b""
        peer.sendall(b"hello")
        peer.close()
        assert process.finish().status_and_out == (0, b"hello")


# -- The end of the peer -----------------------------------------------------------------------------------------


@openbsd
def test_a_client_sends_on_after_the_peers_end(netcat: Netcat) -> None:
    with client(netcat) as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert lives_on(process.pid, WHILE)
        process.send(b"one\n")
        assert take(peer, 4) == b"one\n"
        process.send(b"two\n")
        process.close_stdin()
        assert drain(peer) == b"two\n"
        assert process.finish() == Result(0, b"", "")


@openbsd
def test_a_client_stays_at_its_terminal_after_the_peers_end(netcat: Netcat) -> None:
    ours, theirs = os.openpty()
    try:
        with client(netcat, stdin=theirs, start_new_session=True) as (process, peer):
            peer.close()
            assert lives_on(process.pid, WHILE)
            os.write(ours, b"a line\n")
            assert process.wait() == 0
    finally:
        os.close(ours)
        os.close(theirs)


@openbsd
def test_a_client_whose_peer_has_closed_ends_with_its_next_line(netcat: Netcat) -> None:
    with client(netcat) as (process, peer):
        peer.sendall(b"bye")
        peer.close()
        assert process.read(3) == b"bye"
        assert lives_on(process.pid, WHILE)
        process.send(b"a line\n")
        assert process.wait() == 0


@openbsd
def test_without_stdin_a_client_leaves_at_the_peers_end(netcat: Netcat) -> None:
    with client(netcat, "-d") as (process, peer):
        peer.close()
        with lasting(0):
            assert process.wait() == 0


@openbsd
def test_stdout_stays_open_after_the_peers_end(netcat: Netcat) -> None:
    with pipe() as (reader, writer), client(netcat, stdout=writer) as (process, peer):
        writer.close()
        peer.sendall(b"bye")
        peer.close()
        assert reader.read(3) == b"bye"
        assert not select.select([reader], [], [], WHILE)[0]
        process.close_stdin()
        assert reader.read() == b""


@pytest.mark.parametrize(
    ("netcat", "role"),
    [
        *((netcat, listener) for netcat in BOTH),
        *((netcat, client) for netcat in TRADITIONAL),
        *((netcat, over_unix(listener)) for netcat in OPENBSD),
    ],
)
def test_after_the_peers_end_an_idle_stdin_is_left_at_once(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        exchange(process, peer)
        peer.sendall(b"bye")
        peer.shutdown(socket.SHUT_WR)
        with lasting(0):
            assert process.wait() == 0
        assert process.finish().out == b"bye"


DRAINS: list[tuple[Netcat, Role]] = [(netcat, role) for netcat in MENDED for role in (client, listener)]
DRAINS += [(OPENBSD[1], over_unix(role)) for role in (client, listener)]


@pytest.mark.parametrize(("netcat", "role"), DRAINS)
def test_mended_after_the_peers_end_a_file_is_sent_to_its_end(netcat: Netcat, role: Role, large: IO[bytes]) -> None:
    with role(netcat, stdin=large) as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0


@pytest.mark.parametrize("netcat", [netcat for netcat in MENDED if netcat.traditional], ids=str)
@both_roles
def test_mended_after_the_peers_end_a_pipe_is_sent_until_it_would_block(netcat: Netcat, role: Role) -> None:
    _a_pipe_is_sent(netcat, role)


def test_mended_a_listeners_pipe_is_sent_after_the_peers_end_until_it_would_block() -> None:
    _a_pipe_is_sent(OPENBSD[1], listener)


def _a_pipe_is_sent(netcat: Netcat, role: Role) -> None:
    with pipe() as (reader, writer), role(netcat, stdin=reader) as (process, peer):
        os.set_blocking(writer.fileno(), False)
        sent = 0
        while select.select([], [writer], [], WHILE)[1]:  # the peer takes nothing, and everything gets full
            sent += writer.write(bytes(1 << 16)) or 0
        peer.shutdown(socket.SHUT_WR)
        assert len(drain(peer)) == sent
        assert process.wait() == 0, "the pipe is still open"


@mended
@both_roles
def test_mended_lines_that_a_pause_holds_back_are_sent_after_the_peers_end(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-i", "0.2") as (process, peer):
        process.send(b"1\n2\n3\n")
        assert take(peer, 2) == b"1\n"
        peer.shutdown(socket.SHUT_WR)
        assert take(peer, 4) == b"2\n3\n"
        process.close_stdin()
        assert process.wait() == 0


@traditional
def test_what_was_read_is_sent_before_a_client_leaves(netcat: Netcat) -> None:
    with client(netcat) as (process, peer):
        process.send(b"line\n")
        assert take(peer, 5) == b"line\n"
        peer.close()
        assert process.wait() == 0


# -- A connection that breaks ------------------------------------------------------------------------------------


@either
@both_roles
def test_a_reset_is_an_end(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        exchange(process, peer)
        reset(peer)
        assert process.wait() == 0
        assert not re.search("reset", process.stderr)


@pytest.mark.parametrize("netcat", [*OPENBSD, TRADITIONAL[1]], ids=str)
def test_a_peer_that_closes_during_an_upload_is_an_end(netcat: Netcat, large: IO[bytes]) -> None:
    with client(netcat, stdin=large) as (process, peer):
        take(peer, 1000)
        peer.close()
        assert process.finish() == Result(0, b"", "")


@either
def test_what_the_peer_sent_before_it_broke_is_received(netcat: Netcat) -> None:
    with client(netcat) as (process, peer):
        peer.sendall(b"the last words")
        assert process.read(14) == b"the last words"
        peer.close()
        for _ in range(3):
            with contextlib.suppress(BrokenPipeError):
                process.send(b"line\n")
        assert process.wait() == 0


@mended
@both_roles
def test_mended_a_stdout_that_takes_nothing_does_not_hold_up_stdin(netcat: Netcat, role: Role) -> None:
    with pipe() as (_, writer), role(netcat, stdout=writer) as (process, peer):
        flood(peer, bytes(1 << 16))
        process.send(b"all the same")
        assert take(peer, 12) == b"all the same"


@either
@both_roles
def test_a_signal_ends_the_connection_and_does_not_break_it(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        exchange(process, peer)
        process.signal(signal.SIGTERM)
        assert drain(peer) == b""


# -- stdout ------------------------------------------------------------------------------------------------------


@mended
def test_mended_a_full_stdout_is_a_failure(netcat: Netcat) -> None:
    with open("/dev/full", "wb") as full, client(netcat, stdout=full) as (process, peer):
        process.close_stdin()
        peer.sendall(b"x")
        assert process.wait() == 1
        assert process.stderr == "pync: writing stdout: No space left on device\n"


def test_mended_with_a_full_stdout_stdin_is_sent_to_its_end() -> None:
    with open("/dev/full", "wb") as full, client(OPENBSD[1], "-N", stdout=full) as (process, peer):
        peer.sendall(b"x")
        process.send(b"all of")
        assert take(peer, 6) == b"all of"
        process.send(b" it")
        process.close_stdin()
        assert drain(peer) == b" it"
        assert process.wait() == 1


def test_mended_a_listener_with_a_full_stdout_ends() -> None:
    with open("/dev/full", "wb") as full, listener(OPENBSD[1], stdout=full) as (process, peer):
        peer.sendall(b"x")
        assert process.wait() == 1


# -- -q ----------------------------------------------------------------------------------------------------------


@openbsd
def test_a_client_stays_so_much_longer_than_both_ends(netcat: Netcat) -> None:
    with client(netcat, "-q", "1") as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert drain(peer) == b"question"
        assert lives_on(process.pid, 1.5)
        peer.sendall(b"late")
        with lasting(1):
            peer.close()
            assert process.finish().status_and_out == (0, b"late")


@openbsd
def test_q_0_of_a_client_is_a_half_close_and_no_limit(netcat: Netcat) -> None:
    with client(netcat, "-q", "0") as (process, peer):
        process.close_stdin()
        assert drain(peer) == b""
        assert lives_on(process.pid, WHILE)
        peer.sendall(b"late")
        peer.close()
        with lasting(0):
            assert process.finish().status_and_out == (0, b"late")


@openbsd
def test_w_is_the_most_that_q_waits(netcat: Netcat) -> None:
    with client(netcat, "-q", "5", "-w", "1") as (process, peer):
        process.close_stdin()
        with lasting(1):
            peer.close()
            assert process.wait() == 0


@openbsd
@listeners
@pytest.mark.parametrize("seconds", [0, 1])
def test_a_listener_leaves_so_long_after_stdin_and_drops_what_comes_meanwhile(
    netcat: Netcat, role: Role, seconds: int
) -> None:
    with role(netcat, "-q", str(seconds)) as (process, peer):
        process.send(b"hi")
        assert take(peer, 2) == b"hi"
        peer.sendall(b"early")
        assert process.read(5) == b"early"
        with lasting(seconds):
            process.close_stdin()
            assert drain(peer) == b""
            with contextlib.suppress(ConnectionError):
                peer.sendall(b"late")
            assert process.finish().status_and_out == (0, b"")


@openbsd
def test_a_peers_end_does_not_shorten_that(netcat: Netcat) -> None:
    with listener(netcat, "-q", "1") as (process, peer):
        exchange(process, peer)
        with lasting(1):
            process.close_stdin()
            assert drain(peer) == b""
            peer.close()
            assert process.wait() == 0


@openbsd
def test_a_listener_stays_so_long_after_the_peers_end_too(netcat: Netcat) -> None:
    with listener(netcat, "-q", "1") as (process, peer):
        exchange(process, peer)
        with lasting(1):
            peer.close()
            assert process.wait() == 0


@traditional
@both_roles
def test_q_0_leaves_at_once_and_no_reply_is_read(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-q", "0") as (process, peer):
        process.send(b"hi")
        assert take(peer, 2) == b"hi"
        with lasting(0):
            process.close_stdin()
            assert drain(peer) == b""
            assert process.finish().status_and_out == (0, b"")


@traditional
@both_roles
def test_q_is_a_hard_limit_after_stdin(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-q", "1") as (process, peer):
        process.send(b"hi")
        assert take(peer, 2) == b"hi"
        with lasting(1):
            process.close_stdin()
            assert drain(peer) == b""
            peer.sendall(b"reply")
            assert process.finish().status_and_out == (0, b"reply")


@traditional
def test_the_peers_end_comes_before_that_limit(netcat: Netcat) -> None:
    with client(netcat, "-q", "5") as (process, peer), lasting(0):
        process.close_stdin()
        peer.close()
        assert process.wait() == 0


# -- -w ----------------------------------------------------------------------------------------------------------


@openbsd
@every_stream
def test_an_idle_connection_ends_without_a_word(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-w", "1") as (process, peer):
        exchange(process, peer)
        with lasting(1):
            assert process.wait() == 0
        assert not re.search("idle", process.stderr)
        assert drain(peer) == b""


@openbsd
@every_stream
def test_w_0_leaves_at_once(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-w", "0") as (process, peer):
        assert drain(peer) == b""
        assert process.wait() == 0


@openbsd
def test_w_0_sends_what_stdin_has_ready(netcat: Netcat) -> None:
    with pipe() as (reader, writer):
        writer.write(b"ready")
        with client(netcat, "-w", "0", stdin=reader) as (process, peer):
            assert drain(peer) == b"ready"
            assert process.wait() == 0


def test_mended_w_0_sends_a_file_to_its_end(large: IO[bytes]) -> None:
    with client(OPENBSD[1], "-w", "0", stdin=large) as (process, peer):
        assert drain(peer) == MEGABYTES
        assert process.wait() == 0


@traditional
@both_roles
def test_two_silent_periods_after_stdin_are_the_end(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-w", "1") as (process, _), lasting(2):
        process.close_stdin()
        assert process.wait() == 0


@traditional
def test_a_silent_period_counts_whatever_comes_after_it(netcat: Netcat) -> None:
    with client(netcat, "-w", "1") as (process, peer), lasting(2.5):
        process.close_stdin()
        assert lives_on(process.pid, 1.5)
        peer.sendall(b"x")
        assert process.finish().status_and_out == (0, b"x")


@traditional
def test_with_an_open_stdin_there_is_no_such_limit(netcat: Netcat) -> None:
    with client(netcat, "-w", "1") as (process, peer):
        assert lives_on(process.pid, 2.5)
        exchange(process, peer)


# -- -W, -i, -C, -t ----------------------------------------------------------------------------------------------


@openbsd
@every_stream
def test_after_so_many_reads_it_leaves(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-W", "2") as (process, peer):
        peer.sendall(b"a")
        assert process.read(1) == b"a"
        peer.sendall(b"b")
        with lasting(0):
            assert process.wait() == 0
        assert process.finish().out == b"b"


@openbsd
def test_a_read_is_16_kib_of_a_stream_at_most(netcat: Netcat) -> None:
    with client(netcat, "-W", "1") as (process, peer):
        peer.sendall(bytes(40_000))
        assert process.finish().out == bytes(16384)


@openbsd
def test_the_reads_from_all_clients_are_counted_together(netcat: Netcat) -> None:
    with listening(netcat, "-k", "-W", "3") as process:
        for number, reads in enumerate((2, 1, 1), 1):
            with connect(process.port) as peer:
                process.expect(RECEIVED, count=number)
                for _ in range(reads):
                    peer.sendall(b"x")
                    assert process.read(1) == b"x"
                if number == 1:
                    assert nothing_from(peer, WHILE)
                else:
                    assert drain(peer) == b""


@openbsd
def test_one_stdin_goes_to_the_clients_one_after_the_other_and_ends_for_all_later_ones(netcat: Netcat) -> None:
    with listening(netcat, "-k", "-N") as process:
        with connect(process.port) as peer:
            process.send(b"data")
            assert take(peer, 4) == b"data"
            process.close_stdin()
            assert drain(peer) == b""
        for _ in range(2):
            with connect(process.port) as peer, lasting(0):
                assert drain(peer) == b""


@openbsd
def test_there_is_a_pause_after_each_line_and_after_the_last(netcat: Netcat) -> None:
    with client(netcat, "-N", "-i", "1") as (process, peer):
        with lasting(0):
            process.send(b"1\n2\n")
            process.close_stdin()
            assert take(peer, 2) == b"1\n"
        with lasting(1):
            assert take(peer, 2) == b"2\n"
        with lasting(1):
            assert drain(peer) == b""


@traditional
def test_there_is_a_pause_before_the_first_line_and_after_each(netcat: Netcat) -> None:
    with client(netcat, "-i", "1", "-q", "0") as (process, peer):
        with lasting(1):
            process.send(b"1\n2\n")
            process.close_stdin()
            assert take(peer, 2) == b"1\n"
        with lasting(1):
            assert take(peer, 2) == b"2\n"
        with lasting(1):
            assert drain(peer) == b""


@mended
def test_mended_a_pause_does_not_hold_up_what_the_peer_sends(netcat: Netcat) -> None:
    with client(netcat, "-i", "2") as (process, peer), lasting(0):
        process.send(b"1\n2\n")
        exchange(process, peer)


@openbsd
def test_line_ends_become_cr_lf(netcat: Netcat) -> None:
    with client(netcat, "-C", "-N") as (process, peer):
        process.send(b"a\nb\r\nc")
        process.close_stdin()
        assert drain(peer) == b"a\r\nb\r\nc"


@mended
def test_mended_a_cr_lf_in_two_reads_stays(netcat: Netcat) -> None:
    with client(netcat, "-C", "-q", "9") as (process, peer):
        process.send(b"a\r")
        assert take(peer, 2) == b"a\r"
        process.send(b"\n")
        process.close_stdin()
        assert drain(peer) == b"\n"


IAC_IAC_IN_THE_MIDDLE = b"a\xff\xfb\x01b\xff\xfc\x02\xff\xfd\x03\xff\xfe\x04\xff\xffz\r\0\r\n\xff\xfa\x01\x02\xff\xf0!"


@either
def test_negotiation_is_answered_and_stays_where_it_is(netcat: Netcat) -> None:
    with client(netcat, "-t") as (process, peer):
        peer.sendall(IAC_IAC_IN_THE_MIDDLE)
        assert take(peer, 12) == b"\xff\xfe\x01\xff\xfe\x02\xff\xfc\x03\xff\xfc\x04"
        assert process.read(len(IAC_IAC_IN_THE_MIDDLE)) == IAC_IAC_IN_THE_MIDDLE
        process.send(b"\xff!")
        assert take(peer, 2) == b"\xff!"


# -- Datagrams ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sender(netcat: Netcat, *options: str) -> Iterator[Pair]:
    """A client of datagrams, and the socket that has received `hi` from it and answers it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(DEADLINE)
        with netcat.start("-u", *options, "127.0.0.1", str(peer.getsockname()[1])) as process:
            process.send(b"hi")
            data, address = peer.recvfrom(100)
            assert data == b"hi"
            peer.connect(address)
            yield process, peer


@contextlib.contextmanager
def receiver(netcat: Netcat, *options: str) -> Iterator[Pair]:
    """A listener of datagrams, and the socket that has sent `hi` to it."""
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        peer.settimeout(DEADLINE)
        if netcat.real and netcat.traditional:  # it cannot choose its port
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            process = stack.enter_context(netcat.start("-l", "-u", *options, "127.0.0.1", str(port)))
            process.expect("^listening on")
        else:
            process = stack.enter_context(listening(netcat, "-u", *options))
            port = process.port
        peer.connect(("127.0.0.1", port))
        peer.send(b"hi")
        assert process.read(2) == b"hi"
        yield process, peer


roles_of_datagrams = pytest.mark.parametrize("role", [sender, receiver])


@either
@roles_of_datagrams
def test_after_stdin_datagrams_are_received_for_ever(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        process.close_stdin()
        for _ in range(2):
            assert lives_on(process.pid, 0.7)
            peer.send(b"more")
            assert process.read(4) == b"more"


@mended
@roles_of_datagrams
def test_mended_an_empty_datagram_is_no_end(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        peer.send(b"")
        peer.send(b"more")
        assert process.read(4) == b"more"


@mended
@roles_of_datagrams
def test_mended_a_datagram_is_received_whole(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        peer.send(PAYLOAD(65_507))
        assert process.read(65_507) == PAYLOAD(65_507)


@either
@roles_of_datagrams
def test_a_refusal_is_an_end(netcat: Netcat, role: Role) -> None:
    with role(netcat) as (process, peer):
        peer.close()
        with contextlib.suppress(BrokenPipeError):
            process.send(b"nobody is there")
            assert lives_on(process.pid, WHILE) is False
        assert process.wait() == 0
        assert not re.search("refused", process.stderr)


@either
@roles_of_datagrams
@pytest.mark.parametrize("seconds", [0, 1])
def test_q_ends_datagrams_so_long_after_stdin(netcat: Netcat, role: Role, seconds: int) -> None:
    with role(netcat, "-q", str(seconds)) as (process, peer), lasting(seconds):
        process.close_stdin()
        if seconds:
            assert lives_on(process.pid, WHILE)
            peer.send(b"late")
        late = b"late" if seconds and netcat.traditional else b""
        assert process.finish().status_and_out == (0, late)


@either
@roles_of_datagrams
def test_w_ends_silent_datagrams(netcat: Netcat, role: Role) -> None:
    with role(netcat, "-w", "1") as (process, _), lasting(2 if netcat.traditional else 1):
        process.close_stdin()
        assert process.wait() == 0


@openbsd
def test_what_comes_while_a_listener_of_datagrams_waits_for_its_end_is_refused(netcat: Netcat) -> None:
    with receiver(netcat, "-q", "1") as (process, peer):
        process.close_stdin()
        assert lives_on(process.pid, WHILE)
        with pytest.raises(ConnectionRefusedError):
            peer.send(b"late")
            peer.recv(1)


@openbsd
@roles_of_datagrams
def test_after_so_many_datagrams_it_leaves(netcat: Netcat, role: Role) -> None:
    reads = "1" if role is sender else "2"
    with role(netcat, "-W", reads) as (process, peer):
        peer.send(b"the last")
        assert process.wait() == 0
        assert process.finish().out == b"the last"


# -- Unix datagrams ----------------------------------------------------------------------------------------------


@openbsd
def test_a_listener_of_unix_datagrams_stays_and_answers(netcat: Netcat, tmp_path: Path) -> None:
    path, own = tmp_path / "socket", tmp_path / "own"
    with listening(netcat, "-u", path=path) as process, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(str(own))
        peer.settimeout(DEADLINE)
        peer.connect(str(path))
        peer.send(b"hi")
        assert process.read(2) == b"hi"
        process.send(b"hello")
        assert peer.recv(100) == b"hello"
        process.close_stdin()
        peer.send(b"more")
        assert process.read(4) == b"more"


@openbsd
def test_a_client_of_unix_datagrams_stays_when_the_path_is_closed(netcat: Netcat, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(str(tmp_path / "socket"))
        peer.settimeout(DEADLINE)
        with netcat.start("-u", "-U", str(tmp_path / "socket")) as process:
            process.send(b"hi")
            assert peer.recv(100) == b"hi"
            peer.close()
            process.send(b"into nothing")
            assert lives_on(process.pid, WHILE)


@openbsd
@pytest.mark.parametrize("option", ["-q", "-w"])
def test_mended_it_leaves_by_q_and_by_w_without_a_word(netcat: Netcat, option: str, tmp_path: Path) -> None:
    path, own = tmp_path / "socket", tmp_path / "own"
    fails = netcat.real and option == "-w"  # to disconnect itself
    with (
        listening(netcat, "-u", option, "1", path=path) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(str(own))
        peer.connect(str(path))
        peer.send(b"hi")
        assert process.read(2) == b"hi"
        with lasting(1):
            process.close_stdin()
            assert process.wait() == int(fails)
        assert ("Invalid argument" in process.stderr) == fails


# -- Several ports, and logs -------------------------------------------------------------------------------------


def several(netcat: Netcat, *options: str, stdin: bytes) -> tuple[list[bytes], Result]:
    """What each of two ports is sent, the second after the first, and how it ends."""
    got = []
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [str(server.getsockname()[1]) for server in servers]
        process = stack.enter_context(netcat.start(*options, "127.0.0.1", *ports))
        with contextlib.suppress(BrokenPipeError):
            process.send(stdin)
        for server in servers:
            server.settimeout(DEADLINE)
            with server.accept()[0] as peer:
                peer.settimeout(DEADLINE)
                got.append(take(peer, min(len(stdin), 8192)))
                peer.sendall(b"x")
                assert nothing_from(peer, WHILE), "neither more of stdin nor its end"
        return got, process.finish()


@traditional
@pytest.mark.parametrize("size", [5, 8192, 20_000])
@pytest.mark.parametrize("options", [[], ["-q", "0"]], ids=" ".join)
def test_each_of_several_ports_is_sent_stdins_first_read_and_nothing_more(
    netcat: Netcat, options: list[str], size: int
) -> None:
    data = PAYLOAD(size)
    got, result = several(netcat, *options, stdin=data)
    assert got == [data[:8192]] * 2
    assert result == Result(0, b"xx", "")


@traditional
def test_the_offsets_of_a_dump_run_on_over_all_ports(netcat: Netcat, tmp_path: Path) -> None:
    log = tmp_path / "log"
    several(netcat, "-o", str(log), stdin=b"hello")
    assert [line.partition("#")[0].split()[:2] for line in log.read_text().splitlines()] == [
        [">", "00000000"],
        ["<", "00000000"],
        [">", "00000005"],
        ["<", "00000001"],
    ]


@traditional
def test_a_dump_has_stdin_as_it_was_read(netcat: Netcat, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with client(netcat, "-C", "-o", str(log)) as (process, peer):
        process.send(b"a\n")
        assert take(peer, 3) == b"a\r\n"
        peer.close()
        assert process.wait() == 0
    assert log.read_text() == f"> 00000000 {'61 0a':48}# a.\n"


@pytest.mark.parametrize(
    ("netcat", "seconds", "goes_on"),
    [
        *((netcat, "0", True) for netcat in OPENBSD),
        *((netcat, "1", False) for netcat in OPENBSD),
        *((netcat, "0", False) for netcat in TRADITIONAL),
    ],
)
def test_q_ends_all_ports_where_it_is_a_timer(netcat: Netcat, seconds: str, goes_on: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [str(server.getsockname()[1]) for server in (first, second)]
        with netcat.start("-q", seconds, "127.0.0.1", *ports) as process:
            with first.accept()[0] as peer:
                process.close_stdin()
                assert drain(peer) == b""
            if goes_on:
                with second.accept()[0] as peer:
                    assert drain(peer) == b""
            assert process.wait() == 0
            assert nothing_from(second)
