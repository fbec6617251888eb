"""A stderr from which nothing is read stops neither a server nor a client, and what it missed is counted."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import termios
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from harness import DEADLINE, PYNC, Running, connect, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

MANY = 3000  # messages: more than a pipe and the queue hold


class Unread:
    """A stderr for a process, from which the test reads when it wants to."""

    def __init__(self, ends: tuple[int, int]) -> None:
        self.reading, self.writing = ends
        self.data = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.reading)
        os.close(self.writing)

    def expect(self, pattern: bytes) -> re.Match[bytes]:
        """Read until what has been read so far holds the pattern."""
        while not (match := re.search(pattern, self.data, re.MULTILINE)):
            assert select.select([self.reading], [], [], DEADLINE)[0], self.data[-300:]
            self.data += os.read(self.reading, 1 << 16).replace(b"\r\n", b"\n")
        return match

    def fill(self) -> None:
        """Leave no room."""
        os.set_blocking(self.writing, False)
        for size in (1 << 12, 1):
            with contextlib.suppress(BlockingIOError):
                while os.write(self.writing, bytes(size)):
                    pass
        os.set_blocking(self.writing, True)


@pytest.fixture(params=[os.pipe, pty.openpty], ids=["pipe", "terminal"])
def unread(request: pytest.FixtureRequest) -> Iterator[Unread]:
    with Unread(request.param()) as unread:
        yield unread


@contextlib.contextmanager
def stuck_server(unread: Unread) -> Iterator[Running]:
    """A server that refuses clients from 127.0.0.1, and has reported more of them than its stderr takes."""
    with Running([*PYNC, "-vlk", "--deny", "127.0.0.1", "-e", "cat", "0"], stderr=unread.writing) as process:
        process.port = int(unread.expect(rb"^Listening on 0\.0\.0\.0 (\d+)\n")[1])
        for _ in range(MANY):
            with connect(process.port) as refused:
                assert refused.recv(1) == b""
        yield process


def test_a_server_goes_on_and_counts_what_it_could_not_say(unread: Unread) -> None:
    with stuck_server(unread) as process:
        with socket.create_connection(("127.0.0.1", process.port), DEADLINE, ("127.0.0.2", 0)) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        number = int(unread.expect(rb"^pync: (\d+) messages were not shown\n")[1])
        assert number + unread.data.count(b" denied: ") in (MANY, MANY + 1)  # the last client was accepted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_server_whose_stderr_takes_nothing(unread: Unread, signum: signal.Signals) -> None:
    with stuck_server(unread) as process:
        process.signal(signum)
        assert process.wait(5) == 128 + signum


def test_a_terminal_that_is_stopped_does_not_stop_a_server() -> None:
    with (
        Unread(pty.openpty()) as unread,
        Running([*PYNC, "-vlk", "-e", "cat", "127.0.0.1", "0"], stderr=unread.writing) as process,
    ):
        process.port = int(unread.expect(rb"^Listening on \S+ (\d+)\n")[1])
        termios.tcflow(unread.writing, termios.TCOOFF)
        with connect(process.port) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        termios.tcflow(unread.writing, termios.TCOON)
        unread.expect(rb"^Connection received on 127\.0\.0\.1 \d+\n")


def waits_for_stderr(process: Running) -> Callable[[], bool]:
    """A condition: there is a thread that waits until stderr takes more."""
    return lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1


def test_an_error_is_shown_when_the_reader_is_merely_slow() -> None:
    with Unread(os.pipe()) as unread, free_port() as port:
        unread.fill()
        with Running([*PYNC, "127.0.0.1", str(port)], stderr=unread.writing) as process:
            is_true(waits_for_stderr(process), "the message waits")
            unread.expect(rb"pync: connect to 127\.0\.0\.1 port \d+ \(tcp\) failed: Connection refused\n")
            assert process.wait() == 1


def test_an_error_is_not_waited_for_when_the_reader_is_stuck(unread: Unread) -> None:
    unread.fill()
    with free_port() as port, Running([*PYNC, "127.0.0.1", str(port)], stderr=unread.writing) as process:
        assert process.wait(10) == 1


def test_a_scan_waits_until_all_its_lines_are_read(unread: Unread) -> None:
    with free_port() as port:
        ports = f"{port - MANY + 1}-{port}"
        with Running([*PYNC, "-zv", "127.0.0.1", ports], stderr=unread.writing) as process:
            is_true(waits_for_stderr(process), "lines wait")
            unread.expect(rb"port %d \(tcp\) failed: Connection refused\n" % port)
            assert process.wait() in (0, 1)
            assert unread.data.count(b"\n") == MANY


def test_a_signal_ends_a_scan_whose_lines_are_not_read(unread: Unread) -> None:
    with free_port() as port:
        ports = f"{port - MANY + 1}-{port}"
        with Running([*PYNC, "-zv", "127.0.0.1", ports], stderr=unread.writing) as process:
            is_true(waits_for_stderr(process), "lines wait")
            process.signal(signal.SIGTERM)
            assert process.wait(5) == 128 + signal.SIGTERM
