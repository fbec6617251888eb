"""The exercises of a magazine's article on sockets: an upper-case server, its clients, and a fifo that hangs.

Every server (in C, in Python, by pync) must serve every client (the netcats, the article's own, pync), also many at
the same time. What pync serves by one option needs a program in the article, and in the shell a pipeline that hangs.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest
from clients import ask, drain, is_true, line, take
from harness import DEADLINE, PYNC, Running, announced, connect, listen, require, run, success

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[[], Running]

SERVERS = ["upper_c", "upper_py", "upper_pync"]
UPPER = ("--filter", "tr a-z A-Z")

# The article's client sends no newline, does not half-close, and waits.
CLIENT = """
import socket, sys
with socket.create_connection(("localhost", int(sys.argv[1]))) as sock:
    sock.sendall(b"Hello World")
    print(sock.recv(1024).decode())
"""

CLIENTS = {
    "pync": [*PYNC, "localhost"],
    "openbsd": ["nc.openbsd", "-N", "localhost"],
    "ncat": ["ncat", "localhost"],
    "traditional": ["nc.traditional", "-q", "5", "localhost"],
    "socat": ["socat", "-", "TCP:localhost:"],
    "article": [sys.executable, "-c", CLIENT],
}


@pytest.fixture(scope="session")
def upper_pync() -> Start:
    """Starts the upper-case server that is a pync."""
    return lambda: listen("-k", *UPPER, "0")


@pytest.fixture(params=SERVERS)
def upper(request: pytest.FixtureRequest) -> Start:
    """Starts the upper-case server: each of the three in turn."""
    start: Start = request.getfixturevalue(request.param)
    return start


def client(name: str, port: int) -> list[str]:
    """The command line of a client."""
    argv = CLIENTS[name]
    if name not in ("pync", "article"):
        require(argv[0])
    return [*argv[:-1], argv[-1] + str(port)] if name == "socat" else [*argv, str(port)]


# -- One client ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIENTS)
def test_every_server_answers_every_client(upper: Start, name: str) -> None:
    with upper() as server:
        result = run(client(name, server.port), b"Hello World\n")
        assert result.status_and_out == (0, b"HELLO WORLD\n")


def test_echo_into_pync_gets_its_answer_and_ends(upper: Start) -> None:
    with upper() as server:
        script = 'echo "Hello World" | "$@"'
        assert run(["sh", "-c", script, "sh", *client("pync", server.port)]) == success(b"HELLO WORLD\n")


def test_pync_sends_a_file_and_keeps_the_answer_in_another(upper: Start, tmp_path: Path) -> None:
    greeting = b"hello\nwithout a last newline"
    (tmp_path / "greet").write_bytes(greeting)
    with upper() as server:
        script = f'"$@" < greet localhost {server.port} > greet2'
        assert run(["sh", "-c", script, "sh", *PYNC], cwd=tmp_path) == success()
    assert (tmp_path / "greet2").read_bytes() == greeting.upper()


def test_pync_talks_to_a_server_line_by_line(upper: Start) -> None:
    with upper() as server, Running(client("pync", server.port)) as talker:
        for word in (b"hello\n", b"again\n"):
            talker.send(word)
            assert talker.read(len(word)) == word.upper()
        assert talker.finish() == success()


# -- Many clients ----------------------------------------------------------------------------------------------------


def test_every_server_serves_many_clients_at_once_and_leaves_no_zombie(upper: Start) -> None:
    with upper() as server:
        conns = [connect(server.port) for _ in range(8)]
        for turn in range(3):
            for number, conn in enumerate(conns):
                conn.sendall(b"client %d, turn %d" % (number, turn))
            for number, conn in reversed([*enumerate(conns)]):
                answer = b"CLIENT %d, TURN %d" % (number, turn)
                assert take(conn, len(answer)) == answer
        for conn in conns:
            conn.shutdown(socket.SHUT_WR)
            assert drain(conn) == b""
            conn.close()
        is_true(lambda: server.children() == [], "the children have ended and are reaped")


def test_different_clients_talk_to_one_server_at_the_same_time(upper: Start) -> None:
    with upper() as server:
        talkers = [Running(client(name, server.port)) for name in ("pync", "openbsd", "ncat", "pync")]
        for number, talker in enumerate(talkers):
            talker.send(b"hello %d\n" % number)
        for number, talker in reversed([*enumerate(talkers)]):
            assert talker.read_until(b"\n") == b"HELLO %d\n" % number
        for talker in talkers:
            assert talker.finish().status == 0
            talker.close()


def test_a_page_is_served_without_a_loop_of_the_shell(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Hello World</h1>\n")
    curl = require("curl")
    with (tmp_path / "page").open("rb") as page, listen("-k", "0", stdin=page) as server:
        for _ in range(3):
            result = run([curl, "-sS", "--noproxy", "*", f"http://localhost:{server.port}/"])
            assert result == success(b"<h1>Hello World</h1>\n")


# -- The fifo --------------------------------------------------------------------------------------------------------


def pipeline(directory: Path, *listener: str) -> Running:
    """The shell's upper-case server: a pipeline whose last output is its first input."""
    script = 'mkfifo fifo && cat fifo | tr a-z A-Z | "$@" > fifo'
    return announced(Running(["sh", "-c", script, "sh", *listener], cwd=directory))


def receives_nothing(conn: socket.socket) -> bool:
    """Whether no answer arrives within a time that is long enough for one."""
    conn.settimeout(0.3)
    try:
        conn.recv(1)
    except TimeoutError:
        conn.settimeout(DEADLINE)
        return True
    return False


def test_the_fifo_pipeline_of_the_article_hangs_and_has_no_answer_at_the_half_close(tmp_path: Path) -> None:
    with pipeline(tmp_path, require("nc.openbsd"), "-v", "-l", "0") as server, connect(server.port) as conn:
        conn.sendall(b"Hello World\n")
        assert receives_nothing(conn), "tr waits for more, because it writes into a pipe"
        conn.shutdown(socket.SHUT_WR)
        assert drain(conn) == b""


def test_the_fifo_pipeline_with_pync_answers_at_the_half_close(tmp_path: Path) -> None:
    with pipeline(tmp_path, *PYNC, "-v", "-l", "0") as server, connect(server.port) as conn:
        conn.sendall(b"Hello World\n")
        assert receives_nothing(conn), "it is the same tr"
        conn.shutdown(socket.SHUT_WR)
        assert drain(conn) == b"HELLO WORLD\n"
        assert server.wait() == 0


@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "article"])
def test_the_fifo_pipeline_with_pync_answers_clients_that_half_close(tmp_path: Path, name: str) -> None:
    with pipeline(tmp_path, *PYNC, "-v", "-l", "0") as server:
        result = run(client(name, server.port), b"Hello World\n")
        assert result.status_and_out == (0, b"HELLO WORLD\n")
        assert server.wait() == 0


def test_a_filter_answers_at_once_what_the_fifo_pipeline_holds_back() -> None:
    with listen(*UPPER, "0") as server, connect(server.port) as conn:
        conn.sendall(b"Hello World\n")
        assert line(conn) == b"HELLO WORLD\n"
        conn.sendall(b"Hello")
        assert take(conn, 5) == b"HELLO"


def test_a_program_that_is_handed_the_connection_answers_at_the_end_of_file() -> None:
    with listen("--exec", "tr a-z A-Z", "0") as server:
        assert ask(server.port, b"Hello World\n") == b"HELLO WORLD\n"
        assert server.wait() == 0
