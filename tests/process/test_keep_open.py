"""Many clients at once (-k): their sessions, which clients are served, as which user, and the end of the server.

A session must never hold up, mix with or end another one. What they share is stdin, stdout and the descriptors.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import ask, drain, is_true, line, meanwhile, pour, reset, take
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Running,
    announced,
    connect,
    digest,
    listen,
    many_descriptors,
    require,
    run,
    success,
)
from pairs import lives_on

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.geteuid() == 0
NOBODY = 65534
SERVER = [*PYNC, "-v", "-l", "-k"]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A small file to be served."""
    path = tmp_path / "page"
    path.write_bytes(b"the page\n")
    return path


@contextlib.contextmanager
def clients(server: Running, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections that the server has accepted; closed at the end."""
    before = server.stderr.count("\nConnection received")
    with connections(server, count) as conns:
        server.expect("^Connection received on ", count=before + count)
        yield conns


@contextlib.contextmanager
def connections(server: Running, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections, some of which may have to wait; closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(server.port)) for _ in range(count)]


def connect_from(source: str, port: int) -> socket.socket:
    """A connection from one of the many addresses of the loopback interface."""
    host = "::1" if ":" in source else "127.0.0.1"
    return socket.create_connection((host, port), DEADLINE, source_address=(source, 0))


# -- Conversations are concurrent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [("--filter", "cat"), ("--exec", "cat"), ("--delay", "0.01", "--exec", "cat")], ids="".join
)
def test_each_client_has_a_program_and_a_conversation_of_its_own(option: tuple[str, ...]) -> None:
    with listen("-k", *option, "0") as server, clients(server, 5) as conns:
        for turn in range(3):
            for number, conn in enumerate(conns):
                conn.sendall(b"%d %d\n" % (turn, number))
            for number, conn in reversed([*enumerate(conns)]):
                assert line(conn) == b"%d %d\n" % (turn, number)
        for conn in conns:
            conn.shutdown(socket.SHUT_WR)
        assert {drain(conn) for conn in conns} == {b""}


def test_each_client_has_a_whole_answer_of_its_own_at_its_end() -> None:
    with listen("-k", "-C", "--exec", "sort", "0") as server, clients(server, 5) as conns:
        for turn in "b", "a":
            for number, conn in enumerate(conns):
                conn.sendall(f"{turn} {number}\n".encode())
        for number, conn in reversed([*enumerate(conns)]):
            conn.shutdown(socket.SHUT_WR)
            assert drain(conn) == f"a {number}\r\nb {number}\r\n".encode()


def test_what_clients_send_goes_to_stdout_and_stdin_to_all_of_them() -> None:
    with listen("-k", "0") as server, clients(server, 3) as conns:
        for turn in range(3):
            for number, conn in enumerate(conns):
                conn.sendall(b"%d %d\n" % (turn, number))
                assert server.read_until(b"\n") == b"%d %d\n" % (turn, number)
            server.send(b"all %d\n" % turn)
            assert [line(conn) for conn in conns] == [b"all %d\n" % turn] * 3


@pytest.mark.parametrize("option", [("--filter", "cat"), ("--exec", "cat")], ids="".join)
def test_an_idle_client_does_not_block_the_others(option: tuple[str, ...]) -> None:
    with listen("-k", *option, "0") as server, connect(server.port):
        for _ in range(5):
            assert ask(server.port, b"hello") == b"hello"


def test_the_descriptors_of_clients_that_have_left_are_closed() -> None:
    with listen("-k", "0", stdin=DEVNULL) as server:
        before = server.descriptors()
        for _ in range(5):
            with clients(server, 20):
                assert len(server.descriptors()) > len(before)
        is_true(lambda: server.descriptors() == before, "no descriptor is left over")


def test_a_reset_is_reported_and_the_server_goes_on() -> None:
    with listen("-k", "0") as server, clients(server, 2) as (broken, whole):
        name = "{}:{}".format(*broken.getsockname())
        reset(broken)
        server.expect(f"^pync: connection to {name}: Connection reset by peer$")
        server.send(b"still here\n")
        assert line(whole) == b"still here\n"
        whole.sendall(b"so am I\n")
        assert server.read_until(b"\n") == b"so am I\n"


# -- stdin is a regular file -----------------------------------------------------------------------------------------


def test_every_client_gets_the_whole_file_and_its_end(tmp_path: Path) -> None:
    payload = PAYLOAD(1 << 20)
    (tmp_path / "file").write_bytes(payload)
    with (tmp_path / "file").open("rb") as file, listen("-k", "0", stdin=file) as server:
        with clients(server, 20) as conns:
            for conn in conns:
                assert drain(conn) == payload
        assert ask(server.port) == payload, "a later client, too"
        assert run([*PYNC, "localhost", str(server.port)], DEVNULL) == success(payload)


def test_a_client_that_does_not_read_the_file_keeps_no_other_waiting(tmp_path: Path) -> None:
    payload = PAYLOAD(8 << 20)
    (tmp_path / "file").write_bytes(payload)
    opened = (tmp_path / "file").open("rb")
    with opened as file, listen("-k", "0", stdin=file) as server, clients(server, 1) as (idle,):
        for _ in range(3):
            assert ask(server.port) == payload
        assert drain(idle) == payload, "even later"


def test_a_file_is_served_from_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a line for the shell\nthe rest\n")
    shell = ["sh", "-c", 'read -r line; exec "$@"', "sh"]
    with path.open("rb") as file, announced(Running([*shell, *SERVER, "0"], stdin=file)) as server:
        assert [ask(server.port) for _ in range(3)] == [b"the rest\n"] * 3


def test_clients_of_a_file_may_send_too(page: Path) -> None:
    with page.open("rb") as file, listen("-k", "0", stdin=file) as server:
        for number in range(3):
            assert ask(server.port, b"request %d\n" % number) == b"the page\n"
            assert server.read_until(b"\n") == b"request %d\n" % number


# -- stdin is a pipe -------------------------------------------------------------------------------------------------


def test_what_is_read_is_sent_to_the_clients_that_are_connected() -> None:
    with listen("-k", "0") as server, clients(server, 1) as (first,):
        server.send(b"one\n")
        assert line(first) == b"one\n"
        with clients(server, 1) as (second,):
            server.send(b"two\n")
            assert line(second) == b"two\n"
            server.close_stdin()
            assert drain(first) == b"two\n"
            assert drain(second) == b""
            for conn in (first, second):
                conn.sendall(b"after your end\n")
                assert server.read_until(b"\n") == b"after your end\n"


def test_what_is_read_before_a_client_connects_is_for_the_first() -> None:
    with listen("-k", "0") as server:
        server.send(b"early\n")
        with connect(server.port) as first:
            assert line(first) == b"early\n"


def test_after_the_end_of_stdin_later_clients_are_half_closed_too() -> None:
    with listen("-k", "0") as server:
        with connect(server.port) as conn:
            server.send(b"all there is\n")
            server.close_stdin()
            assert drain(conn) == b"all there is\n"
        for number in range(3):
            with connect(server.port) as conn:
                assert drain(conn) == b""
                conn.sendall(b"%d\n" % number)
                assert server.read_until(b"\n") == b"%d\n" % number


def test_a_client_that_receives_nothing_is_cut_off_and_the_others_get_every_byte() -> None:
    payload = PAYLOAD(24 << 20)  # more than its queue and all buffers hold
    received: dict[int, bytes] = {}

    def receive(number: int, conn: socket.socket) -> None:
        received[number] = drain(conn)

    with listen("-k", "0") as server, clients(server, 3) as (idle, one, other):
        name = "{}:{}".format(*idle.getsockname())
        with meanwhile(receive, 1, one), meanwhile(receive, 2, other):
            server.send(payload, timeout=20)
            server.close_stdin()
        server.expect(rf"^pync: connection to {name}: cut off: it takes nothing, and others wait, \d+ bytes were not")
        assert {number: digest(data) for number, data in received.items()} == {1: digest(payload), 2: digest(payload)}


@pytest.mark.needs("outq")
@pytest.mark.parametrize("argv", [("-k",), ("-k", "-C"), ("--broker",)], ids=["stdin", "stage", "broker"])
def test_of_a_client_that_is_cut_off_the_bytes_are_counted_that_it_does_not_get(argv: tuple[str, ...]) -> None:
    piece, given = PAYLOAD(1 << 16).replace(b"\n", b"."), 0
    with listen(*argv, "0") as server, clients(server, 2) as (idle, other):
        other.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                server.send(piece)
                given += len(take(other, len(piece)))
        found = server.expect(r"cut off: it takes nothing, and others wait, (\d+) bytes were not sent$")
        got = 0
        with pytest.raises(ConnectionResetError):
            while data := idle.recv(1 << 20):
                got += len(data)
        assert got + int(found[1]) == given


def test_a_client_that_only_sends_does_not_silence_the_others() -> None:
    with listen("-k", "0") as server, clients(server, 3) as (loud, *others), meanwhile(pour, loud):
        for number in range(3):
            for conn in others:
                conn.sendall(b"\nword %d\n" % number)
                server.read_until(b"\nword %d\n" % number)
        loud.shutdown(socket.SHUT_RDWR)


# -- Hundreds of clients ---------------------------------------------------------------------------------------------


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


def test_hundreds_of_silent_clients_cost_little_and_each_gets_what_is_sent() -> None:
    with listen("-k", "0") as server, clients(server, 10):
        before = resident(server.pid)
        with clients(server, 800) as conns:
            assert resident(server.pid) - before < 800 * 4000  # a session that has begun takes three times as much
            server.send(b"news\n")
            assert {take(conn, 5) for conn in conns} == {b"news\n"}
            for conn in conns:
                conn.sendall(b"thanks\n")
            assert server.read(7 * 800) == b"thanks\n" * 800


def test_the_end_of_stdin_reaches_clients_that_were_silent() -> None:
    with listen("-k", "0") as server, clients(server, 2) as conns:
        server.close_stdin()
        assert [drain(conn) for conn in conns] == [b"", b""]


def test_hundreds_of_clients_each_get_the_whole_file(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_bytes(PAYLOAD(300_000))
    with page.open("rb") as file, listen("-k", "0", stdin=file) as server, connections(server, 800) as conns:
        assert all(drain(conn) == PAYLOAD(300_000) for conn in conns)


# -- stdout is shared ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_lines_of_several_clients_arrive_whole_and_those_of_each_in_order(seed: int) -> None:
    chance = random.Random(seed)
    sent: list[list[bytes]] = []
    for name in range(6):
        lengths = [chance.choice((0, 5, 100, 5000, 40000)) for _ in range(40)]
        sent.append([b"%d:%d:%s\n" % (name, number, b"x" * length) for number, length in enumerate(lengths)])

    def send(conn: socket.socket, data: bytes, chance: random.Random) -> None:
        while data:
            size = chance.choice((1, 7, 300, 9000, 70000))
            conn.sendall(data[:size])
            data = data[size:]

    with listen("-k", "0") as server, clients(server, len(sent)) as conns:
        senders = [
            threading.Thread(target=send, args=(conn, b"".join(lines), random.Random(chance.random())))
            for conn, lines in zip(conns, sent, strict=True)
        ]
        for sender in senders:
            sender.start()
        received = server.read(sum(len(text) for lines in sent for text in lines)).splitlines(keepends=True)
        for sender in senders:
            sender.join()
    assert sorted(received) == sorted(text for lines in sent for text in lines)
    for number, lines in enumerate(sent):
        assert [text for text in received if text.startswith(b"%d:" % number)] == lines


def test_the_unfinished_line_of_a_client_comes_when_it_leaves() -> None:
    with listen("-k", "0") as server, clients(server, 2) as (first, second):
        first.sendall(b"unfinished")
        second.sendall(b"finished\n")
        assert server.read(9) == b"finished\n"
        first.close()
        assert server.read(10) == b"unfinished"


def test_what_a_single_client_sends_is_shown_at_once() -> None:
    with listen("-k", "0") as server, connect(server.port) as conn:
        conn.sendall(b"prompt> ")
        assert server.read(8) == b"prompt> "


# -- Which clients are served ----------------------------------------------------------------------------------------


def test_max_conns_denies_the_clients_beyond_it_and_no_others() -> None:
    with listen("-k", "--max-conns", "2", "0", stdin=DEVNULL) as server, clients(server, 2) as (first, _):
        with connect(server.port) as third:
            assert drain(third) == b""
            host, port = third.getsockname()
            server.expect(rf"^pync: connection from {host} {port} denied: connection limit reached \(2\)$")
        first.shutdown(socket.SHUT_WR)
        assert drain(first) == b"", "its session has ended"
        with connect(server.port) as fourth:
            fourth.sendall(b"served\n")
            assert server.read_until(b"\n") == b"served\n"


RULES = [
    (["--allow", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.2", "::1"]),
    (["--allow", "::1"], ["::1"], ["127.0.0.1", "127.0.0.2"]),
    (["--allow", "127.0.0.0/8"], ["127.0.0.1", "127.9.8.7"], ["::1"]),
    (["--allow", "127.0.0.1,::1"], ["127.0.0.1", "::1"], ["127.0.0.2"]),
    (["--allow", "127.0.0.1-3", "--allow", "127.0.5.*"], ["127.0.0.2", "127.0.5.9"], ["127.0.0.4", "::1"]),
    (["--allow", "localhost"], ["127.0.0.1"], ["127.0.0.2"]),
    (["--deny", "127.0.0.1"], ["127.0.0.2", "::1"], ["127.0.0.1"]),
    (["--deny", "::1"], ["127.0.0.1"], ["::1"]),
    (["--deny", "127.0.0.0/8"], ["::1"], ["127.0.0.1", "127.9.8.7"]),
    (["--allow", "127.0.0.0/8", "--deny", "127.0.0.2"], ["127.0.0.1", "127.0.0.3"], ["127.0.0.2", "::1"]),
    (["--allowfile", "hosts"], ["127.0.0.1", "127.0.0.3", "::1"], ["127.0.0.2"]),
    (["--denyfile", "hosts"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.3", "::1"]),
    (["--allowfile", "hosts", "--deny", "::1"], ["127.0.0.1"], ["127.0.0.2", "::1"]),
    (["--allowfile", "empty"], [], ["127.0.0.1", "::1"]),
]


def directory_of_rules(tmp_path: Path) -> Path:
    (tmp_path / "hosts").write_text("127.0.0.1 # ourselves\n\n::1\t127.0.0.3\n")
    (tmp_path / "empty").write_text("# a comment\n")
    return tmp_path


@pytest.mark.parametrize(("rules", "allowed", "denied"), RULES, ids=lambda value: " ".join(value))
def test_the_rules_decide_which_clients_are_served(
    tmp_path: Path, page: Path, rules: list[str], allowed: list[str], denied: list[str]
) -> None:
    with page.open("rb") as file, listen("-k", *rules, "0", stdin=file, cwd=directory_of_rules(tmp_path)) as server:
        for source in allowed:
            with connect_from(source, server.port) as conn:
                assert drain(conn) == b"the page\n"
        for source in denied:
            with connect_from(source, server.port) as conn:
                assert drain(conn) == b""
                server.expect(f"^pync: connection from {source} {conn.getsockname()[1]} denied: not allowed$")


@pytest.mark.parametrize(("rules", "allowed", "denied"), [case for case in RULES if case[1]][::3], ids=str)
def test_a_denied_stranger_does_not_end_a_listener(
    tmp_path: Path, rules: list[str], allowed: list[str], denied: list[str]
) -> None:
    with listen(*rules, "0", cwd=directory_of_rules(tmp_path)) as server:
        for source in denied * 2:
            with connect_from(source, server.port) as conn:
                assert drain(conn) == b""
        with connect_from(allowed[0], server.port) as conn:
            conn.sendall(b"hello\n")
            assert server.read_until(b"\n") == b"hello\n"
        assert server.wait() == 0


def test_a_denied_stranger_gets_no_program() -> None:
    with listen("--deny", "127.0.0.2", "--sh-exec", "echo started >&2; echo hi", "0") as server:
        with connect_from("127.0.0.2", server.port) as conn:
            assert drain(conn) == b""
        assert "started" not in server.stderr
        assert ask(server.port) == b"hi\n"
        assert server.wait() == 0


def test_rules_are_about_the_network_not_about_unix_paths(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with listen("-U", "--allow", "127.0.0.1", path) as server:
        assert run([*PYNC, "-U", path], b"hello") == success()
        assert server.finish().out == b"hello"


@pytest.mark.parametrize(
    ("rules", "status", "complaint"),
    [
        (["--allow", "127.0.0.1/33"], 2, "--allow"),
        (["--denyfile", "missing"], 1, "missing: No such file or directory"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_an_error_at_once(rules: list[str], status: int, complaint: str) -> None:
    result = run([*SERVER, "-n", *rules, "0"])
    assert result.status_and_out == (status, b"")
    assert complaint in result.err
    assert "Listening" not in result.err


# -- Thousands of clients, and too few descriptors -------------------------------------------------------------------


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """This process may open thousands of sockets."""
    with many_descriptors(10_000):
        yield


@pytest.mark.needs("epoll")
@pytest.mark.usefixtures("_many_descriptors")
def test_two_thousand_clients_send_and_receive_at_the_same_time() -> None:
    with listen("-k", "0") as server, connections(server, 2000) as conns:
        for number, conn in enumerate(conns):
            conn.sendall(b"%04d\n" % number)
        assert {*server.read(5 * len(conns)).split()} == {b"%04d" % number for number in range(2000)}
        server.send(b"hello, all\n")
        assert {take(conn, 11) for conn in conns} == {b"hello, all\n"}


@pytest.mark.needs("epoll")
@pytest.mark.usefixtures("_many_descriptors")
def test_two_thousand_clients_get_the_file(page: Path) -> None:
    with page.open("rb") as file, listen("-k", "0", stdin=file) as server, connections(server, 2000) as conns:
        assert {drain(conn) for conn in conns} == {b"the page\n"}


def limited(soft: int, hard: int, *args: str, **popen: object) -> Running:
    """A server that may have `soft` descriptors, and could raise that to `hard`."""
    return announced(Running([require("prlimit"), f"--nofile={soft}:{hard}", *SERVER, *args], **popen))  # type: ignore[arg-type]


def test_the_soft_limit_of_descriptors_does_not_count() -> None:
    with limited(64, 1024, "0") as server, connections(server, 200) as conns:
        for conn in conns:
            conn.sendall(b"here\n")
        assert server.read(5 * len(conns)) == b"here\n" * len(conns)


def test_a_server_without_descriptors_reports_that_and_serves_again_when_clients_leave(page: Path) -> None:
    with page.open("rb") as file, limited(40, 40, "0", stdin=file) as server, connections(server, 60) as conns:
        server.expect("^pync: accepting clients pauses: Too many open files$")
        before = server.cpu_seconds()
        assert lives_on(server.pid, 1.2)
        assert server.cpu_seconds() - before < 0.3
        assert server.stderr.count("accepting clients pauses") == 1
        served = set(select.select(conns, [], [], 0)[0])
        assert 10 < len(served) < 40
        for conn in (*served, *(conn for conn in conns if conn not in served)):
            assert drain(conn) == b"the page\n"
            conn.close()
        assert ask(server.port) == b"the page\n"


def test_a_client_that_is_reset_while_there_are_no_descriptors_is_reported() -> None:
    with limited(40, 40, "0") as server, connections(server, 60) as conns:
        server.expect("^pync: accepting clients pauses: Too many open files$")
        for conn in conns[:3]:
            reset(conn)
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer$", count=3)
        last = conns.pop()
        last.sendall(b"at last\n")
        for conn in conns[3:]:
            reset(conn)
        assert server.read_until(b"\n") == b"at last\n"


def serves(server: Running) -> bool:
    """Whether a client of a program that copies gets its answer now."""
    try:
        return ask(server.port, b"hello?") == b"hello?"
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("option", ["--exec", "--filter"])
def test_programs_that_find_no_descriptors_fail_alone(option: str) -> None:
    with limited(40, 40, option, "cat", "0") as server:
        with connections(server, 40):
            server.expect("Too many open files$")
        is_true(lambda: serves(server), "it serves again")
        is_true(lambda: not server.children(), "every program has ended")


# -- Where it listens ------------------------------------------------------------------------------------------------


def listening(server: Running) -> set[tuple[str, int]]:
    """The families and ports on which it listens, as the kernel lists them (proc_net_tcp(5); 0A is LISTEN)."""
    own = {target[8:-1] for target in server.descriptors() if target.startswith("socket:[")}
    found = set()
    for family in ("tcp", "tcp6"):
        for row in Path(f"/proc/{server.pid}/net/{family}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and fields[9] in own:
                found.add((family, int(fields[1].rpartition(":")[2], 16)))
    return found


def test_a_listener_for_one_client_accepts_one_of_two_that_wait_at_its_two_sockets() -> None:
    with listen("0", stdin=DEVNULL) as server:
        server.signal(signal.SIGSTOP)
        with connect(server.port, "127.0.0.1") as one, connect(server.port, "::1") as other:
            server.signal(signal.SIGCONT)
            host = server.expect(r"^Connection received on (\S+) ")[1]
            chosen, late = (one, other) if host == "127.0.0.1" else (other, one)
            chosen.sendall(b"hello")
            assert server.read(5) == b"hello"
            with pytest.raises(ConnectionResetError):
                late.recv(1)
        assert server.finish().status == 0
        assert server.stderr.count("Connection received") == 1


@pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_serves_both_families_on_one_port(host: str, keep_open: tuple[str, ...]) -> None:
    with listen(*keep_open, "--exec", "cat", "0") as server:
        six, four = re.findall(r"^Listening on (\S+) (\d+)$", server.expect(r"(^Listening .*\n){2}")[0], re.MULTILINE)
        assert six == ("::", str(server.port))
        assert four == ("0.0.0.0", str(server.port))
        assert listening(server) == {("tcp", server.port), ("tcp6", server.port)}
        assert ask(server.port, b"hello", host) == b"hello"


@pytest.mark.parametrize(
    ("option", "host", "family"), [("-4", "127.0.0.1", "tcp"), ("-6", "::1", "tcp6")], ids=["IPv4", "IPv6"]
)
def test_a_listener_of_one_family_leaves_the_other_alone(option: str, host: str, family: str) -> None:
    with listen("-k", option, "--exec", "cat", "0") as server:
        assert listening(server) == {(family, server.port)}
        assert ask(server.port, b"hello", host) == b"hello"


def test_a_given_port_serves_both_families_at_once_and_is_free_afterwards() -> None:
    with listen("-k", "--exec", "cat", "0") as server:
        port = server.port
        with connect(port, "127.0.0.1") as four, connect(port, "::1") as six:
            for conn in (four, six, four):
                conn.sendall(b"both\n")
                assert line(conn) == b"both\n"
            server.signal(signal.SIGTERM)
            assert server.wait() == 143
    with listen("-k", "--exec", "cat", str(port)) as server:  # connections of the first server are in TIME_WAIT
        assert ask(port, b"again") == b"again"


# -- As which user ---------------------------------------------------------------------------------------------------


def identity(server: Running) -> dict[str, list[str]]:
    """The user and the groups of the process, and its capabilities: proc_pid_status(5)."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    fields = dict(entry.split(":", 1) for entry in lines)
    return {name: fields[name].split() for name in ("Uid", "Gid", "Groups", "CapPrm")}


def is_nobody(server: Running) -> bool:
    """Whether it is the user "nobody" in every respect, and can never become another one."""
    ids, name = identity(server), str(NOBODY)
    powerless = int(ids["CapPrm"][0], 16) == 0
    return ids["Uid"] == [name] * 4 and ids["Gid"] == [name] * 4 and {*ids["Groups"]} <= {name} and powerless


def not_permitted(*args: str) -> bool:
    """Whether only root may do this. Then pync refuses it before a client is served."""
    if ROOT:
        return False
    result = run([*PYNC, "-l", *args, "--user", "nobody", "0"])
    assert (result.status, result.err) == (1, "pync: user nobody: Operation not permitted\n")
    return True


@pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])
def test_pync_becomes_the_user_before_it_serves_a_client(keep_open: tuple[str, ...]) -> None:
    if not_permitted(*keep_open):
        return
    with listen(*keep_open, "--user", "nobody", "0") as server:
        assert is_nobody(server)
        with connect(server.port) as conn:
            conn.sendall(b"hello\n")
            assert server.read_until(b"\n") == b"hello\n"
            server.send(b"and back\n")
            assert line(conn) == b"and back\n"


