"""Programs on a connection, in the installed pync: --filter answers as it reads, --exec and --sh-exec serve.

A child must be reaped, must get no descriptor but its own three, and must not outlive its client. What it answered
must arrive, whatever the client still sends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest
from clients import ask, datagrams, drain, is_true, line, meanwhile, pour, reset, take, watched
from harness import DEADLINE, DEVNULL, PAYLOAD, PYNC, Running, connect, failure, listen, require, run, serve, success

if TYPE_CHECKING:
    from pathlib import Path

UPPER = ("--filter", "tr a-z A-Z", "0")
MEGABYTE = 1 << 20
POURED = 8 * MEGABYTE  # more than two sockets and a pipe hold

# A program that sends its process id, and that neither HUP nor TERM ends.
STUBBORN = "trap '' HUP TERM; echo $$; exec sleep 60"


# -- A filter answers as it reads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [[*PYNC], ["nc.openbsd"], ["ncat"], ["socat", "-"]], ids=lambda argv: argv[-1][-8:])
def test_every_line_is_answered_before_the_end_of_file(client: list[str]) -> None:
    if client != PYNC:
        require(client[0])
    with listen(*UPPER) as server:
        where = [f"TCP:127.0.0.1:{server.port}"] if client[0] == "socat" else ["127.0.0.1", str(server.port)]
        with Running([*client, *where]) as talker:
            for word in (b"one", b"two", b"three"):
                talker.send(word + b"\n")
                assert talker.read_until(b"\n") == word.upper() + b"\n"
            if client[0] != "nc.openbsd":  # which half-closes only with -N
                assert talker.finish().status == 0
        assert server.finish().status_and_out == (0, b"")


def test_telnet_talks_to_a_filter_line_by_line() -> None:
    with listen(*UPPER) as server, Running([require("telnet"), "127.0.0.1", str(server.port)]) as talker:
        talker.read_until(b"Escape character is '^]'.")
        for word in (b"one", b"two"):
            talker.send(word + b"\n")
            talker.read_until(word.upper())


def test_printf_into_pync_gets_its_answer_and_ends_by_itself() -> None:
    with listen(*UPPER) as server:
        assert run([*PYNC, "localhost", str(server.port)], b"a\nb") == success(b"A\nB")
        assert server.wait() == 0


def test_a_client_that_sends_no_newline_and_waits_gets_its_answer() -> None:
    with listen(*UPPER) as server, connect(server.port) as conn:
        conn.sendall(b"Hello World")
        assert take(conn, 11) == b"HELLO WORLD"
        conn.sendall(b"!")
        assert take(conn, 1) == b"!"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("sed s/a/b/", b"b\n"),
        ("sed -n p", b"a\n"),
        ("grep a", b"a\n"),
        ("gawk '{print NR, $0}'", b"1 a\n"),
        ("perl -pe 'tr/a/z/'", b"z\n"),
        (f"{sys.executable} -c 'import sys\nfor line in sys.stdin: print(line.upper(), end=str())'", b"A\n"),
        ("cut -c 1", b"a\n"),
        ('while read -r word; do echo "<$word>"; done', b"<a>\n"),
    ],
    ids=lambda value: value.split()[0].rpartition("/")[2] if isinstance(value, str) else "",
)
def test_programs_answer_line_by_line(command: str, answer: bytes) -> None:
    if command.startswith(("gawk", "perl")):
        require(command.split()[0])
    with listen("--filter", command, "0") as server, connect(server.port) as conn:
        conn.sendall(b"a\n")
        assert line(conn) == answer
        conn.sendall(b"a\n")
        assert line(conn) == answer.replace(b"1", b"2")
        conn.shutdown(socket.SHUT_WR)
        assert drain(conn) == b""
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("sort", b"a\nb\nc\n"),
        ("wc -c", b"6\n"),
        ("sha256sum", hashlib.sha256(b"c\na\nb\n").hexdigest().encode() + b"  -\n"),
        ("tac", b"b\na\nc\n"),
        ("cat >/dev/null; sleep 1; echo late", b"late\n"),
        ("cat; exit 7", b"c\na\nb\n"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_programs_that_answer_at_the_end_of_file_are_waited_for(command: str, answer: bytes) -> None:
    with listen("--filter", command, "0") as server:
        assert run([*PYNC, "127.0.0.1", str(server.port)], b"c\na\nb\n") == success(answer)
        assert server.wait() == (7 if "exit 7" in command else 0)


@pytest.mark.parametrize("client", [[*PYNC], ["nc.openbsd", "-N"]], ids=["pync", "openbsd"])
def test_every_byte_of_a_large_transfer_comes_back_from_a_filter(client: list[str]) -> None:
    if client != PYNC:
        require(client[0])
    payload = PAYLOAD(20 * MEGABYTE)
    with listen(*UPPER) as server:
        result = run([*client, "127.0.0.1", str(server.port)], payload)
        assert (result.status, result.err) == (0, "")
        assert result.out == payload.upper()
        assert server.wait() == 0


def test_a_filters_terminal_changes_no_byte() -> None:
    every = bytes(range(256)) * 3 + b"\x04\x03\x1a\r\n\n\xff\x00"
    with listen("--filter", "cat", "0") as server:
        assert ask(server.port, every) == every


def test_a_filter_that_exits_early_ends_the_conversation() -> None:
    with listen("--filter", "head -n 1", "0") as server, connect(server.port) as conn:
        conn.sendall(b"first\nsecond\n")
        assert drain(conn) == b"first\n"
        conn.close()
        assert server.wait() == 0


def test_a_filter_that_exits_early_answers_a_client_that_pours() -> None:
    with listen("--filter", "head -n 1", "0") as server, connect(server.port) as conn:
        conn.sendall(b"first\n")
        with meanwhile(pour, conn):
            assert line(conn) == b"first\n"
            assert server.wait() == 0


def test_a_filter_that_never_reads_answers_a_client_that_sends_megabytes() -> None:
    with listen("--filter", "echo hello", "0") as server:
        result = run([*PYNC, "127.0.0.1", str(server.port)], bytes(POURED))
        assert result.out == b"hello\n"
        assert server.wait() == 0


def test_a_client_that_never_reads_keeps_no_other_waiting() -> None:
    with listen("-k", "--filter", "cat", "0") as server, connect(server.port) as idle:
        with meanwhile(pour, idle):
            for _ in range(3):
                assert ask(server.port, b"others\n") == b"others\n"
            reset(idle)
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer")
        is_true(lambda: not server.children(), "the filter of the idle client has ended")


# -- How a program is named ------------------------------------------------------------------------------------------


def test_exec_divides_and_quotes_words_as_the_shell_does_and_expands_nothing() -> None:
    with listen("-k", "--exec", r"""printf %s| a\ b  \\ '\|' "c d" '' $HOME *""", "0") as server:
        assert ask(server.port) == rb"a b|\|\||c d||$HOME|*|"


def test_exec_runs_a_quoted_command_of_the_shell() -> None:
    with listen("-e", """sh -c "echo 'hi  there'; exit 3" """, "0") as server:
        assert ask(server.port) == b"hi  there\n"
        assert server.wait() == 3


@pytest.mark.parametrize("program", ["sh -c 'echo hi", 'echo "hi', "echo \\"])
def test_exec_refuses_what_is_quoted_by_half(program: str) -> None:
    result = run([*PYNC, "-l", "-e", program, "0"])
    assert (result.status, result.out) == (2, b"")
    assert result.err.startswith("pync: ")
    assert program in result.err.splitlines()[0]


def test_exec_searches_the_path(tmp_path: Path) -> None:
    program = tmp_path / "greeter"
    program.write_text('#!/bin/sh\necho greetings "$1"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with listen("--exec", "greeter there", "0", env=environment) as server:
        assert ask(server.port) == b"greetings there\n"
        assert server.wait() == 0


def test_exec_takes_a_path(tmp_path: Path) -> None:
    program = tmp_path / "my greeter"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    with listen("--exec", str(program).replace(" ", "\\ "), "0") as server:
        assert ask(server.port) == b"hello\n"


def test_sh_exec_is_a_command_of_the_shell() -> None:
    with listen("--sh-exec", 'echo "one  two" | tr a-z A-Z; echo $((6 * 7))', "0") as server:
        assert ask(server.port) == b"ONE  TWO\n42\n"
        assert server.wait() == 0


@pytest.mark.parametrize("option", [("-e", "tr a-z A-Z"), ("-c", "tr a-z A-Z"), ("--filter", "tr a-z A-Z")])
def test_a_connecting_client_runs_programs_too(option: tuple[str, str]) -> None:
    answers: list[bytes] = []

    def question(conn: socket.socket) -> None:
        conn.sendall(b"hello")
        conn.shutdown(socket.SHUT_WR)
        answers.append(drain(conn))

    with serve(question) as (host, port):
        assert run([*PYNC, *option, host, str(port)]) == success()
    assert answers == [b"HELLO"]


def test_a_program_answers_over_udp() -> None:
    with listen("-u", *UPPER) as server, datagrams(server.port) as sock:
        sock.send(b"datagram\n")
        assert take(sock, 9) == b"DATAGRAM\n"


# -- The environment and the descriptors of a program ----------------------------------------------------------------


def facts_in(environment: bytes) -> dict[str, str]:
    """The facts under pync's names. Those under Ncat's must be the same."""
    facts = dict(entry.split("=", 1) for entry in environment.decode().splitlines() if "=" in entry)
    ours = {name[5:]: value for name, value in facts.items() if name.startswith("PYNC_")}
    assert ours == {name[5:]: value for name, value in facts.items() if name.startswith("NCAT_")}
    return ours


def facts(local: tuple[str, object], remote: tuple[str, object], protocol: str = "TCP") -> dict[str, str]:
    return {
        "LOCAL_ADDR": local[0],
        "LOCAL_PORT": str(local[1]),
        "REMOTE_ADDR": remote[0],
        "REMOTE_PORT": str(remote[1]),
        "PROTO": protocol,
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_a_listeners_program_gets_both_addresses(host: str, option: str) -> None:
    with listen(option, "env", host, "0") as server, connect(server.port, host) as conn:
        assert facts_in(drain(conn)) == facts((host, server.port), conn.getsockname()[:2])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_a_clients_program_gets_both_addresses(host: str, option: str) -> None:
    seen: list[tuple[dict[str, str], dict[str, str]]] = []

    def look(conn: socket.socket) -> None:
        seen.append((facts_in(drain(conn)), facts(conn.getpeername()[:2], conn.getsockname()[:2])))

    with serve(look, host) as (_, port):
        assert run([*PYNC, option, "env", host, str(port)], DEVNULL).status == 0
    assert [environment for environment, _ in seen] == [addresses for _, addresses in seen] != []


def test_a_unix_listeners_program_gets_the_path(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with listen("-U", "--sh-exec", "env", path), socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(DEADLINE)
        conn.connect(path)
        assert facts_in(drain(conn)) == facts((path, ""), ("", ""), "UNIX")


def test_a_unix_clients_program_gets_the_path(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with listen("-U", "-d", path) as server:
        assert run([*PYNC, "-U", "--sh-exec", "env", path], DEVNULL).status == 0
        assert facts_in(server.finish().out) == facts(("", ""), (path, ""), "UNIX")


def test_a_programs_protocol_over_udp_is_udp() -> None:
    command = "read x; echo $PYNC_PROTO $NCAT_PROTO"
    with listen("-u", "--sh-exec", command, "0") as server, datagrams(server.port) as sock:
        sock.send(b"\n")
        assert sock.recv(100) == b"UDP UDP\n"


def links(listing: bytes) -> dict[int, str]:
    """What the descriptors of `ls -l /proc/self/fd` lead to, without that of the directory which `ls` reads."""
    found = {}
    for entry in listing.decode().splitlines():
        if " -> " in entry:
            name, _, target = entry.rpartition(" -> ")
            found[int(name.split()[-1])] = target.strip("'")  # on a terminal `ls` quotes
    return {fd: target for fd, target in found.items() if not target.startswith("/proc/")}


@pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])
@pytest.mark.parametrize(
    "option", [("--exec",), ("--sh-exec",), ("--filter",), ("-C", "--exec"), ("--pipes", "--exec")], ids="".join
)
def test_a_program_gets_its_three_descriptors_and_no_other(option: tuple[str, ...], keep_open: tuple[str, ...]) -> None:
    ours = [os.open(os.devnull, os.O_RDWR) for _ in range(3)] + [os.dup2(os.open(os.devnull, 0), 77)]
    try:
        with listen(*keep_open, *option, "ls -l /proc/self/fd", "0", pass_fds=ours) as server:
            assert os.devnull in server.descriptors(), "it was given some"
            other = connect(server.port) if keep_open else contextlib.nullcontext()
            with other, connect(server.port) as conn:
                given = links(drain(conn))
    finally:
        for fd in ours:
            os.close(fd)
    assert given.keys() == {0, 1, 2}
    assert given[2].startswith("pipe:")
    if option in (("--exec",), ("--sh-exec",)):
        assert given[0] == given[1]
        assert given[0].startswith("socket:")
    else:
        assert given[0].startswith("pipe:")
        assert given[1].startswith("/dev/pts/" if option == ("--filter",) else "pipe:")
        assert given[1] != given[2]


@pytest.mark.parametrize("unix", [False, True])
def test_with_pipes_a_program_can_open_dev_stdin_and_dev_stdout(tmp_path: Path, unix: bool) -> None:
    command = "cat /dev/stdin > /dev/stdout"
    where = ["-U", str(tmp_path / "socket")] if unix else ["0"]
    for options, status, answer in (([], 2, b""), (["--pipes"], 0, b"question")):
        with listen(*options, "-c", command, *where) as server:
            peer = where if unix else ["127.0.0.1", str(server.port)]
            assert run([*PYNC, "-N", *peer], b"question").out == answer
            assert server.wait() == status


def test_a_program_has_the_default_signal_dispositions_and_no_signal_blocked() -> None:
    with listen("-k", "--exec", "cat /proc/self/status", "0") as server:
        masks = dict(entry.split(":") for entry in ask(server.port).decode().splitlines())
    assert int(masks["SigBlk"], 16) == 0
    assert not int(masks["SigIgn"], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
    assert int(masks["SigCgt"], 16) == 0


def test_a_programs_socket_is_blocking() -> None:
    script = "import os; print(os.get_blocking(0), os.get_blocking(1))"
    with listen("--exec", f"{sys.executable} -c {script.replace(' ', chr(92) + ' ')}", "0") as server:
        assert ask(server.port) == b"True True\n"


@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_a_programs_stderr_is_ours(option: str) -> None:
    with listen(option, "echo oops >&2; echo fine", "0") as server:
        assert ask(server.port) == b"fine\n"
        server.expect("^oops$")


# -- Its status ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
@pytest.mark.parametrize(
    ("command", "status"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("nonesuch-program", 127)]
)
def test_without_keep_open_the_childs_status_is_ours(option: str, command: str, status: int) -> None:
    with listen(option, command, "0") as server:
        assert ask(server.port) == b""
        assert server.wait() == status
    with serve(drain) as (host, port):
        assert run([*PYNC, option, command, host, str(port)]).status == status


def test_keep_open_outlives_every_childs_failure() -> None:
    with listen("-k", "--sh-exec", "read word; kill -$word $$; exit $word", "0") as server:
        for word in (b"9\n", b"15\n", b"3\n"):
            assert ask(server.port, word) == b""
        assert server.children() == []


@pytest.mark.parametrize("option", [(), ("-C",)], ids=["handed-over", "pumped"])
def test_what_cannot_be_run_is_reported_in_one_line(tmp_path: Path, option: tuple[str, ...]) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for program, status, why in (
        ("nonesuch-program", 127, "No such file or directory"),
        (f"{tmp_path}/nonesuch", 127, "No such file or directory"),
        (str(plain), 126, "Permission denied"),
        (str(tmp_path), 126, "Permission denied"),
    ):
        with serve(drain) as (host, port):
            assert run([*PYNC, *option, "-e", program, host, str(port)]) == failure(f"{program}: {why}", status=status)


def test_what_cannot_be_run_ends_a_listener_without_keep_open() -> None:
    with listen("-e", "nonesuch-program", "0") as server, connect(server.port) as conn:
        assert drain(conn) == b""
        assert server.wait() == 127
        assert server.stderr.endswith("pync: nonesuch-program: No such file or directory\n")


def test_what_cannot_be_run_is_reported_for_each_client_with_keep_open() -> None:
    with listen("-k", "-e", "nonesuch-program", "0") as server:
        for count in (1, 2):
            assert ask(server.port) == b""
            server.expect("^pync: nonesuch-program: No such file or directory$", count=count)


# -- Its end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_there_are_no_zombies(option: str) -> None:
    with listen("-k", option, "cat", "0") as server:
        for number in range(8):
            assert ask(server.port, b"%d\n" % number) == b"%d\n" % number
        is_true(lambda: not server.children(), "all are reaped")


def test_a_handed_over_child_is_reaped_before_its_client_sees_the_end() -> None:
    with listen("-k", "--sh-exec", "echo hi", "0") as server:
        for _ in range(8):
            assert ask(server.port) == b"hi\n"
            assert server.children() == []


@pytest.mark.needs("poll")  # select(2) does not leave the error for the program
@pytest.mark.parametrize("option", [("--sh-exec",), ("--filter",), ("-C", "--sh-exec")], ids="".join)
def test_a_child_whose_client_is_reset_gets_hup(option: tuple[str, ...]) -> None:
    hup = "trap 'echo struck by HUP >&2; exit' HUP; echo $$; while :; do sleep 60; done"
    with listen("-k", *option, hup, "0") as server:
        conn = connect(server.port)
        with watched(int(line(conn))) as ended:
            reset(conn)
            server.expect("^struck by HUP$")
            ended()
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer$")
        is_true(lambda: not server.children(), "it is reaped")


@pytest.mark.needs("poll")  # select(2) does not leave the error for the program
@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_a_child_that_ignores_hup_and_term_is_killed(option: str) -> None:
    with listen(option, STUBBORN, "0") as server:
        conn = connect(server.port)
        with watched(int(line(conn))) as ended:
            reset(conn)
            ended()
        assert server.wait() == 1
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer$")


@pytest.mark.needs("poll")  # select(2) does not leave the error for the program
def test_a_pumped_child_that_does_not_read_ends_when_its_client_is_reset() -> None:
    with listen("--filter", "echo $$; exec sleep 60", "0") as server:
        conn = connect(server.port)
        with watched(int(line(conn))) as ended:
            conn.settimeout(0.3)
            pour(conn)
            reset(conn)
            ended()
        assert server.wait() == 1


@pytest.mark.needs("poll")  # select(2) does not leave the error for the program
def test_what_the_child_has_started_ends_with_it() -> None:
    with listen("--sh-exec", "sleep 60 & echo $!; wait", "0") as server:
        conn = connect(server.port)
        with watched(int(line(conn))) as ended:
            reset(conn)
            ended()
        assert server.wait() == 1


@pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])
@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_sigterm_ends_the_child_and_its_group(option: str, keep_open: tuple[str, ...]) -> None:
    with listen(*keep_open, option, "sleep 60 & echo $$ $!; wait", "0") as server, connect(server.port) as conn:
        shell, sleeper = map(int, line(conn).split())
        with watched(shell) as shell_ended, watched(sleeper) as sleeper_ended:
            server.signal(signal.SIGTERM)
            shell_ended()
            sleeper_ended()
        assert server.wait() == 143


def test_sigterm_ends_even_a_child_that_ignores_it() -> None:
    with listen("--sh-exec", STUBBORN, "0") as server, connect(server.port) as conn:
        with watched(int(line(conn))) as ended:
            server.signal(signal.SIGTERM)
            ended()
        assert server.wait() == 143


def test_an_answer_survives_a_client_that_still_sends() -> None:
    with listen("-k", "--exec", "echo hi", "0") as server:
        for _ in range(5):
            with connect(server.port) as conn:
                with contextlib.suppress(ConnectionError):  # by a reset, because the program does not read
                    conn.sendall(bytes(MEGABYTE))
                assert line(conn) == b"hi\n"


@pytest.mark.parametrize(("option", "rest"), [("--sh-exec", 32 << 10), ("--filter", 512 << 10)])
def test_an_answer_arrives_whole_though_the_rest_of_the_question_was_not_read(option: str, rest: int) -> None:
    with listen(option, "read -r word; seq 100000", "0") as server, connect(server.port) as conn:
        conn.sendall(b"word\n" + bytes(rest))
        assert drain(conn) == b"".join(b"%d\n" % number for number in range(1, 100001))
        conn.close()
        assert server.wait() == 0


def test_an_answer_is_whole_for_a_client_that_sends_megabytes_meanwhile() -> None:
    with listen("--exec", "seq 100000", "0") as server:
        result = run([*PYNC, "127.0.0.1", str(server.port)], bytes(MEGABYTE))
        assert result.out == b"".join(b"%d\n" % number for number in range(1, 100001))
        assert server.wait() == 0


# -- What the connection's options do to a program -------------------------------------------------------------------


def test_crlf_is_for_what_a_program_sends() -> None:
    with listen("-C", "--sh-exec", "cat; printf 'end\\n'", "0") as server:
        assert ask(server.port, b"a\nb\r\n") == b"a\r\nb\r\nend\r\n"
        assert server.wait() == 0


def test_a_log_holds_both_directions_of_a_program(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with listen("-o", str(log), "--sh-exec", 'read word; echo "got $word"', "0") as server:
        assert ask(server.port, b"this\n") == b"got this\n"
        assert server.wait() == 0
    assert log.read_bytes() == b"this\ngot this\n"


def test_delay_holds_a_program_up_and_every_byte_arrives() -> None:
    with listen("--delay", "0.2", "--exec", "cat", "0") as server:
        begun = time.monotonic()
        assert ask(server.port, b"there and back") == b"there and back"
        assert time.monotonic() - begun >= 0.4
        assert server.wait() == 0


def test_an_idle_limit_ends_program_and_client() -> None:
    with listen("--idle-timeout", "0.3", "--sh-exec", "echo $$; exec sleep 60", "0") as server:
        with connect(server.port) as conn:
            with watched(int(line(conn))) as ended:
                ended()
            with pytest.raises(ConnectionResetError):
                conn.recv(1)
        assert server.wait() == 124
        assert server.stderr.endswith("pync: idle connection: nothing came or went for 0.3 s\n")


def test_no_shutdown_leaves_the_connection_open_for_a_programs_client() -> None:
    with listen("--no-shutdown", "--exec", "cat", "0") as server:
        assert ask(server.port, b"hello") == b"hello"
        assert server.wait() == 0


def test_pyncs_own_stdin_and_stdout_are_not_those_of_a_program() -> None:
    with listen("--exec", "cat", "0") as server:
        server.send(b"not for the program\n")
        assert ask(server.port, b"for it\n") == b"for it\n"
        assert server.finish().out == b""
