"""What is special to stdin and stdout: what they are, and what is left of them for the process that lent them."""

from __future__ import annotations

import errno
import os
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from conformance import Bench, Far, gather, human, join, nothing_opens_again, same, terminal, turns, unix_pair
from doubles import pipe
from harness import PAYLOAD, PIPE, Running

from pync.endpoints import CHUNK, SHORT, stdio
from pync.endpoints.file_source import FileSource
from pync.endpoints.stdio import Stdin, Stdout, has_reader, is_null, is_readable, is_regular, is_terminal
from pync.errors import InputError, OutputClosed, OutputError
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A regular file of 1000 bytes that was read up to the 400th."""
    path = tmp_path / "file"
    path.write_bytes(PAYLOAD(1000))
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 400, os.SEEK_SET)
    yield fd
    os.close(fd)


@pytest.fixture
def write_only(tmp_path: Path) -> Iterator[int]:
    """A regular file that cannot be read."""
    fd = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    """The master and the slave of a terminal that edits lines and does not echo."""
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    yield master, slave
    for fd in (master, slave):
        os.close(fd)


def release(half: Stdin) -> None:
    """Close the descriptor that a stdin has opened for itself."""
    half.loop.forget(half.fd)
    os.close(half.fd)


# -- What a descriptor is ----------------------------------------------------------------------------------------


def test_each_kind_of_descriptor_is_known(file: int, pty: tuple[int, int]) -> None:
    def kinds(fd: int) -> list[str]:
        facts = {"null": is_null, "regular": is_regular, "terminal": is_terminal}
        return [kind for kind, is_it in facts.items() if is_it(fd)]

    near, far = unix_pair()
    with pipe() as (reading, _), open(os.devnull) as null, open("/dev/zero") as zero, near, far:
        assert kinds(null.fileno()) == ["null"]
        assert kinds(file) == ["regular"]
        # A terminal that does not control this process is none: see tests/process/test_terminals.py for one that does.
        for fd in (reading, near.fileno(), zero.fileno(), pty[1]):
            assert kinds(fd) == []


def test_it_is_known_which_descriptor_can_be_read_and_which_one_has_a_reader(file: int, write_only: int) -> None:
    near, far = unix_pair()
    with pipe() as (reading, writing), near, far:
        expect_of = {reading: (True, True), writing: (False, True), near.fileno(): (True, True)}
        for fd, (readable, read) in {**expect_of, file: (True, False), write_only: (False, False)}.items():
            assert is_readable(fd) is readable
            assert has_reader(fd) is read


# Writes something, closes stdout, and prints on stderr what is in its place.
CLOSING = """
import os, socket, sys
from pync.endpoints.stdio import STDOUT, Stdout, is_null
from pync.loop.kernel import Loop

async def main(loop):
    stdout = Stdout(loop)
    await stdout.write(b"all of it")
    await stdout.send_eof()
    await stdout.send_eof()
    sock = socket.socket()
    print(is_null(STDOUT), os.get_inheritable(STDOUT), sock.fileno() > 2, file=sys.stderr, flush=True)
    sys.stdin.read()

