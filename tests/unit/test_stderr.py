"""stderr takes what it can, the rest waits in a bounded queue, and no write holds the run up."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pync.faces import stderr
from pync.faces.stderr import QUEUE, Stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    Ends = tuple[int, int]  # a descriptor to read, and the one that is stderr

LINE = b"a message of the length of %5d\n"


def a_pipe() -> Ends:
    return os.pipe()


def a_socket() -> Ends:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def a_terminal() -> Ends:
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    return ours, theirs


class Rig:
    """A Stderr, and the end from which the test reads what is written to it."""

    def __init__(self, ends: Ends) -> None:
        self.reading, self.writing = ends
        self.err = Stderr(self.writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        until = time.monotonic() + 10
        while self.err.draining:  # the thread of one test must not write to a descriptor of the next
            assert time.monotonic() < until
            if select.select([self.reading], [], [], 0.01)[0]:
                os.read(self.reading, 1 << 16)
        if self.err.sock:
            self.err.sock.close()
        for fd in {self.reading, self.writing, self.err.fd}:
            os.close(fd)

    def fill(self) -> int:
        """Write messages until some are not shown; how many were written."""
        for number in range(40_000):
            self.err.write(LINE % number)
            if self.err.missed > 10:
                return number + 1
        raise AssertionError("it takes everything")

    def lines(self, last: bytes) -> list[bytes]:
        """The next lines that are written, up to one that ends with `last`."""
        data = b""
        while not data.endswith(last):
            assert select.select([self.reading], [], [], 10)[0], data[-100:]
            data += os.read(self.reading, 1 << 16)
        return data.splitlines(keepends=True)


@pytest.fixture(params=[a_pipe, a_socket, a_terminal])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with Rig(request.param()) as rig:
        yield rig


def test_a_message_is_written_at_once(rig: Rig) -> None:
    rig.err.write(b"a message\n")
    assert os.read(rig.reading, 100) == b"a message\n"


def test_a_line_ends_as_the_terminal_needs_it_now(rig: Rig) -> None:
    ends = [b"\r\n", b"\n"]
    rig.err.line_end = lambda: ends.pop()
    for shown in b"a\nmessage\n", b"a\r\nmessage\r\n":
        rig.err.write(b"a\nmessage\n")
        assert os.read(rig.reading, 100) == shown


def test_what_does_not_fit_is_counted_and_reported_when_there_is_room_again(rig: Rig) -> None:
    written = rig.fill()
    shown = rig.lines(b"not shown\n")
    assert shown[:-1] == [LINE % number for number in range(len(shown) - 1)]
    assert shown[-1] == b"pync: %d messages were not shown\n" % (written - len(shown) + 1)


def test_after_that_messages_are_written_as_before(rig: Rig) -> None:
    rig.fill()
    rig.lines(b"not shown\n")
    rig.err.write(b"the next\n")
    assert rig.lines(b"next\n") == [b"the next\n"]


def test_the_queue_has_a_bound(rig: Rig) -> None:
    rig.fill()
    assert rig.err.waiting <= QUEUE


def test_a_lossless_stderr_shows_everything(rig: Rig) -> None:
    rig.err.lossless = True
    written = [LINE % number for number in range(20_000)]
    for message in written:
        rig.err.write(message)
    with read_meanwhile(rig, written[-1]) as shown:
        rig.err.finish(wait=True)
    assert shown == written


@contextlib.contextmanager
def read_meanwhile(rig: Rig, last: bytes) -> Iterator[list[bytes]]:
    """Gives what `lines` reads in a thread, which has ended on leaving."""
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(rig.lines(last)))
    reader.start()
    yield shown
    reader.join(10)


def test_the_description_that_other_processes_share_stays_blocking(rig: Rig) -> None:
    rig.fill()
    assert os.get_blocking(rig.writing)


@pytest.mark.parametrize("wait", [True, False])
def test_the_end_of_a_run_does_not_wait_long_for_a_reader_that_is_stuck(
    rig: Rig, wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stderr, "PATIENCE", 0.05)
    rig.fill()
    rig.err.finish(wait=wait)
    assert rig.err.waiting


@pytest.mark.parametrize("wait", [True, False])
def test_the_end_of_a_run_does_not_wait_long_for_a_stderr_that_seems_ready_and_takes_nothing(
    wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, data: bytes) -> int:
        raise BlockingIOError

    with Rig(a_pipe()) as rig:
        with monkeypatch.context() as patched:
            patched.setattr(stderr, "PATIENCE", 0.05)
            patched.setattr(os, "write", refuse)
            rig.err.write(b"a message\n")
            rig.err.finish(wait=wait)
            assert rig.err.waiting
        assert rig.lines(b"\n") == [b"a message\n"]


def test_without_a_thread_the_end_of_a_run_writes_what_waits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(stderr, "start_new_thread", refuse)
    written = rig.fill()
    with read_meanwhile(rig, b"not shown\n") as shown:
        rig.err.finish(wait=True)
    assert shown[-1] == b"pync: %d messages were not shown\n" % (written - len(shown) + 1)


def test_a_pipe_that_cannot_be_opened_again_is_never_written_by_more_than_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        rig = Rig(a_pipe())
    with rig:
        assert rig.err.fd == rig.writing
        written = rig.fill()
        shown = rig.lines(b"not shown\n")
        assert shown[-1] == b"pync: %d messages were not shown\n" % (written - len(shown) + 1)


def test_a_terminal_that_is_stopped_holds_nothing_up_and_shows_the_messages_later() -> None:
    with Rig(a_terminal()) as rig:
        termios.tcflow(rig.writing, termios.TCOOFF)
        rig.err.write(b"a message\n")
        assert not select.select([rig.reading], [], [], 0)[0]
        termios.tcflow(rig.writing, termios.TCOON)
        assert rig.lines(b"\n") == [b"a message\n"]


def test_one_message_is_singular() -> None:
    with Rig(a_pipe()) as rig:
        rig.err.write(bytes(1 << 20))
        rig.err.write(b"too much\n")
        assert rig.lines(b"not shown\n")[-1].endswith(b"pync: 1 message was not shown\n")


def a_closed_one() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    return writing


def one_without_a_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def a_full_file() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("made", [a_closed_one, one_without_a_reader, a_full_file])
def test_a_stderr_that_fails_is_no_error(made: Callable[[], int]) -> None:
    fd = made()
    err = Stderr(fd)
    for _ in range(10_000):
        err.write(b"a message\n")
    err.finish(wait=True)
    assert not err.waiting and not err.missed
    for opened in {fd, err.fd}:
        with contextlib.suppress(OSError):
            os.close(opened)


def test_a_line_that_is_drawn_makes_room_for_the_next_one_and_for_a_message() -> None:
    with Rig(a_terminal()) as rig:
        rig.err.draw(b"a long line")
        rig.err.draw(b"a line")
        rig.err.write(b"a message\n")
        rig.err.draw(b"another")
        expected = b"\ra long line" + b"\ra line     " + b"\r      \ra message\n" + b"\ranother"
        shown = b""
        while len(shown) < len(expected):  # a terminal passes on what was written in its own time
            shown += os.read(rig.reading, 1000)
    assert shown == expected


def test_a_line_is_drawn_only_if_it_is_taken_at_once() -> None:
    with Rig(a_pipe()) as rig:
        while not rig.err.waiting:
            rig.err.write(LINE % 1)
        waiting = rig.err.waiting
        rig.err.draw(b"a line")
        assert rig.err.waiting <= waiting
