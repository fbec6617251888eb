"""A log for each client: `-o` and `--hex-dump` with `%` in the name, in every service and over every transport.

How names are made and which files are refused is tested in `tests/unit/test_client_logs.py`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import socket
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import encrypted
import pytest
from clients import ask, datagrams, drain, is_true, line, take, unix_client
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Running,
    announced,
    connect,
    failure,
    listen,
    many_descriptors,
    pync,
    require,
    run,
    serve,
    success,
)
from http_clients import curl
from websockets.sync.client import connect as dial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from certificates import Authority

MANY = 300  # clients at once
QUESTION, ANSWER = b"hello\n", b"HELLO\n"


class Logged(NamedTuple):
    """What a hex dump has of each direction, as seen from pync."""

    received: bytes
    sent: bytes


def logged(dump: Path) -> Logged:
    """What is in a hex dump."""
    text = {"<": b"", ">": b""}
    for entry in dump.read_text().splitlines():
        if entry[0] in text:
            text[entry[0]] += bytes.fromhex(entry[11:59])
    return Logged(text["<"], text[">"])


def upper(conn: socket.socket) -> None:
    """Answer each line in upper case."""
    with contextlib.suppress(ConnectionError):
        while data := conn.recv(4096):
            conn.sendall(data.upper())


UPPER = ("--filter", "tr a-z A-Z")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The directory of the logs."""
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def logging(logs: Path, *options: str, name: str = "%n", place: Sequence[str] = ("127.0.0.1", "0")) -> Running:
    """A server with a raw log and a hex dump for each client."""
    words = ("-k", "-o", f"{logs}/{name}.raw", "--hex-dump", f"{logs}/{name}.hex", *options, *place)
    return listen(*words, stdin=DEVNULL)


def ended(server: Running, count: int) -> None:
    """Wait until so many sessions have ended."""
    server.expect(r"^pync: .*: (sent|received|nothing).*\n", count=count)


# -- Clients of every kind -------------------------------------------------------------------------------------------

CLIENTS = {
    "nc.openbsd": ["nc.openbsd", "-N", "127.0.0.1"],
    "ncat": ["ncat", "127.0.0.1"],
    "socat": ["socat", "-t", "9", "-"],
}


def client(tool: str, port: int) -> list[str]:
    """The command line of a client."""
    program, *words = CLIENTS[tool]
    where = [f"TCP:127.0.0.1:{port}"] if tool == "socat" else [str(port)]
    return [require(program), *words, *where]


@pytest.mark.parametrize("tool", CLIENTS)
@pytest.mark.parametrize(
    "options", [UPPER, ("-c", "tr a-z A-Z"), ("--pipes", "-c", "tr a-z A-Z")], ids=["filter", "program", "pipes"]
)
def test_each_client_of_a_program_has_its_log(tool: str, options: tuple[str, ...], logs: Path) -> None:
    with logging(logs, *options) as server:
        for word in (b"one\n", b"two\n"):
            assert run(client(tool, server.port), word) == success(word.upper())
    for number, word in (("1", b"one\n"), ("2", b"two\n")):
        assert logged(logs / f"{number}.hex") == Logged(word, word.upper())
        assert (logs / f"{number}.raw").read_bytes() == word + word.upper()
    assert len(os.listdir(logs)) == 4


@pytest.mark.parametrize("tool", CLIENTS)
def test_each_client_of_stdin_and_stdout_has_its_log(tool: str, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"the page\n")
    names = ("-o", f"{logs}/%n.raw", "--hex-dump", f"{logs}/%n.hex")
    with (tmp_path / "page").open("rb") as page, listen("-k", *names, "127.0.0.1", "0", stdin=page) as server:
        for word in (b"one\n", b"two\n"):
            assert run(client(tool, server.port), word) == success(b"the page\n")
            assert server.read_until(b"\n") == word
        ended(server, 2)
    assert [logged(logs / f"{number}.hex") for number in (1, 2)] == [
        Logged(b"one\n", b"the page\n"),
        Logged(b"two\n", b"the page\n"),
    ]


