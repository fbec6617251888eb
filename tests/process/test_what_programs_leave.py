"""What a program leaves in its process group when it ends, in the installed pync: as long as it has the connection, the
session goes on, and when the session breaks off, it is ended like the program itself.

What is left behind waits for a byte in a fifo, so that a test decides when it goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from clients import ask, drain, is_true, line, reset, take, watched
from harness import DEADLINE, DEVNULL, PYNC, Running, connect, listen, require, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What each of these leaves behind has the connection, or the output that is sent to the client.
KINDS = [("--sh-exec",), ("--pipes", "--sh-exec"), ("-C", "--sh-exec"), ("--filter",)]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=" ".join)
once_and_keep_open = pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    return path


def go_on(fifo: str) -> None:
    """Let a command that waits for `read < FIFO` go on."""
    with open(fifo, "w") as file:
        file.write("\n")


def late(fifo: str, after: str = "echo late") -> str:
    """A command that answers, ends with status 3, and leaves another answer behind."""
    return f"(read x < {fifo}; {after}) & echo early; exit 3"


@contextlib.contextmanager
def unix_client(path: str) -> Iterator[socket.socket]:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as conn:
        conn.settimeout(DEADLINE)
        conn.connect(path)
        yield conn


@every_kind
@once_and_keep_open
def test_what_is_left_behind_still_answers_and_the_end_comes_after_it(
    fifo: str, kind: tuple[str, ...], keep_open: tuple[str, ...]
) -> None:
    with listen(*keep_open, *kind, late(fifo), "0") as server, connect(server.port) as conn:
        assert take(conn, 5) == b"early"
        conn.shutdown(socket.SHUT_WR)
        go_on(fifo)
        assert drain(conn).split() == [b"late"]
        conn.close()
        if not keep_open:
            assert server.wait() == 3


def test_over_a_unix_socket_what_is_left_behind_still_answers(fifo: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with listen("-U", "--sh-exec", late(fifo), path) as server, unix_client(path) as conn:
        assert take(conn, 6) == b"early\n"
        go_on(fifo)
        assert drain(conn) == b"late\n"
        assert server.wait() == 3


def test_the_program_of_a_client_leaves_an_answer_behind_too(fifo: str) -> None:
    with listen("0") as server, Running([*PYNC, "--sh-exec", late(fifo), "127.0.0.1", str(server.port)]) as client:
        assert server.read_until(b"\n") == b"early\n"
        go_on(fifo)
        assert server.read_all() == b"late\n"
        assert client.wait() == 3


def test_the_end_comes_as_soon_as_the_last_process_has_ended(fifo: str) -> None:
    with listen("-k", "--sh-exec", late(fifo), "0") as server:
        for _ in range(3):
            with connect(server.port) as conn:
                take(conn, 6)
                conn.settimeout(2)  # far less than the longest pause between two looks
                go_on(fifo)
                assert drain(conn) == b"late\n"
        is_true(lambda: not server.children(), "all are reaped")


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_what_is_left_behind_without_the_connection_keeps_no_client_waiting_and_lives_on(kind: tuple[str, ...]) -> None:
    server = listen(*kind, "sleep 60 >/dev/null & echo $!", "0")
    with server, connect(server.port) as conn, contextlib.ExitStack() as stack:
        pid = int(line(conn))
        left = os.pidfd_open(pid)
        stack.callback(os.close, left)
        stack.callback(signal.pidfd_send_signal, left, signal.SIGKILL)
        assert drain(conn) == b""
        conn.close()
        assert server.wait() == 0
        os.kill(pid, 0)


@every_kind
@once_and_keep_open
@pytest.mark.parametrize("ignores", ["", "trap '' HUP TERM; "], ids=["obeys", "stubborn"])
def test_what_is_left_behind_ends_when_its_client_is_reset(
    kind: tuple[str, ...], keep_open: tuple[str, ...], ignores: str
) -> None:
    with listen(*keep_open, *kind, f"{ignores}sleep 60 & echo $!", "0") as server:
        conn = connect(server.port)
        with watched(int(line(conn))) as ended:
            reset(conn)
            ended()
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer")
        if not keep_open:
            assert server.wait() == 1
        is_true(lambda: not server.children(), "the program is reaped")


@every_kind
@once_and_keep_open
@pytest.mark.parametrize("ignores", ["", "trap '' HUP TERM; "], ids=["obeys", "stubborn"])
def test_what_is_left_behind_ends_when_a_signal_ends_pync(
    kind: tuple[str, ...], keep_open: tuple[str, ...], ignores: str
) -> None:
    with listen(*keep_open, *kind, f"{ignores}sleep 60 & echo $!", "0") as server, connect(server.port) as conn:
        with watched(int(line(conn))) as ended:
            server.signal(signal.SIGTERM)
            ended()
        assert server.wait() == 143


def test_a_signal_that_comes_while_a_program_is_terminated_leaves_nothing_behind() -> None:
    with listen(
        "-k", "--sh-exec", "trap 'echo hung up >&2' HUP; trap '' TERM; echo $$; while :; do sleep 0.1; done", "0"
    ) as server:
        conn = connect(server.port)
        with watched(int(line(conn))) as ended:
            reset(conn)
            server.expect("^hung up$")
            server.signal(signal.SIGTERM)
            ended()
        assert server.wait() == 143


def test_an_idle_limit_ends_what_is_left_behind() -> None:
    with (
        listen("--idle-timeout", "0.3", "--sh-exec", "sleep 60 & echo $!", "0") as server,
        connect(server.port) as conn,
    ):
        with watched(int(line(conn))) as ended:
            ended()
        assert server.wait() == 124


def test_other_clients_are_served_meanwhile(fifo: str) -> None:
    command = f"read word; [ $word = quick ] || (read x < {fifo}; echo late) & echo early"
    with listen("-k", "--sh-exec", command, "0") as server, connect(server.port) as conn:
        conn.sendall(b"slow\n")
        assert take(conn, 6) == b"early\n"
        for _ in range(3):
            assert ask(server.port, b"quick\n") == b"early\n"
        go_on(fifo)
        assert drain(conn) == b"late\n"


@pytest.mark.parametrize("name", ["ncat", "nc.traditional"])
def test_other_netcats_send_what_is_left_behind_too(name: str, fifo: str) -> None:
    require(name)
    with listen("0") as server:
        address = ["127.0.0.1", str(server.port)]
        with Running([name, "-c", late(fifo), *address], stdin=DEVNULL) as other:
            assert server.read_until(b"\n") == b"early\n"
            go_on(fifo)
            assert server.read_all() == b"late\n"
            other.wait()


def test_a_program_that_ends_alone_has_its_client_see_the_end_at_once() -> None:
    with listen("-k", "--sh-exec", "echo done", "0") as server:
        assert [ask(server.port) for _ in range(5)] == [b"done\n"] * 5
        assert run([*PYNC, "127.0.0.1", str(server.port)]).out == b"done\n"