@pytest.mark.parametrize("option", ["--exec", "--filter"])
def test_programs_run_as_the_user(option: str) -> None:
    if not_permitted(option, "id"):
        return
    with listen("-k", "--user", "nobody", option, "id -u", "0") as server:
        assert [ask(server.port) for _ in range(3)] == [b"65534\n"] * 3
    with listen("--user", "nobody:daemon", option, "id -gn", "0") as server:
        assert ask(server.port) == b"daemon\n"


def test_the_user_serves_a_file_that_only_root_may_read(page: Path) -> None:
    if not_permitted("-k"):
        return
    page.chmod(0o600)
    with page.open("rb") as file, listen("-k", "--user", "nobody", "0", stdin=file) as server:
        assert is_nobody(server)
        assert [ask(server.port) for _ in range(3)] == [b"the page\n"] * 3


def test_the_user_copes_with_a_reset_and_with_telnet_and_with_logs(tmp_path: Path) -> None:
    if not_permitted("-k", "-t"):
        return
    log = ("-o", str(tmp_path / "log"))
    with listen("-k", "--user", "nobody", "-t", "-C", *log, "0") as server, clients(server, 2) as (broken, whole):
        broken.sendall(b"word\n")
        assert server.read_until(b"\n") == b"word\n"
        reset(broken)
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer$")
        whole.sendall(b"on\n")
        assert server.read_until(b"\n") == b"on\n"