@pytest.mark.parametrize("tool", CLIENTS)
def test_each_client_that_is_forwarded_has_its_log(tool: str, logs: Path) -> None:
    with serve(upper) as (host, port), logging(logs, "--to", f"{host}:{port}") as server:
        for word in (b"one\n", b"two\n"):
            assert run(client(tool, server.port), word) == success(word.upper())
    assert logged(logs / "1.hex") == Logged(b"one\n", b"ONE\n")
    assert logged(logs / "2.hex") == Logged(b"two\n", b"TWO\n")


def test_a_listener_for_one_client_has_its_log(logs: Path) -> None:
    with listen("-o", f"{logs}/%a-%n", "127.0.0.1", "0", stdin=DEVNULL) as server:
        ask(server.port, QUESTION)
        assert server.finish().status_and_out == (0, QUESTION)
    assert (logs / "127.0.0.1-1").read_bytes() == QUESTION


def test_the_address_and_the_port_are_the_clients(logs: Path) -> None:
    with logging(logs, *UPPER, name="%a-%p-%t") as server, connect(server.port) as conn:
        conn.sendall(QUESTION)
        assert line(conn) == ANSWER
        port = conn.getsockname()[1]
    (dump, raw) = sorted(os.listdir(logs))
    name = re.fullmatch(rf"127\.0\.0\.1-{port}-(\d{{8}}T\d{{6}}Z)\.hex", dump)
    assert name and raw == dump.replace("hex", "raw")
    started = datetime.strptime(name[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - started).total_seconds()) < 60


def test_the_client_is_the_one_that_a_balancer_names(logs: Path) -> None:
    with logging(logs, *UPPER, "--accept-proxy", "--allow", "127.0.0.1", name="%a-%p") as server:
        assert ask(server.port, b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 80\r\n" + QUESTION) == ANSWER
    assert logged(logs / "203.0.113.9-1234.hex") == Logged(QUESTION, ANSWER)


# -- Other transports ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "name"), [("", "unix"), ("../evil", "_._evil"), ("\0x/../y", "@x_.._y")], ids=["none", "path", "abstract"]
)
def test_a_client_of_a_unix_socket_cannot_choose_where_its_log_is(own: str, name: str, logs: Path) -> None:
    path = logs.parent / "socket"
    with logging(logs, "-U", *UPPER, name="%a-%p", place=[str(path)]), socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(DEADLINE)
        with contextlib.chdir(logs):
            if own:
                conn.bind(own)
            conn.connect("../socket")
        conn.sendall(QUESTION)
        assert line(conn) == ANSWER
    assert sorted(os.listdir(logs)) == [f"{name}-0.hex", f"{name}-0.raw"]
    assert logged(logs / f"{name}-0.hex") == Logged(QUESTION, ANSWER)


@pytest.mark.parametrize("options", [("-e", "/bin/cat"), ("--filter", "cat"), ("--to", "{}")], ids=" ".join)
def test_each_sender_of_datagrams_has_its_log(options: tuple[str, ...], logs: Path) -> None:
    with listen("-uk", "-e", "/bin/cat", "127.0.0.1", "0") as target:
        words = [option.format(f"127.0.0.1:{target.port}") for option in options]
        with logging(logs, "-u", *words) as server, datagrams(server.port) as one, datagrams(server.port) as two:
            for number, sock in enumerate((one, two, one)):
                sock.send(b"%d\n" % number)
                assert sock.recv(100) == b"%d\n" % number
    assert logged(logs / "1.hex") == Logged(b"0\n2\n", b"0\n2\n")
    assert logged(logs / "2.hex") == Logged(b"1\n", b"1\n")


