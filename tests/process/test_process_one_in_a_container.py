"""pync as process 1 of a container, which unshare(1) makes: it reaps what it inherits, and all else is as ever."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import termios
from typing import TYPE_CHECKING

import pytest
from clients import ask, drain, is_true, line
from harness import PYNC, Running, announced, connect, require, run, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]


class Container(Running):
    """A command that is started as process 1. Leaving ends it by SIGTERM, because unshare(1) takes none."""

    def __init__(self, *command: str, **kw: Any) -> None:
        require("unshare")
        super().__init__([*CONTAINER, *command], **kw)

    def close(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
                os.kill(first_process(self), signal.SIGTERM)
        super().close()


def listen(*args: str, **kw: Any) -> Running:
    return announced(Container(*PYNC, "-v", "-l", *args, **kw))


def children(pid: int) -> list[int]:
    """The processes whose parent is this one."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def first_process(container: Running) -> int:
    """The process id, outside, of the container's process 1."""
    return children(container.pid)[0]


@contextlib.contextmanager
def orphans(directory: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A command that leaves a process behind, and how to end all of these processes."""
    fifo = directory / "fifo"
    os.mkfifo(fifo)
    ends: list[int] = []

    def end_all() -> None:
        ends.append(os.open(fifo, os.O_RDWR))
        os.write(ends[-1], b"\n" * 10)

    yield f"setsid sh -c 'read word < {fifo}' < /dev/null > /dev/null 2>&1 & echo $$", end_all
    for fd in ends:
        os.close(fd)


@pytest.mark.parametrize("options", [("-c",), ("--pipes", "-c"), ("--filter",)], ids=" ".join)
def test_what_process_one_inherits_is_reaped(tmp_path: Path, options: tuple[str, ...]) -> None:
    with orphans(tmp_path) as (command, end_all), listen("-k", *options, command, "127.0.0.1", "0") as server:
        first = first_process(server)
        for _ in range(3):
            assert ask(server.port)
        is_true(lambda: len(children(first)) == 4, "they are children of process 1")
        end_all()
        is_true(lambda: len(children(first)) == 1, "they are reaped, and pync is left")
        assert ask(server.port), "and it still serves"


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("kill -KILL $$", 137), ("true", 0)])
def test_the_status_is_that_of_the_program(command: str, status: int) -> None:
    with listen("-c", command, "127.0.0.1", "0") as server:
        assert ask(server.port) == b""
        assert server.wait() == status


def test_a_client_and_a_wrong_command_line_are_as_ever() -> None:
    with serve(lambda conn: conn.sendall(b"hello")) as (host, port):
        result = run([*CONTAINER, *PYNC, "-d", host, str(port)])
        assert (result.status, result.out, result.err) == (0, b"hello", "")
    assert run([*CONTAINER, *PYNC, "--nonesuch"]).status == 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_pync_and_its_programs(signum: signal.Signals) -> None:
    with listen("-k", "-c", "trap 'echo hung up >&2; exit' HUP; echo there; cat", "127.0.0.1", "0") as server:
        with connect(server.port) as conn:
            assert line(conn) == b"there\n"
            os.kill(first_process(server), signum)
            server.expect("^hung up$")
            with pytest.raises(ConnectionResetError):  # what the program might still have answered is broken off
                conn.recv(1)
        assert server.wait() == 128 + signum


def test_sighup_has_access_lists_read_again(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1\n")
    with listen("-k", "--denyfile", str(hosts), "-c", "echo served", "127.0.0.1", "0") as server:
        assert ask(server.port) == b""
        hosts.write_text("")
        os.kill(first_process(server), signal.SIGHUP)
        server.expect("^pync: the access lists were read again$")
        assert ask(server.port) == b"served\n"


def only_receive(conn: socket.socket) -> None:
    conn.shutdown(socket.SHUT_WR)
    drain(conn)


def test_the_reader_of_stdout_gets_its_end_while_pync_still_sends(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The shell becomes pync, and unshare has no descriptor of the fifo.
    shell = ["sh", "-c", f'exec "$@" > {fifo}', "sh", *PYNC]
    with serve(only_receive) as (host, port), Container(*shell, host, str(port)) as client, fifo.open("rb") as reader:
        assert reader.read() == b""
        assert client.finish().status == 0


def test_ctrl_c_at_the_terminal_ends_pync() -> None:
    master, terminal = os.openpty()

    def control() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    options = {"stdin": terminal, "start_new_session": True, "preexec_fn": control}
    with listen("-k", "127.0.0.1", "0", **options) as server:
        os.write(master, b"\x03")
        assert server.wait() == 128 + signal.SIGINT
    os.close(master)
    os.close(terminal)