loop = Loop()
loop.run(main(loop))
"""


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_closing_stdout_shows_its_reader_the_end_and_keeps_the_slot(kind: str) -> None:
    reading, writing = {"pipe": os.pipe, "socket": socket_pair, "terminal": terminal}[kind]()
    try:
        with Running([sys.executable, "-c", CLOSING], stdin=PIPE, stdout=writing) as process:
            os.close(writing)
            assert process.expect(r"^(.*)\n")[1] == "True True True"
            assert read_to_the_end(reading) == b"all of it"  # while the process lives
            assert process.finish().status == 0
    finally:
        os.close(reading)


def socket_pair() -> tuple[int, int]:
    near, far = unix_pair()
    return near.detach(), far.detach()


def read_to_the_end(fd: int) -> bytes:
    data = b""
    while True:
        try:
            chunk = os.read(fd, 100)
        except OSError:  # EIO: a terminal's end
            chunk = b""
        if not chunk:
            return data
        data += chunk


# -- Reading -----------------------------------------------------------------------------------------------------


async def test_a_regular_file_is_read_from_where_it_stands(real_loop: Bench, file: int) -> None:
    stdin = Stdin(real_loop, file)
    assert stdin.unread() == 600
    same([await stdin.read() or b""], [PAYLOAD(1000)[400:]])
    assert stdin.unread() == 0
    assert await stdin.read() is None
    assert os.lseek(file, 0, os.SEEK_CUR) == 1000  # where the next process reads on


async def test_a_file_that_was_cut_short_holds_nothing_more(real_loop: Bench, file: int) -> None:
    os.lseek(file, 2000, os.SEEK_SET)
    assert Stdin(real_loop, file).unread() == 0
    assert FileSource(real_loop, file, 2000).unread() == 0


async def test_a_read_is_at_most_as_large_as_was_asked_for(real_loop: Bench, file: int) -> None:
    stdin = Stdin(real_loop, file, size=7)
    same([await stdin.read() or b"", await stdin.read() or b""], [PAYLOAD(1000)[400:407], PAYLOAD(1000)[407:414]])
    assert stdin.unread() == 586


async def test_the_first_read_of_a_file_is_small_and_the_next_are_large(
    real_loop: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    really = os.read

    def read(fd: int, size: int) -> bytes:
        asked.append(size)
        return really(fd, size)

    (tmp_path / "large").write_bytes(PAYLOAD(SHORT + CHUNK + 10))
    with (tmp_path / "large").open("rb") as large:
        stdin = Stdin(real_loop, large.fileno())
        with monkeypatch.context() as patch:
            patch.setattr(os, "read", read)
            same([await stdin.read() or b"" for _ in range(3)], [PAYLOAD(SHORT + CHUNK + 10)])
            assert await stdin.read() is None
    assert asked == [SHORT, CHUNK, CHUNK, SHORT]


async def test_the_bytes_in_a_pipe_are_counted_and_those_of_a_terminal_are_not(real_loop: Bench) -> None:
    for make, held in ((os.pipe, 9), (terminal, 0)):
        reading, writing = make()
        os.write(writing, b"something")
        stdin = Stdin(real_loop, reading)
        assert stdin.unread() == held
        release(stdin)
        os.close(reading)
        os.close(writing)


async def test_dev_null_ends_at_once_and_again(real_loop: Bench) -> None:
    with open(os.devnull) as null:
        stdin = Stdin(real_loop, null.fileno())
        assert [await stdin.read(), await stdin.read()] == [None, None]


async def test_a_terminal_ends_at_each_control_d(real_loop: Bench, pty: tuple[int, int]) -> None:
    stdin = Stdin(real_loop, pty[1])
    os.write(pty[0], b"a line\n\x04another\n")
    assert [await stdin.read() for _ in range(3)] == [b"a line\n", None, b"another\n"]
    release(stdin)


async def test_a_terminal_that_hangs_up_has_ended(real_loop: Bench) -> None:
    master, slave = terminal()
    stdin = Stdin(real_loop, slave)
    reading = real_loop.spawn(stdin.read(), Condition())
    await turns(real_loop, 5)
    os.close(master)
    assert [await join(real_loop, reading), await stdin.read()] == [None, None]
    release(stdin)
    os.close(slave)


@pytest.mark.parametrize("half", [Stdin, lambda loop, fd: FileSource(loop, fd, 0)])
async def test_a_descriptor_that_cannot_be_read_is_an_error(
    real_loop: Bench, half: Callable[..., Stdin | FileSource], write_only: int
) -> None:
    with pytest.raises(InputError, match="^reading stdin: Bad file descriptor$") as raised:
        await half(real_loop, write_only).read()
    human(raised.value)


async def test_many_read_the_same_file_each_from_a_position_of_its_own(real_loop: Bench, file: int) -> None:
    first, second = FileSource(real_loop, file, 400), FileSource(real_loop, file, 990)
    assert first.unread() == 600
    assert second.unread() == 10
    same([await first.read() or b"", await second.read() or b""], [PAYLOAD(1000)[400:], PAYLOAD(1000)[990:]])
    assert first.unread() == second.unread() == 0
    assert first.raw() == file
    assert os.lseek(file, 0, os.SEEK_CUR) == 400


async def test_a_reader_whose_bytes_another_one_took_waits_on(real_loop: Bench) -> None:
    with pipe() as (reading, writing):
        sources = [Stdin(real_loop, reading), Stdin(real_loop, reading)]
        tasks = [real_loop.spawn(source.read(), Condition()) for source in sources]
        got = []
        for word in (b"one", b"two"):
            await turns(real_loop, 5)
            os.write(writing, word)
            while not (done := [task for task in tasks if task.done]):
                await turns(real_loop, 1)
            got += [task.result() for task in done]
            tasks = [task for task in tasks if not task.done]
        assert got == [b"one", b"two"]
        for source in sources:
            release(source)


# -- Writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [os.pipe, terminal])
async def test_what_cannot_be_opened_again_is_written_in_pieces_that_never_block(
    real_loop: Bench, ends: Callable[[], tuple[int, int]]
) -> None:
    reading, writing = ends()
    with nothing_opens_again():
        stdout = Stdout(real_loop, writing)
    assert await stdout.write(PAYLOAD(100_000)) == 4096
    assert stdout.raw() is None
    far = Far(real_loop, reading=reading)
    same(await gather(far.take, 4096), [PAYLOAD(4096)])
    await stdout.send_eof()
    far.close()


async def test_an_appended_file_keeps_what_it_had(real_loop: Bench, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before, ")
    stdout = Stdout(real_loop, os.open(path, os.O_WRONLY | os.O_APPEND))
    await stdout.write(b"after")
    await stdout.send_eof()
    assert path.read_bytes() == b"before, after"


async def test_a_full_disk_is_an_error_and_a_reader_that_has_closed_is_another(real_loop: Bench) -> None:
    full = Stdout(real_loop, os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OutputError, match="^writing stdout: No space left on device$") as raised:
        await full.write(b"x")
    assert not isinstance(raised.value, OutputClosed)
    await full.send_eof()

    reading, writing = os.pipe()
    closed = Stdout(real_loop, writing)
    os.close(reading)
    with pytest.raises(OutputClosed, match="^writing stdout: Broken pipe$"):
        await closed.write(b"x")
    await closed.send_eof()


async def test_an_error_when_closing_is_raised_and_the_slot_is_reserved(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = []
    reading, writing = os.pipe()
    really = os.close

    def close(fd: int) -> None:
        really(fd)
        if fd == writing:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    stdout = Stdout(real_loop, writing)
    monkeypatch.setattr(os, "close", close)
    monkeypatch.setattr(stdio, "reserve", lambda: reserved.append(True))
    with pytest.raises(OutputError, match="^writing stdout: Disk quota exceeded$"):
        await stdout.send_eof()
    await stdout.send_eof()
    os.close(reading)
    assert reserved == [True]