def test_senders_of_datagrams_that_share_stdin_and_stdout_have_a_log_each(logs: Path) -> None:
    words = ("-uk", "-o", f"{logs}/%n", "127.0.0.1", "0")
    with listen(*words) as server, datagrams(server.port) as one, datagrams(server.port) as two:
        for sock in (one, two):
            sock.send(b"q\n")
            assert server.read_until(b"\n") == b"q\n"
        server.send(b"to all\n")
        assert (one.recv(100), two.recv(100)) == (b"to all\n", b"to all\n")
    assert (logs / "1").read_bytes() == (logs / "2").read_bytes() == b"q\nto all\n"


def test_the_only_sender_of_datagrams_has_its_log(logs: Path) -> None:
    with listen("-u", "-o", f"{logs}/%a", "127.0.0.1", "0") as server, datagrams(server.port) as sock:
        sock.send(QUESTION)
        assert server.read_until(b"\n") == QUESTION
    assert (logs / "127.0.0.1").read_bytes() == QUESTION


def test_a_log_has_what_lies_under_tls(logs: Path, authority: Authority) -> None:
    with logging(logs, *UPPER, *encrypted.ours(authority.server)) as server:
        ncat = [require("ncat"), "--ssl", "127.0.0.1", str(server.port)]
        assert run(ncat, QUESTION).status_and_out == (0, ANSWER)
        with encrypted.greeted(encrypted.client_side(authority), server.port) as peer:
            peer.sendall(b"two\n")
            encrypted.send_end(peer)
            assert encrypted.drain_tls(peer) == b"TWO\n"
        ended(server, 2)
    assert logged(logs / "1.hex") == Logged(QUESTION, ANSWER)
    assert logged(logs / "2.hex") == Logged(b"two\n", b"TWO\n")


def test_a_client_that_fails_its_handshake_has_no_log(logs: Path, authority: Authority) -> None:
    with logging(logs, *UPPER, *encrypted.ours(authority.server)) as server:
        with contextlib.suppress(ConnectionError):
            ask(server.port, b"no TLS\n")
        server.expect("^pync: TLS handshake with ")
    assert os.listdir(logs) == []


def test_a_log_has_what_lies_under_websocket(logs: Path) -> None:
    with logging(logs, *UPPER, "--ws") as server:
        with dial(f"ws://127.0.0.1:{server.port}/") as peer:
            peer.send(QUESTION)
            assert peer.recv(DEADLINE) == ANSWER
        ended(server, 1)
    assert logged(logs / "1.hex") == Logged(QUESTION, ANSWER)


# -- HTTP and proxies ------------------------------------------------------------------------------------------------


