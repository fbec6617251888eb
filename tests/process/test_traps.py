"""What other netcats get wrong, and pync must not: each test is named after a row of the list of traps.

The rows are numbered as in the list of faults found in nc.openbsd, Ncat and nc.traditional that pync was written
against; those here concern its plain engine. After them: what else goes wrong in scripts, under cron and in loops.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import DEADLINE, DEVNULL, PAYLOAD, PYNC, Running, announced, connect, free_port, listen, pync, require, run
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
    from typing import IO, Any

    from pairs import Pair

    Role = Callable[..., AbstractContextManager[Pair]]

SMALL = PAYLOAD(300_000)
LARGE = PAYLOAD(3_000_000)
either_way = pytest.mark.usefixtures("either_way")
in_both_roles = pytest.mark.parametrize("role", [client, listener])
HUGE = PAYLOAD(12_000_000)  # more than a queue and the buffers of two sockets hold


@pytest.fixture
def large(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A regular file."""
    (tmp_path / "large").write_bytes(LARGE)
    with (tmp_path / "large").open("rb") as file:
        yield file


@contextlib.contextmanager
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Both ends of a pipe, unbuffered."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        yield reader, writer


@contextlib.contextmanager
def at_the_same_time(work: Callable[[], object]) -> Iterator[None]:
    """Runs `work` in a thread, which must be through at the end."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(DEADLINE)
    assert not thread.is_alive()


# -- Data loss and false success ---------------------------------------------------------------------------------


@in_both_roles
def test_01_a_reset_by_the_peer_is_a_failure(role: Role) -> None:
    with role() as (process, peer):
        reset(peer)
        assert process.wait() == 1
        assert complaints(process)[0].endswith(": Connection reset by peer")


@either_way
@in_both_roles
def test_02_a_peer_that_closes_during_an_upload_is_a_failure_that_says_what_was_unsent(
    role: Role, large: IO[bytes]
) -> None:
    os.truncate(large.name, 50_000_000)
    with role(stdin=large) as (process, peer):
        take(peer, 1000)
        peer.close()
        assert process.wait() == 1
        (line,) = complaints(process)
    assert re.search(r", \d{8} bytes were not sent$", line)


@either_way
@in_both_roles
def test_03_a_full_stdout_is_told_and_the_net_is_not_read_on(role: Role) -> None:
    def send() -> None:
        with pytest.raises(OSError, match="reset|Broken pipe"):
            while True:
                peer.sendall(SMALL)

    with open("/dev/full", "wb") as full, role(stdout=full) as (process, peer), at_the_same_time(send):
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: No space left on device"]


def test_04_a_listener_sends_all_of_its_stdin_to_a_client_that_half_closed(large: IO[bytes]) -> None:
    with listener(stdin=large) as (process, peer):
        peer.sendall(b"GET\n")
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b"GET\n"
        assert drain(peer) == LARGE
        assert process.wait() == 0


def test_04_a_slow_producer_is_heard_out() -> None:
    with listener() as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b""
        assert nothing_from(peer, 1)
        process.send(b"here it is")
        process.close_stdin()
        assert drain(peer) == b"here it is"
        assert process.wait() == 0


@in_both_roles
def test_05_an_idle_limit_that_cuts_a_transfer_is_a_failure(role: Role, large: IO[bytes]) -> None:
    os.truncate(large.name, 50_000_000)
    with role("-w", "0.5", stdin=large) as (process, peer):
        assert process.wait() == 124
        assert complaints(process) == ["pync: idle connection: nothing came or went for 0.5 s"]
        assert 0 < len(drain_or_lose(peer)) < 50_000_000


def drain_or_lose(peer: socket.socket) -> bytes:
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
        assert process.finish()[:2] == (0, SMALL)


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
            assert (question, process.finish()) == (b"question", (0, b"answer", ""))


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
        with role(stdout=writer) as (process, peer), at_the_same_time(lambda: send_all(peer, LARGE)):
            assert lives_on(process.pid, 0.5)
            writer.close()
            process.close_stdin()
            assert reader.read() == LARGE
            assert process.wait() == 0


def send_all(peer: socket.socket, data: bytes) -> None:
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


@in_both_roles
def test_15_who_only_sends_notices_that_the_peer_has_left(role: Role) -> None:
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
def test_15_who_only_sends_throws_away_what_comes(role: Role, large: IO[bytes]) -> None:
    def send() -> None:
        with contextlib.suppress(OSError):  # it leaves when it has sent everything
            peer.sendall(HUGE)

    with role("--send-only", stdin=large) as (process, peer), at_the_same_time(send):
        assert drain(peer) == LARGE
        assert process.finish()[:2] == (0, b"")


@in_both_roles
def test_16_a_line_end_cut_in_two_reads_is_one(role: Role) -> None:
    with role("-C") as (process, peer):
        for part, sent in (b"a\r", b"a\r"), (b"\n", b"\n"), (b"b\n", b"b\r\n"), (b"\n", b"\r\n"), (b"c\r\n", b"c\r\n"):
            process.send(part)
            assert take(peer, len(sent)) == sent
        process.close_stdin()
        assert drain(peer) == b""


def test_20_what_stdin_brings_goes_to_all_clients_and_waits_for_the_next_if_there_is_none() -> None:
    with listen("-k", "127.0.0.1", "0") as process:
        with connect(process.port) as one, connect(process.port) as other:
            process.expect("^Connection received", count=2)
            process.send(b"for both")
            assert (take(one, 8), take(other, 8)) == (b"for both", b"for both")
            reset(one)
            reset(other)
            process.expect("^pync: connection to .* reset", count=2)
        process.send(b"for the next")
        with connect(process.port) as late:
            assert take(late, 12) == b"for the next"


# -- Hangs and processes that never end --------------------------------------------------------------------------


def test_21_the_end_of_stdin_ends_both_sides(large: IO[bytes]) -> None:
    with listen("127.0.0.1", "0", stdin=DEVNULL) as receiver:
        assert run([*PYNC, "127.0.0.1", str(receiver.port)], large).status == 0
        assert receiver.finish()[:2] == (0, LARGE)


@in_both_roles
def test_22_a_peer_that_has_left_is_not_outlived_by_an_open_stdin(role: Role) -> None:
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
        process.close_stdin()
        since = time.monotonic()
        assert drain(peer) == b"data"
        assert process.wait() == 0
        assert int(seconds) - 0.2 <= time.monotonic() - since < int(seconds) + 5


@pytest.mark.parametrize(("option", "status"), [("-q", 0), ("-w", 124)])
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


def test_28_a_client_too_many_does_not_end_the_listener() -> None:
    with listen("-k", "--max-conns", "1", "127.0.0.1", "0") as process:
        with connect(process.port) as first:
            exchange(process, first)
            with connect(process.port) as second:
                assert second.recv(1) == b""
            exchange(process, first)
        process.expect(r"denied: connection limit reached \(1\)")
        assert process.stderr.count("denied: ") == 1


def test_30_an_idle_client_blocks_nobody() -> None:
    with listen("-k", "127.0.0.1", "0") as process, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(process.port))
        with connect(process.port) as busy:
            exchange(process, busy)


def test_31_a_client_that_does_not_read_is_cut_off_and_the_others_get_all() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as idle, connect(process.port) as good:
        process.expect("^Connection received", count=2)
        with at_the_same_time(lambda: process.send(HUGE)):
            assert take(good, len(HUGE)) == HUGE
        process.expect(f"^pync: connection to .*{idle.getsockname()[1]}: cut off: it takes nothing")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


@either_way
@in_both_roles
def test_32_a_slow_reader_of_stdout_does_not_stop_what_is_sent(role: Role) -> None:
    with pipe() as (reader, writer), role(stdout=writer) as (process, peer):
        peer.setblocking(False)
        while select.select([], [peer], [], 0.3)[1]:
            peer.send(SMALL)
        peer.settimeout(DEADLINE)
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
        process.send(b"one\ntwo\nthree")
        process.close_stdin()
        assert take(peer, 4) == b"one\n"
        since = time.monotonic()
        assert drain(peer) == b"two\nthree"
        assert time.monotonic() - since > 0.5


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
def test_36_a_program_that_does_not_look_is_ended_when_its_client_resets(program: str) -> None:
    with listener(program, "echo $$; exec sleep 60") as (process, peer):
        pid = int(peer.recv(100))
        reset(peer)
        assert process.wait() == 1
        assert not lives_on(pid, 0)


# -- Surprising or dangerous -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["-l 70000", "-l -p 65537", "-p 65537 localhost 80", "localhost 65536"])
def test_40_a_port_that_does_not_exist_is_refused(line: str) -> None:
    result = run([*PYNC, *line.split()], DEVNULL)
    assert result.status == 2
    assert "port: too large: " in result.err


def test_41_a_listener_takes_its_port_by_option_and_its_address_as_operand() -> None:
    with listen("-p", "0", "127.0.0.1") as process, connect(process.port) as peer:
        assert process.stderr.startswith("Listening on 127.0.0.1 ")
        exchange(process, peer)


@pytest.mark.parametrize("option", [("-s", "192.0.2.1"), ("-p", "{busy}")], ids=["-s", "-p"])
def test_44_our_own_end_is_what_was_asked_for_or_nothing(option: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as holder:
        words = [word.format(busy=holder.getsockname()[1]) for word in option]
        result = run([*PYNC, *words, "127.0.0.1", str(server.getsockname()[1])], b"data")
        assert result.status == 1
        assert re.fullmatch(r"pync: bind to .*: (Cannot assign requested address|Address already in use)\n", result.err)
        assert not select.select([server], [], [], 0)[0]


@pytest.mark.parametrize("signum", [None, signal.SIGTERM, signal.SIGINT])
def test_47_a_unix_datagram_client_leaves_nothing_behind(signum: int | None, tmp_path: Path) -> None:
    path, temporary = tmp_path / "server", tmp_path / "temporary"
    temporary.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(DEADLINE)
        environment = {**os.environ, "TMPDIR": str(temporary)}
        with pync("-uU", str(path), cwd=temporary, env=environment) as process:
            process.send(b"question")
            question, peer = server.recvfrom(100)
            server.sendto(b"answer", peer)
            assert process.read(6) == b"answer"
            if signum:
                process.signal(signum)
            process.close_stdin()
            assert process.wait() == (128 + signum if signum else 0)
    assert question == b"question"
    assert list(temporary.iterdir()) == []


@in_both_roles
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_48_no_socket_lands_on_a_closed_descriptor(role: Role, closed: str) -> None:
    with role(start=through(f'exec "$@" {closed}')) as (process, peer):
        peer.sendall(b"secret")
        if "<" not in closed:
            process.send(b"sent")
            process.close_stdin()
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == (b"" if "<" in closed else b"sent")
        assert process.finish()[:2] == (0, b"" if ">" in closed else b"secret")


def test_48_no_socket_lands_on_a_closed_stderr() -> None:
    with client("-v", start=through('exec "$@" <&- 2>&-')) as (process, peer):
        peer.sendall(b"secret")
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == b""
        assert process.finish() == (0, b"secret", "")


def test_48_errors_without_a_stderr_are_seen_in_the_status() -> None:
    with free_port() as port:
        script = 'exec "$@" <&- >&- 2>&-'
        with through(script)("127.0.0.1", str(port)) as process:
            assert process.wait() == 1


@pytest.mark.parametrize("program", ["--sh-exec", "--filter"])
def test_49_a_program_gets_no_descriptor_but_its_own(program: str) -> None:
    command = "ls -m /proc/$$/fd; grep SigIgn /proc/$$/status; read wait"
    with contextlib.ExitStack() as stack:
        inherited = stack.enter_context(pipe())[0].fileno()
        options = ("-k", program, command, "127.0.0.1", "0")
        process = stack.enter_context(listen(*options, stdin=DEVNULL, pass_fds=[inherited]))
        for _ in range(2):  # the first client is still there when the second one comes
            lines = stack.enter_context(connect(process.port)).makefile()
            assert lines.readline() == "0, 1, 2\n"
            assert not int(lines.readline().split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_51_clients_beyond_the_descriptors_wait_until_there_is_one() -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(announced(through('ulimit -n 32; exec "$@"')("-vlk", "127.0.0.1", "0")))
        crowd = [stack.enter_context(connect(process.port)) for _ in range(40)]
        process.expect("^pync: accepting clients pauses: Too many open files$")
        crowd[-1].sendall(b"here\n")
        for early in crowd[:-1]:
            reset(early)
        assert process.read(5) == b"here\n"


@pytest.mark.parametrize(
    ("line", "hint"), [("8080", "'pync -l 8080' listens"), ("-l", "as in 'pync -l 8080'"), ("-d 5 host 80", "--delay")]
)
def test_57_a_command_line_that_lacks_something_is_answered_with_what(line: str, hint: str) -> None:
    result = run([*PYNC, *line.split()], DEVNULL)
    assert result.status == 2
    assert hint in result.err


def test_57_programs_are_found_in_the_path_and_a_backslash_quotes() -> None:
    with listener("--exec", r"echo it\ \ is 'said'") as (process, peer):
        assert drain(peer) == b"it  is 'said'\n"
        peer.close()
        assert process.wait() == 0


@in_both_roles
def test_58_a_program_that_cannot_be_run_is_not_a_success(role: Role) -> None:
    with role("--exec", "/nonexistent/program") as (process, peer):
        assert peer.recv(1) == b""
        assert process.wait() == 127
        assert complaints(process) == ["pync: /nonexistent/program: No such file or directory"]


def test_59_a_timeout_is_called_nothing_else() -> None:
    with stuck_port() as port:
        result = run([*PYNC, "-v", "-w", "0.3", "127.0.0.1", str(port)], DEVNULL)
        assert result == (124, b"", f"pync: connect to 127.0.0.1 port {port} (tcp): timed out\n")


def test_60_a_refused_connection_is_told_without_being_asked(tmp_path: Path) -> None:
    with free_port() as port:
        for goal in (["127.0.0.1", str(port)], ["-U", str(tmp_path / "nobody")]):
            result = run([*PYNC, *goal], DEVNULL)
            assert (result.status, result.err.count("\n")) == (1, 1)


def test_62_reads_are_counted_for_each_client() -> None:
    with listen("-k", "-W", "2", "127.0.0.1", "0", stdin=DEVNULL) as process:
        for _ in range(3):
            with connect(process.port) as peer:
                for byte in b"a", b"b":
                    peer.sendall(byte)
                    assert process.read(1) == byte
                assert drain(peer) == b""


def test_62_a_conversation_is_over_after_so_many_reads() -> None:
    with client("-W", "1") as (process, peer):
        peer.sendall(b"only")
        assert process.read_all() == b"only"
        assert process.wait() == 0


def test_63_a_port_has_one_listener() -> None:
    with listen("127.0.0.1", "0") as process:
        result = run([*PYNC, "-l", "127.0.0.1", str(process.port)], DEVNULL)
        assert result == (1, b"", f"pync: listen on 127.0.0.1:{process.port}: Address already in use\n")


@pytest.mark.parametrize("answered", [True, False], ids=["half-closed", "open"])
@pytest.mark.parametrize(
    "how",
    [
        {"options": ["--no-shutdown"], "stdin": DEVNULL},
        {"options": ["-d"]},
        {"options": ["--recv-only"], "stdin": DEVNULL},
        {"options": [], "stdin": DEVNULL},
        {"options": [], "start": through('exec "$@" <&-')},
    ],
    ids=["no-shutdown", "d", "recv-only", "null", "closed"],
)
def test_64_a_listener_without_input_receives_everything(how: dict[str, Any], answered: bool) -> None:
    options, kw = how["options"], {key: value for key, value in how.items() if key != "options"}
    with listener(*options, **kw) as (process, peer):
        peer.sendall(LARGE)
        assert process.read(len(LARGE)) == LARGE
        assert nothing_from(peer)
        peer.sendall(b"more")
        if answered:
            peer.shutdown(socket.SHUT_WR)
            assert drain(peer) == b""
        else:
            peer.close()
        assert process.read_all() == b"more"
        assert process.wait() == 0


IAC, SE, SB, WILL, WONT, DO, DONT = b"\xff", b"\xf0", b"\xfa", b"\xfb", b"\xfc", b"\xfd", b"\xfe"


@in_both_roles
def test_65_telnet_commands_are_refused_and_taken_out_however_they_are_cut(role: Role) -> None:
    said = (
        b"lo"
        + IAC
        + DO
        + b"\x01"
        + b"gi"
        + IAC
        + SB
        + b"\x18\x01"
        + IAC
        + SE
        + b"n"
        + IAC
        + IAC
        + IAC
        + WILL
        + b"\x03: "
    )
    with role("-t") as (process, peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(said)):
            peer.sendall(said[position : position + 1])
        assert process.read_until(b": ") == b"login\xff: "
        assert take(peer, 6) == IAC + WONT + b"\x01" + IAC + DONT + b"\x03"
        process.send(b"me\xff\n")
        assert take(peer, 5) == b"me\xff\xff\n"


def test_69_a_hex_dump_runs_on_and_tells_the_direction(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with client("--hex-dump", str(log)) as (process, peer):
        exchange(process, peer)
        process.send(b"sent")
        process.close_stdin()
        assert drain(peer) == b"sent"
        peer.close()
        assert process.wait() == 0
    assert [line.split()[:3] for line in log.read_text().splitlines()] == [
        ["<", "00000000", "31"],
        ["<", "00000002", "32"],
        ["<", "00000004", "33"],
        [">", "00000000", "73"],
    ]


def test_72_a_listener_listens_in_both_families() -> None:
    with listen("-k", "0") as process:
        assert process.expect(r"^Listening on 0\.0\.0\.0 (\d+)$")[1] == str(process.port)
        for host in "127.0.0.1", "::1":
            with connect(process.port, host) as peer:
                exchange(process, peer)


def test_72_a_listener_listens_at_all_addresses_of_a_name() -> None:
    addresses = {item[4][0] for item in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    with listen("-k", "localhost", "0") as process:
        process.expect("^Listening on ", count=len(addresses))
        for host in addresses:
            with connect(process.port, str(host)) as peer:
                exchange(process, peer)


def test_73_the_end_of_stdin_reaches_every_client_also_those_who_come_later() -> None:
    with listen("-k", "127.0.0.1", "0") as process, connect(process.port) as early:
        process.expect("^Connection received")
        process.send(b"data")
        process.close_stdin()
        assert drain(early) == b"data"
        for _ in range(2):
            with connect(process.port) as late:
                exchange(process, late)
                assert drain(late) == b""
                exchange(process, late)
        exchange(process, early)


# -- Inherited descriptors ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def terminal() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A pseudo-terminal: its master and its slave."""
    master, slave = pty.openpty()
    with os.fdopen(master, "wb", 0) as keyboard, os.fdopen(slave, "r+b", 0) as screen:
        yield keyboard, screen