def test_the_unix_path_belongs_to_the_user_and_is_removed_at_the_end() -> None:
    if not_permitted():
        return
    directory = tempfile.mkdtemp(prefix="pync-test-")  # tmp_path is closed to other users
    try:
        shutil.chown(directory, NOBODY, NOBODY)
        path = Path(directory, "socket")
        with listen("-k", "-U", "--user", "nobody", "--exec", "id -u", str(path)) as server:
            assert path.owner() == "nobody"
            assert run([*PYNC, "-U", str(path)]) == success(b"65534\n")
            server.signal(signal.SIGTERM)
            assert server.wait() == 143
        assert not path.exists()
    finally:
        shutil.rmtree(directory)


def test_the_user_serves_a_privileged_port() -> None:
    if not_permitted("-k"):
        return
    script = 'ip link set lo up && exec "$@"'  # in a network of its own, where port 80 is free
    require("unshare", "ip", "nsenter")
    with announced(
        Running(["unshare", "-n", "sh", "-c", script, "sh", *SERVER, "--user", "nobody", "--exec", "id -u", "80"])
    ) as server:
        assert server.port == 80
        assert is_nobody(server)
        inside = ["nsenter", "-t", str(server.pid), "-n"]
        for host in ("127.0.0.1", "::1"):
            assert run([*inside, *PYNC, host, "80"]) == success(b"65534\n")


def test_a_user_that_does_not_exist_is_an_error_at_once() -> None:
    result = run([*SERVER, "--user", "nonesuch-user", "0"])
    assert (result.status, result.err) == (1, "pync: user nonesuch-user: no such user\n")


# -- The end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_server_and_all_its_connections_quickly(signum: int, status: int) -> None:
    with listen("-k", "0") as server, clients(server, 200) as conns:
        begun = time.monotonic()
        server.signal(signum)
        assert server.wait() == status
        assert time.monotonic() - begun < 2
        assert {drain(conn) for conn in conns} == {b""}


def test_sigterm_ends_the_programs_of_all_clients() -> None:
    with listen("-k", "--filter", "cat", "0") as server, clients(server, 10) as conns:
        for conn in conns:
            conn.sendall(b"there?\n")
            assert line(conn) == b"there?\n"
        assert len(server.children()) == 10
        server.signal(signal.SIGTERM)
        assert server.wait() == 143
        for conn in conns:  # what the program might still have answered is broken off
            with pytest.raises(ConnectionResetError):
                conn.recv(1)