def test_each_request_has_its_log(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"the page\n")
    words = ("-k", "--http", "--hex-dump", f"{logs}/%n", "127.0.0.1", "0")
    with (tmp_path / "page").open("rb") as page, listen(*words, stdin=page) as server:
        for path in ("/one", "/two"):
            assert curl(server, path=path) == b"the page\n"
        assert ask(server.port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    for number, asked in ((1, b"/one"), (2, b"/two")):
        log = logged(logs / str(number))
        assert log.received.startswith(b"GET %s HTTP/1.1\r\n" % asked)
        assert log.sent.startswith(b"HTTP/1.1 200 OK\r\n") and log.sent.endswith(b"\r\n\r\nthe page\n")
    refused = logged(logs / "3")
    assert refused.received == b"nonsense\r\n\r\n" and refused.sent.startswith(b"HTTP/1.1 400 ")


def test_a_listener_for_one_request_logs_those_before_it_too(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"the page\n")
    words = ("--http", "--hex-dump", f"{logs}/%n", "127.0.0.1", "0")
    with (
        (tmp_path / "page").open("rb") as page,
        listen(*words, stdin=page) as server,
        connect(server.port),  # it asks for nothing
    ):
        assert curl(server) == b"the page\n"
        assert server.wait() == 0
    assert sorted(os.listdir(logs)) == ["1", "2"]
    assert logged(logs / "1") == Logged(b"", b"")
    assert logged(logs / "2").sent.endswith(b"the page\n")


PAGE = b"HTTP/1.0 200 OK\r\n\r\nserved\n"


def page(conn: socket.socket) -> None:
    """Answer a request."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += conn.recv(4096)
    conn.sendall(PAGE)


@pytest.mark.parametrize("kind", ["http", "socks5", "plain"])
def test_each_client_of_a_proxy_has_its_log(kind: str, logs: Path) -> None:
    through = {"http": ["-p", "-x", "http://"], "socks5": ["-x", "socks5h://"], "plain": ["-x", "http://"]}[kind]
    served = "socks5" if kind == "socks5" else "http"
    with serve(page) as (_, port), logging(logs, "--proxy-server", served, "--proxy-allow", "127.0.0.1") as server:
        words = [require("curl"), "-qsS", "-m", "20", *through[:-1], f"{through[-1]}127.0.0.1:{server.port}"]
        for path in ("one", "two"):
            assert run([*words, f"http://127.0.0.1:{port}/{path}"]) == success(b"served\n")
        ended(server, 2)
    for number, asked in ((1, b"one"), (2, b"two")):
        log = logged(logs / f"{number}.hex")
        assert log.received.startswith(b"GET /%s HTTP/1.1\r\n" % asked)
        assert log.sent.startswith(b"HTTP/1.") and log.sent.endswith(b"\r\n\r\nserved\n")


# -- Hubs ------------------------------------------------------------------------------------------------------------


def test_the_log_of_a_member_has_what_it_sends_and_what_it_is_sent(logs: Path) -> None:
    with logging(logs, "--broker") as server, connect(server.port) as one:
        server.expect("^Connection received")
        with connect(server.port) as two:
            server.expect("^Connection received", count=2)
            one.sendall(b"from one\n")
            assert line(two) == b"from one\n"
            two.sendall(b"from two\n")
            assert line(one) == b"from two\n"
    assert logged(logs / "1.hex") == Logged(b"from one\n", b"from two\n")
    assert logged(logs / "2.hex") == Logged(b"from two\n", b"from one\n")


def test_the_log_of_a_member_of_a_chat_has_its_lines_and_all_announcements(logs: Path) -> None:
    with listen("-k", "--chat", "--hex-dump", f"{logs}/%n", "127.0.0.1", "0") as server, connect(server.port) as one:
        seen = line(one) + line(one)
        with connect(server.port) as two:
            seen += line(one)
            take(two, 1)
            one.sendall(b"hi\n")
            server.send(b"from stdin\n")
            seen += line(one)
            while b"from stdin" not in line(two):
                pass
    log = logged(logs / "1")
    assert log.received == b"hi\n" and log.sent.startswith(seen)
    assert {b"<user1> hi", b"<user0> from stdin"} <= {*logged(logs / "2").sent.splitlines()}


def test_what_stdin_sends_to_all_is_once_in_a_log_for_all_and_once_in_each_own(logs: Path) -> None:
    words = ("-k", "--broker", "-o", f"{logs}/all", "--hex-dump", f"{logs}/%n", "127.0.0.1", "0")
    with listen(*words) as server, connect(server.port) as one, connect(server.port) as two:
        server.expect("^Connection received", count=2)
        server.send(b"to all\n")
        assert (line(one), line(two)) == (b"to all\n", b"to all\n")
    assert (logs / "all").read_bytes() == b"to all\n"
    assert logged(logs / "1") == logged(logs / "2") == Logged(b"", b"to all\n")


# -- Many ------------------------------------------------------------------------------------------------------------


def test_hundreds_of_clients_at_once_have_their_logs_and_give_their_descriptors_back(logs: Path) -> None:
    with many_descriptors(4 * MANY), serve(upper) as (host, port), logging(logs, "--to", f"{host}:{port}") as server:
        before = len(server.descriptors())
        for _ in range(2):
            with contextlib.ExitStack() as stack:
                conns = [stack.enter_context(connect(server.port)) for _ in range(MANY)]
                for number, conn in enumerate(conns):
                    conn.sendall(b"client %d\n" % number)
                for number, conn in enumerate(conns):
                    assert line(conn) == b"CLIENT %d\n" % number
                assert len(server.descriptors()) >= before + 2 * MANY
            is_true(lambda: len(server.descriptors()) <= before + MANY // 8, "no log is open")
    found = [logged(logs / f"{number}.hex") for number in range(1, 2 * MANY + 1)]
    assert sorted(log.received for log in found) == sorted([b"client %d\n" % number for number in range(MANY)] * 2)
    assert all(log.sent == log.received.upper() for log in found)


def test_clients_wait_for_the_descriptors_of_their_logs(logs: Path) -> None:
    answers: list[bytes] = []
    prlimit = [require("prlimit"), "--nofile=24:24"]
    names = ["-o", f"{logs}/%n.raw", "--hex-dump", f"{logs}/%n.hex"]
    words = [*prlimit, *PYNC, "-v", "-lk", *names, *UPPER, "127.0.0.1", "0"]
    with announced(Running(words, stdin=DEVNULL)) as server:
        threads = [threading.Thread(target=lambda: answers.append(ask(server.port, QUESTION))) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(6 * DEADLINE)
        assert answers == [ANSWER] * 40
        assert "opening" not in server.stderr and "session of" not in server.stderr
    assert {logged(path) for path in logs.glob("*.hex")} == {Logged(QUESTION, ANSWER)}


@pytest.mark.parametrize("options", [("--broker",), ()], ids=["broker", "stdio"])
def test_clients_that_may_have_left_go_for_the_next_before_the_descriptors_of_logs_are_used_up(
    options: tuple[str, ...], logs: Path
) -> None:
    words = [require("prlimit"), "--nofile=44:44", *PYNC, "-v", "-lk", *options]
    names = ["-o", f"{logs}/%n.raw", "--hex-dump", f"{logs}/%n.hex"]
    with announced(Running([*words, *names, "127.0.0.1", "0"])) as server:
        for number in range(1, 60):
            with connect(server.port) as conn:
                conn.shutdown(socket.SHUT_WR)
                is_true((logs / f"{number}.hex").exists, "it is served")
        assert "opening" not in server.stderr and "session of" not in server.stderr


def test_senders_of_datagrams_leave_room_for_the_descriptors_of_logs(logs: Path) -> None:
    words = [require("prlimit"), "--nofile=32:32", *PYNC, "-v", "-luk", "-o", f"{logs}/%n", "127.0.0.1", "0"]
    with announced(Running(words, stdin=DEVNULL), "Bound") as server, contextlib.ExitStack() as stack:
        for number in range(50):
            sock = stack.enter_context(datagrams(server.port))
            sock.send(b"%d\n" % number)
            assert server.read_until(b"\n") == b"%d\n" % number
        assert "opening" not in server.stderr
    assert [(logs / f"{number + 1}").read_bytes() for number in range(50)] == [b"%d\n" % n for n in range(50)]


def test_clients_with_one_name_share_a_file_which_is_begun_anew_once_in_a_run(logs: Path) -> None:
    (logs / "127.0.0.1.raw").write_bytes(b"of another run\n")
    with logging(logs, *UPPER, name="%a") as server, connect(server.port) as one:
        one.sendall(b"a\n")
        assert line(one) == b"A\n"
        assert ask(server.port, b"b\n") == b"B\n"
        ended(server, 1)
        one.sendall(b"c\n")
        assert line(one) == b"C\n"
    assert (logs / "127.0.0.1.raw").read_bytes() == b"a\nA\nb\nB\nc\nC\n"
    with logging(logs, *UPPER, "--append-output", name="%a") as server:
        assert ask(server.port, b"d\n") == b"D\n"
    assert (logs / "127.0.0.1.raw").read_bytes() == b"a\nA\nb\nB\nc\nC\nd\nD\n"


# -- Faults ----------------------------------------------------------------------------------------------------------


def removed(logs: Path) -> Iterator[None]:
    shutil.rmtree(logs)
    yield
    logs.mkdir()


def put_in_place(put: Callable[[Path], object]) -> Callable[[Path], Iterator[None]]:
    def fault(logs: Path) -> Iterator[None]:
        put(logs / "2")
        yield

    return fault


FAULTS = {
    "no directory": (removed, "opening .*/2: No such file or directory"),
    "fifo": (put_in_place(os.mkfifo), "opening .*/2: No such device or address"),
    "symbolic link": (put_in_place(lambda path: path.symlink_to("../victim")), "opening .*/2: it is a symbolic link"),
    "hard link": (
        put_in_place(lambda path: os.link(path.parent.parent / "victim", path)),
        "opening .*/2: the file has another name, too",
    ),
    "directory": (put_in_place(lambda path: path.mkdir()), "opening .*/2: Is a directory"),
}
SERVICES: dict[str, tuple[str, ...]] = {
    "stdio": (),
    "program": ("-e", "/bin/cat"),
    "filter": ("--filter", "cat"),
    "broker": ("--broker",),
    "chat": ("--chat",),
    "HTTP": ("--http",),
    "to": ("--to", "{}"),
    "SOCKS": ("--proxy-server", "socks5"),
}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_log_that_cannot_be_opened_resets_its_client_and_no_other(kind: str, service: str, logs: Path) -> None:
    fault, message = FAULTS[kind]
    (logs.parent / "victim").write_bytes(b"precious")
    with serve(upper) as (host, port):
        options = [option.format(f"{host}:{port}") for option in SERVICES[service]]
        words = ("-k", "-o", f"{logs}/%n", *options, "127.0.0.1", "0")
        with listen(*words, stdin=DEVNULL) as server, connect(server.port) as first:
            is_true((logs / "1").exists, "the first session has begun")
            at_fault = contextlib.contextmanager(fault)(logs)
            with at_fault, pytest.raises(ConnectionResetError), connect(server.port) as second:
                server.expect(f"^pync: {message}\n")
                drain(second)
            with connect(server.port) as third:
                is_true((logs / "3").exists, "the third session has begun")
                first.setblocking(False)
                third.setblocking(False)
                for conn in (first, third):
                    with contextlib.suppress(BlockingIOError):  # both are served still
                        assert conn.recv(1 << 16), "it has ended"
        assert server.stderr.count("pync: opening") == 1 and "Traceback" not in server.stderr
    assert (logs.parent / "victim").read_bytes() == b"precious"


def full(logs: Path, *options: str) -> Running:
    """A server of which no log may be larger than `FULL`."""
    limit = [require("prlimit"), f"--fsize={FULL}:{FULL}"]
    return announced(Running([*limit, *PYNC, "-v", "-lk", "-o", f"{logs}/%n", *options, "127.0.0.1", "0"]))


FULL = 4096  # bytes
TOO_LARGE = r"^pync: writing .*/{}: File too large\n"


@pytest.mark.parametrize("options", [(), ("-e", "/bin/cat"), ("--to", "{}")], ids=["stdio", "program", "to"])
def test_a_log_that_cannot_be_written_ends_its_session_and_no_other(options: tuple[str, ...], logs: Path) -> None:
    with serve(upper) as (host, port), full(logs, *(option.format(f"{host}:{port}") for option in options)) as server:
        with connect(server.port) as first, connect(server.port) as second:
            server.expect("^Connection received", count=2)
            with contextlib.suppress(ConnectionError):
                first.sendall(PAYLOAD(1 << 20))
                drain(first)
            server.expect(TOO_LARGE.format("[12]"))
            second.sendall(QUESTION)
            if options:
                assert line(second).lower() == QUESTION
            is_true(lambda: QUESTION in (logs / "1").read_bytes() + (logs / "2").read_bytes(), "it is logged")
        assert len(re.findall("File too large", server.stderr)) == 1 and "Traceback" not in server.stderr


@pytest.mark.parametrize("room", [212, 12], ids=["later", "when it comes"])
@pytest.mark.parametrize("half_closed", [False, True], ids=["whole", "half-closed"])
@pytest.mark.parametrize("kind", ["--broker", "--chat"])
def test_in_a_hub_a_log_that_fails_for_what_is_sent_ends_the_receiver_and_not_the_sender(
    kind: str, half_closed: bool, room: int, logs: Path
) -> None:
    (logs / "2").write_bytes(bytes(FULL - room))
    word = b"x" * 250 + b"\n"
    with full(logs, kind, "--append-output") as server, connect(server.port) as sender:
        is_true((logs / "1").exists, "the sender is there")
        with pytest.raises(ConnectionResetError), connect(server.port) as receiver:
            if half_closed:
                with contextlib.suppress(OSError):  # its log may have failed already
                    receiver.shutdown(socket.SHUT_WR)
            server.expect("^Connection received", count=2)
            sender.sendall(word)
            server.expect(TOO_LARGE.format("2"))
            drain(receiver)
        server.expect(TOO_LARGE.format("2"))
        with connect(server.port) as third:
            server.expect("^Connection received", count=3)
            third.sendall(b"still there?\n")
            while b"still there?" not in (got := line(sender)):
                assert got, "the sender's session has ended"
        assert server.stderr.count("File too large") == 1 and "Traceback" not in server.stderr


def test_a_directory_that_is_missing_is_one_line_before_anything_is_bound(logs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # a bind would fail with another message
        for mode in ("-lk", "-l"):
            result = run([*PYNC, mode, "-o", f"{logs}/none/%n", "127.0.0.1", str(taken.getsockname()[1])])
            assert result == failure(f"directory {logs}/none for logs: No such file or directory")
    assert run([*PYNC, "-o", f"{logs}/none/%n", "127.0.0.1", "1"]) == failure(
        f"directory {logs}/none for logs: No such file or directory"
    )


@pytest.mark.parametrize("name", ["log%", "%", "%x", "%%%"])
def test_a_name_with_an_unknown_letter_is_a_usage_error(name: str, logs: Path) -> None:
    result = run([*PYNC, "-lk", "-o", name, "0"], cwd=logs)
    assert (result.status, result.err.splitlines()[0][: len("pync: -o")]) == (2, "pync: -o")
    assert os.listdir(logs) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_with_another_user_the_logs_of_clients_are_that_users_and_a_log_for_all_is_ours() -> None:
    with tempfile.TemporaryDirectory(prefix="pync-test-") as name:  # tmp_path is closed to other users
        logs = Path(name)
        shutil.chown(logs, "nobody")
        words = ("-k", "--user", "nobody", *UPPER, "-o", f"{logs}/all", "--hex-dump", f"{logs}/%n", "127.0.0.1", "0")
        with listen(*words) as server:
            assert ask(server.port, QUESTION) == ANSWER
        owners = {path.name: pwd.getpwuid(path.stat().st_uid).pw_name for path in logs.iterdir()}
    assert owners == {"all": "root", "1": "nobody"}


# -- Connecting ------------------------------------------------------------------------------------------------------


def test_each_port_that_is_connected_to_has_its_log(logs: Path) -> None:
    with serve(upper) as (host, one), serve(upper) as (_, two):
        result = run([*PYNC, "-o", f"{logs}/%a-%p-%n", host, str(one), str(two)], QUESTION)
        assert result.status == 0, result.err
    found = {path.name: path.read_bytes() for path in logs.iterdir()}
    assert found == {f"{host}-{one}-1": QUESTION + ANSWER, f"{host}-{two}-2": b""}


def test_a_log_of_a_program_that_connects_is_by_the_peers_name(logs: Path) -> None:
    with serve(upper) as (host, port):
        program = "echo hello; read word; echo $word >&2"
        assert run([*PYNC, "-o", f"{logs}/%a", "-c", program, host, str(port)]).err == "HELLO\n"
    assert (logs / "127.0.0.1").read_bytes() == QUESTION + ANSWER


def test_no_program_is_started_whose_log_cannot_be_opened(logs: Path) -> None:
    (logs / "1").mkdir()
    with serve(upper) as (host, port):
        result = run([*PYNC, "-o", f"{logs}/%n", "-c", f"touch {logs}/begun", host, str(port)])
        assert result == failure(f"opening {logs}/1: Is a directory")
    assert os.listdir(logs) == ["1"]


def test_the_connections_of_one_conversation_have_one_log(logs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        there.settimeout(DEADLINE)
        port = str(there.getsockname()[1])
        with pync("--reconnect", "20", "--hex-dump", f"{logs}/%n", "127.0.0.1", port) as process:
            for word in (b"one\n", b"two\n"):
                conn, _ = there.accept()
                conn.settimeout(DEADLINE)
                conn.sendall(word.upper())
                process.send(word)
                assert line(conn) == word
                assert process.read_until(b"\n") == word.upper()
                conn.close()
            with there.accept()[0]:
                process.close_stdin()
            assert process.wait() == 0
    assert logged(logs / "1") == Logged(b"ONE\nTWO\n", b"one\ntwo\n")
    assert os.listdir(logs) == ["1"]


def test_a_client_of_datagrams_logs_each_address_that_it_tries(logs: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.settimeout(DEADLINE)
        with pync("-u", "-o", f"{logs}/%a", "localhost", str(there.getsockname()[1])) as process:
            process.send(QUESTION)
            data, name = there.recvfrom(100)
            there.sendto(data.upper(), name)
            assert process.read_until(b"\n") == ANSWER
    assert (logs / "127.0.0.1").read_bytes() == QUESTION + ANSWER
    assert {*os.listdir(logs)} <= {"127.0.0.1", "::1"}


def test_a_client_whose_log_cannot_be_opened_breaks_its_connection(logs: Path) -> None:
    (logs / "127.0.0.1").mkdir()
    ends: list[object] = []

    def note(conn: socket.socket) -> None:
        try:
            ends.append(drain(conn))
        except ConnectionResetError as error:
            ends.append(error)

    with serve(note) as (host, port):
        result = run([*PYNC, "-o", f"{logs}/%a", host, str(port)], QUESTION)
        assert result == failure(f"opening {logs}/127.0.0.1: Is a directory")
        is_true(lambda: bool(ends), "the server has seen the end")
    assert isinstance(ends[0], ConnectionResetError), "it would take nothing for all"


# -- Time stamps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dump", "%n"], ids=["for all", "for each"])
def test_each_block_has_the_time_of_its_read(name: str, logs: Path) -> None:
    before = time.time()
    words = ("-k", "--timestamps", "--hex-dump", f"{logs}/{name}", *UPPER, "127.0.0.1", "0")
    with listen(*words) as server, connect(server.port) as conn:
        for word in (b"one\n", b"two\n", b"x" * 40 + b"\n"):
            conn.sendall(word)
            assert line(conn) == word.upper()
    lines = (logs / name.replace("%n", "1")).read_text().splitlines()
    blocks = re.findall(r"#([<>]+)", "".join(entry[0] for entry in lines))
    assert blocks == ["<", ">", "<", ">", "<<<", ">>>"]
    times = [datetime.fromisoformat(entry[2:]).timestamp() for entry in lines if entry[0] == "#"]
    assert before - 0.001 <= times[0] and times == sorted(times) and times[-1] <= time.time() + 0.001
    assert all(re.fullmatch(r"# \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry) for entry in lines if entry[0] == "#")


def test_a_unix_client_that_is_forwarded_has_its_log(logs: Path) -> None:
    path = logs.parent / "socket"
    with (
        serve(upper) as (host, port),
        logging(logs, "-U", "--to", f"{host}:{port}", place=[str(path)]),
        unix_client(path) as conn,
    ):
        conn.sendall(QUESTION)
        assert line(conn) == ANSWER
    assert logged(logs / "1.hex") == Logged(QUESTION, ANSWER)
