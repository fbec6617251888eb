"""Traps of other netcats: what surprises their users, or is dangerous, from options to inherited descriptors.

Each test is named after a row of the list of faults found in nc.openbsd, Ncat and nc.traditional that pync was written
against. Its other rows are in test_traps_data_loss.py and test_traps_hangs.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from clients import drain, reset, take
from harness import DEADLINE, DEVNULL, PYNC, announced, connect, failure, free_port, listen, pync, run, success
from pairs import client, complaints, exchange, listener, nothing_from, pipe, stuck_port, through
from roles import MEGABYTES, in_both_roles

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from roles import Role


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
        if ">" not in closed:
            peer.sendall(b"secret")
        if "<" not in closed:
            process.send(b"sent")
            process.close_stdin()
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == (b"" if "<" in closed else b"sent")
        assert process.finish().status_and_out == (0, b"" if ">" in closed else b"secret")


@in_both_roles
@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
@pytest.mark.parametrize("options", [(), ("-C",)])
def test_48_what_comes_for_a_closed_stdout_is_an_error(role: Role, closed: str, options: tuple[str, ...]) -> None:
    with role(*options, start=through(f'exec "$@" {closed}')) as (process, peer):
        peer.sendall(bytes(5000))
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: Bad file descriptor"]


def test_48_what_comes_for_the_closed_stdout_of_a_server_ends_it() -> None:
    with announced(through('exec "$@" >&-')("-v", "-lk", "127.0.0.1", "0")) as process, connect(process.port) as peer:
        peer.sendall(b"secret")
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: Bad file descriptor"]


@in_both_roles
def test_48_what_comes_for_a_stdout_that_is_dev_null_is_dropped(role: Role) -> None:
    with role(start=through('exec "$@" >/dev/null')) as (process, peer):
        peer.sendall(bytes(5000))
        peer.shutdown(socket.SHUT_WR)
        assert process.finish().status_and_out == (0, b"")
        assert complaints(process) == []


def test_48_no_socket_lands_on_a_closed_stderr() -> None:
    with client("-v", start=through('exec "$@" <&- 2>&-')) as (process, peer):
        peer.sendall(b"secret")
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer) == b""
        assert process.finish() == success(b"secret")


def test_48_errors_without_a_stderr_show_in_the_status() -> None:
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
        for _ in range(2):  # the first client is still connected when the second one is
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
def test_57_a_command_line_that_lacks_something_is_answered_with_a_hint(line: str, hint: str) -> None:
    result = run([*PYNC, *line.split()], DEVNULL)
    assert result.status == 2
    assert hint in result.err


def test_57_programs_are_found_in_the_path_and_their_words_are_quoted_as_for_a_shell() -> None:
    with listener("--exec", r"echo it\ \ is 'said'") as (process, peer):
        assert drain(peer) == b"it  is said\n"
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
        assert result == failure(f"connect to 127.0.0.1 port {port} (tcp): timed out", status=124)


def test_60_a_refused_connection_is_reported_without_an_option(tmp_path: Path) -> None:
    with free_port() as port:
        for goal in (["127.0.0.1", str(port)], ["-U", str(tmp_path / "missing")]):
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


def test_62_a_conversation_ends_after_the_given_number_of_reads() -> None:
    with client("-W", "1") as (process, peer):
        peer.sendall(b"only")
        assert process.read_all() == b"only"
        assert process.wait() == 0


def test_63_a_port_has_one_listener() -> None:
    with listen("127.0.0.1", "0") as process:
        result = run([*PYNC, "-l", "127.0.0.1", str(process.port)], DEVNULL)
        assert result == failure(f"listen on 127.0.0.1:{process.port}: Address already in use")


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
        peer.sendall(MEGABYTES)
        assert process.read(len(MEGABYTES)) == MEGABYTES
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
def test_65_telnet_commands_are_refused_and_removed_however_they_are_divided(role: Role) -> None:
    sent = b"".join(
        [
            *(b"lo", IAC, DO, b"\x01"),
            *(b"gi", IAC, SB, b"\x18\x01", IAC, SE),
            *(b"n", IAC, IAC, IAC, WILL, b"\x03"),
            b": ",
        ]
    )
    with role("-t") as (process, peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(sent)):
            peer.sendall(sent[position : position + 1])
        assert process.read_until(b": ") == b"login\xff: "
        assert take(peer, 6) == IAC + WONT + b"\x01" + IAC + DONT + b"\x03"
        process.send(b"me\xff\n")
        assert take(peer, 5) == b"me\xff\xff\n"


@in_both_roles
def test_telnets_line_ends_are_received_as_newlines_however_they_are_divided(role: Role) -> None:
    sent = b"ready\r\n 50%\r\x00100%\r" + IAC + WONT + b"\x01\n> \r"
    with role("-t") as (process, peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(sent)):
            peer.sendall(sent[position : position + 1])
        assert process.read_until(b"> ") == b"ready\n 50%\r100%\n> "
        process.close_stdin()
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b"\r"
        assert process.wait() == 0


def test_a_filter_reads_telnets_lines_as_lines() -> None:
    with listen("-t", "--filter", "wc -lc", "127.0.0.1", "0") as process, connect(process.port) as peer:
        peer.sendall(b"one\r\ntwo\r\n")
        peer.shutdown(socket.SHUT_WR)
        assert drain(peer).split() == [b"2", b"8"]


def test_69_a_hex_dump_counts_on_and_shows_the_direction(tmp_path: Path) -> None:
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


def test_73_the_end_of_stdin_reaches_every_client_also_later_ones() -> None:
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