@contextlib.contextmanager
def socket_pair() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Two connected sockets as files."""
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
def test_a_conversation_with_a_stalled_peer_or_reader_uses_no_processor_time(role: Role, large: IO[bytes]) -> None:
    os.truncate(large.name, 50_000_000)
    with pipe() as (_, stdout), role(stdin=large, stdout=stdout) as (process, peer):
        peer.setblocking(False)
        while select.select([], [peer], [], 0.3)[1]:
            peer.send(SMALL)
        assert cpu_while_waiting(process) < 0.1


@in_both_roles
def test_a_reader_of_stdout_that_left_uses_no_processor_time_while_nothing_comes(role: Role) -> None:
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
        assert run([*PYNC, "127.0.0.1", port], DEVNULL)[:2] == (0, b"round 0\n")
    loop = 'for round in 1 2 3; do echo round $round | "$@" || exit; done'
    with Running(["sh", "-c", loop, "sh", *PYNC, "-q", "0", "-l", "127.0.0.1", port]) as server:
        for number in range(1, 4):
            result = run([*PYNC, "--retry", "10", "127.0.0.1", port], DEVNULL)
            assert (result.status, result.out) == (0, b"round %d\n" % number)
        assert server.finish() == (0, b"", "")


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
            assert pipeline.finish() == (0, b"line\n141 0\n", "")
