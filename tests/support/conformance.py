"""The laws that every endpoint keeps, whatever is behind it, and the bench that holds an endpoint to them.

Theory: a test builds a `Rig`, which is an endpoint and its other side (`Far`), on a loop that both share. So nothing
runs in a thread and nothing waits for longer than it has to. A `Kind` names what its endpoints can do, a law names what
it needs, and `cases` pairs them: no law is skipped, and a new kind is held to all that apply.

After each law the bench looks for what was left behind: a registration in the loop, an open descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import tty
from contextlib import contextmanager
from enum import Flag, auto
from selectors import DefaultSelector
from typing import TYPE_CHECKING, NamedTuple

import pytest
from doubles import pipe
from harness import PAYLOAD

from pync.endpoints import CHUNK
from pync.loop.hangups import Hangups
from pync.loop.kernel import Loop
from pync.loop.tasks import Condition
from pync.loop.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Any, TypeVar

    from pync.endpoints import Sink, Source
    from pync.errors import PyncError
    from pync.loop.tasks import Task, Work

    T = TypeVar("T")

STREAM = [PAYLOAD(300_000)]
DATAGRAMS = [PAYLOAD(size) for size in (1, 2, 1000, 0, 1472, 1473, 9000, 0, 3)]
MUCH = 1 << 21  # bytes: more than fits into all the buffers on the way
TAIL = b"<and this is the end of it>"
LARGEST = 65507  # bytes: the largest UDP datagram


class Can(Flag):
    """What endpoints of a kind can do."""

    READ = auto()  # what the other side gives can be read
    END = auto()  # the other side can end it
    WAIT = auto()  # a read waits for what has not come yet
    WRITE = auto()  # what is written can be taken at the other side
    PUSH_BACK = auto()  # a write waits while the other side takes nothing
    COUNT = auto()  # a write counts to the byte what it has written, even if it is cancelled
    HALF_CLOSE = auto()  # the other side reads our end-of-file
    ENDLESS = auto()  # it has no end-of-file to pass on
    CLOSE = auto()  # it can be closed
    SWALLOW = auto()  # it takes everything and drops it
    DATAGRAMS = auto()  # a read is a datagram and a write is a datagram
    INHERITED = auto()  # its descriptor is another process's, too
    TRY = auto()  # to read when nothing is there does not block
    FAIL_READ = auto()  # reading fails once the other side has left
    FAIL_WRITE = auto()  # writing does


class Far:
    """The other side of an endpoint: descriptors on the same loop."""

    def __init__(self, loop: Loop, reading: int | None = None, writing: int | None = None) -> None:
        self.loop = loop
        self.reading = reading
        self.writing = writing
        for fd in {reading, writing} - {None}:
            os.set_blocking(fd, False)  # type: ignore[arg-type]

    async def give(self, data: bytes) -> None:
        """Write all of it."""
        rest = memoryview(data)
        while rest:
            assert self.writing is not None
            try:
                rest = rest[os.write(self.writing, rest) :]
            except BlockingIOError:
                await self.loop.writable(self.writing)

    async def take(self) -> bytes | None:
        """The bytes that have come; None at the end."""
        assert self.reading is not None
        while True:
            try:
                return os.read(self.reading, CHUNK) or None
            except BlockingIOError:
                await self.loop.readable(self.reading)
            except OSError:  # EIO: a terminal that every process has closed
                return None

    def hang_up(self) -> None:
        """Give no more."""
        self._close(self.writing)
        self.writing = None

    def leave(self) -> None:
        """Close without an end-of-file: a reset, where there is such a thing."""
        self.close()

    def close(self) -> None:
        """Close the descriptors."""
        for fd in {self.reading, self.writing}:
            self._close(fd)
        self.reading = self.writing = None

    def _close(self, fd: int | None) -> None:
        if fd is not None:
            self.loop.forget(fd)
            os.close(fd)


class FarFile(Far):
    """A regular file that the endpoint reads or writes as well. It has no end: more may be written at any time."""

    async def take(self) -> bytes | None:
        while (data := await super().take()) is None:
            await self.loop.sleep(0)
        return data


class FarSocket(Far):
    """A socket; `name` is the address to send to where it is not connected."""

    def __init__(self, loop: Loop, sock: socket.socket, name: Any = None) -> None:
        super().__init__(loop, sock.fileno(), sock.fileno())
        self.sock = sock
        self.name = name

    async def give(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                rest = rest[self.sock.sendto(rest, self.name) if self.name else self.sock.send(rest) :]
            except BlockingIOError:
                await self.loop.writable(self.sock.fileno())
            if not rest:
                break

    async def take(self) -> bytes | None:
        while True:
            try:
                data = self.sock.recv(CHUNK)
            except BlockingIOError:
                await self.loop.readable(self.sock.fileno())
                continue
            return data if data or self.sock.type == socket.SOCK_DGRAM else None

    def hang_up(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def leave(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self.loop.forget(self.sock.fileno())
            self.sock.close()


class Given:
    """An inherited descriptor, and the flags of its description before an endpoint had it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.before = fcntl.fcntl(fd, fcntl.F_GETFL)

    def untouched(self) -> bool:
        """Whether the flags are still the same."""
        return fcntl.fcntl(self.fd, fcntl.F_GETFL) == self.before


class Rig:
    """An endpoint and its other side. Each half may be missing; `given` is the descriptor that it inherited."""

    def __init__(
        self, loop: Loop, far: Far, source: Source | None = None, sink: Sink | None = None, given: Given | None = None
    ) -> None:
        self.loop = loop
        self.far = far
        self._source = source
        self._sink = sink
        self.given = given
        self.kind: Kind
        self.selector: Counting

    @property
    def source(self) -> Source:
        assert self._source is not None
        return self._source

    def close(self) -> None:
        """Close the endpoint: both halves, which may be one object."""
        for half in (self._source, self._sink):
            half.close()  # type: ignore[union-attr]

    @property
    def sink(self) -> Sink:
        assert self._sink is not None
        return self._sink

    def start(self, work: Work[Any]) -> Task:
        """Run a task beside the law, which joins it and so gets its failure."""
        return self.loop.spawn(work, Condition())

    async def join(self, task: Task) -> Any:
        """The result of a task, or its failure."""
        return await join(self.loop, task)

    async def waiting(self, work: Work[Any]) -> Task:
        """Start a task that has to wait for the other side, and let the others run meanwhile."""
        task = self.start(work)
        await turns(self.loop, 50)
        assert not task.done, "it has not waited"
        return task

    async def give(self, chunks: Sequence[bytes]) -> None:
        """Send these from the other side."""
        for chunk in chunks:
            await self.far.give(chunk)

    async def write(self, chunks: Sequence[bytes], written: list[int] | None = None) -> None:
        """Write them as a flow does; the sizes of the writes are added to `written`."""
        for chunk in chunks:
            rest = memoryview(chunk)
            while True:
                count = await self.sink.write(rest)
                assert 0 < count <= len(rest) or not rest, "a write that returns has written something"
                if written is not None:
                    written.append(count)
                rest = rest[count:]
                if not rest:
                    break

    async def take(self, size: int) -> list[bytes]:
        """`size` bytes at the other side, in the pieces in which they come."""
        return await gather(self.far.take, size)

    async def read(self, size: int) -> list[bytes]:
        """`size` bytes from the source, in the pieces in which they come."""
        return await gather(self.source.read, size)

    @property
    def whole(self) -> bool:
        """Whether what is written at once is read at once."""
        return Can.DATAGRAMS in self.kind.can

    @property
    def some(self) -> list[bytes]:
        """Something to send."""
        return DATAGRAMS if self.whole else STREAM

    @property
    def much(self) -> list[bytes]:
        """More than the other side takes without reading it."""
        data = PAYLOAD(MUCH)
        return [data[start : start + 1000] for start in range(0, MUCH, 1000)] if self.whole else [data]


class Kind(NamedTuple):
    """A kind of endpoint, and the errors that its halves raise once the other side has left (None: no error)."""

    name: str
    can: Can
    open: Callable[[Loop, Path], AbstractAsyncContextManager[Rig]]
    read_error: type[PyncError] | None = None
    write_error: type[PyncError] | None = None

    @property
    def all_that_it_can(self) -> Can:
        """What it can do, with the errors that it raises."""
        failing = Can.FAIL_READ if self.read_error else Can(0)
        return self.can | failing | (Can.FAIL_WRITE if self.write_error else Can(0))


# -- Parts of rigs -----------------------------------------------------------------------------------------------


def tcp_pair(host: str = "127.0.0.1", size: int = 1 << 16) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, the accepted one first; their buffers hold about `size` bytes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = socket.socket(family)
    with socket.socket(family) as listener:
        for sock in (listener, client):
            _shrink(sock, size)
        listener.bind((host, 0))
        listener.listen()
        client.connect(listener.getsockname())
        return listener.accept()[0], client


def unix_pair(kind: socket.SocketKind = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Two ends of a unix socket."""
    pair = socket.socketpair(socket.AF_UNIX, kind)
    for sock in pair:
        _shrink(sock, 1 << 16)
    return pair


def _shrink(sock: socket.socket, size: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def terminal() -> tuple[int, int]:
    """The master and the slave of a pseudo-terminal that changes no byte."""
    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave


@contextmanager
def nothing_opens_again() -> Iterator[None]:
    """Inside, nothing can be opened by /proc/self/fd, as if it was the pipe of another user."""

    def refuse(path: str, *args: int) -> int:
        if path.startswith("/proc/self/fd/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really(path, *args)

    really = os.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        yield


# -- The bench ---------------------------------------------------------------------------------------------------


def descriptors() -> set[str]:
    """The open descriptors of this process, without the one that lists them."""
    return {fd for fd in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{fd}")}


class Bench(Loop):
    """A loop in real time. `selector` knows what it watches and how often it has polled."""

    def __init__(self) -> None:
        self.selector = Counting()
        super().__init__(self.selector)


class Counting(DefaultSelector):
    """A selector that counts its polls."""

    polls = 0

    def select(self, timeout: float | None = None) -> Any:
        self.polls += 1
        return super().select(timeout)


def bench(main: Callable[[Bench], Work[T]]) -> T:
    """Run `main(loop)` in real time, and check that it leaves no registration and no descriptor behind."""
    before = descriptors()
    loop = Bench()

    async def check() -> T:
        loop.shared(Hangups).open()
        loop.shared(Threads).open()
        await turns(loop, 2)  # after which the loop watches three descriptors of its own: signals, hang-ups, threads
        watched = set(loop.selector.get_map())
        result = await main(loop)
        assert set(loop.selector.get_map()) == watched, "a registration is left"
        return result

    result = loop.run(check())
    assert not descriptors() - before, "a descriptor is left"
    return result


async def check_endpoint(loop: Bench, kind: Kind, law: Law, scratch: Path) -> None:
    """Hold a new endpoint of the kind to the law."""
    async with kind.open(loop, scratch) as rig:
        rig.kind, rig.selector = kind, loop.selector
        await law(rig)


async def turns(loop: Loop, count: int) -> None:
    """Let the other tasks run `count` times."""
    for _ in range(count):
        await loop.sleep(0)


async def join(loop: Loop, task: Task) -> Any:
    """Wait for the end of a task; its result, or its failure."""
    while not task.done:
        await loop.wait(task.ended)
    return task.result()


async def gather(read: Callable[[], Awaitable[bytes | None]], size: int) -> list[bytes]:
    """`size` bytes, in the pieces in which they come."""
    chunks: list[bytes] = []
    while sum(map(len, chunks)) < size:
        chunk = await read()
        assert chunk is not None, f"an end-of-file after {sum(map(len, chunks))} of {size} bytes"
        chunks.append(chunk)
    return chunks


def same(got: Sequence[bytes], sent: Sequence[bytes], *, whole: bool = False) -> None:
    """Check that what was got is what was sent; `whole`: in the same pieces. A failure shows the first difference."""
    if whole:
        assert list(map(len, got)) == list(map(len, sent))
    one, other = b"".join(got), b"".join(sent)
    assert len(one) == len(other), "bytes are missing or too many"
    assert one == other, f"byte {next(at for at in range(len(one)) if one[at] != other[at])} differs"


def human(error: PyncError) -> None:
    """Check that an error is worded for people: what failed, and the system's reason."""
    assert ": " in str(error) and "\n" not in str(error)
    assert error.what[0].islower() and error.why[0].isupper()
    assert "Errno" not in str(error) and type(error).__name__ not in str(error)


# -- The laws ----------------------------------------------------------------------------------------------------


if TYPE_CHECKING:
    Law = Callable[[Rig], Awaitable[None]]

LAWS: list[tuple[Can, Law]] = []  # each with what an endpoint must be able to do for it


def law(needs: Can) -> Callable[[Law], Law]:
    """Enter a law, with what it needs."""

    def enter(function: Law) -> Law:
        LAWS.append((needs, function))
        return function

    return enter


def cases(kinds: Sequence[Kind]) -> list[Any]:
    """Each kind with each law that applies to it."""
    return [
        pytest.param(kind, function, id=f"{kind.name}: {function.__name__}")
        for kind in kinds
        for needs, function in LAWS
        if needs in kind.all_that_it_can
    ]


@law(Can.READ)
async def every_byte_is_read_in_order(rig: Rig) -> None:
    giving = rig.start(rig.give(rig.some))
    await turns(rig.loop, 1)  # after which all that waits for nothing has come
    same(await rig.read(sum(map(len, rig.some))), rig.some, whole=rig.whole)
    await rig.join(giving)


@law(Can.READ | Can.END)
async def an_end_of_file_comes_after_the_last_byte_and_stays(rig: Rig) -> None:
    await rig.far.give(TAIL)
    rig.far.hang_up()
    same(await rig.read(len(TAIL)), [TAIL])
    assert [await rig.source.read() for _ in range(3)] == [None] * 3


@law(Can.READ | Can.WAIT)
async def a_read_waits_and_lets_others_run(rig: Rig) -> None:
    reading = await rig.waiting(rig.source.read())
    await rig.far.give(TAIL)
    assert await rig.join(reading) == TAIL


@law(Can.READ | Can.WAIT)
async def after_a_cancelled_read_no_byte_is_missing(rig: Rig) -> None:
    for patience in range(12):  # turns between the arrival of the bytes and the cancelling
        word = b"word %d" % patience
        reading = rig.start(rig.source.read())
        await turns(rig.loop, 3)
        await rig.far.give(word)
        await turns(rig.loop, patience)
        await rig.loop.cancel_and_wait(reading)
        assert (reading.value or await rig.source.read()) == word


@law(Can.READ | Can.WAIT | Can.TRY)
async def a_false_alarm_is_neither_data_nor_an_end(rig: Rig) -> None:
    alarms = [True]  # select(2): a descriptor that was reported as ready may have nothing to read after all
    really = rig.loop.readable

    async def readable(*args: Any, **kwargs: Any) -> bool:
        return alarms.pop() if alarms else await really(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.loop, "readable", readable)
        reading = await rig.waiting(rig.source.read())
        await rig.far.give(TAIL)
        assert await rig.join(reading) == TAIL


@law(Can.WRITE)
async def every_byte_is_written_in_order(rig: Rig) -> None:
    writing = rig.start(rig.write(rig.some))
    same(await rig.take(sum(map(len, rig.some))), rig.some, whole=rig.whole)
    await rig.join(writing)


@law(Can.WRITE | Can.PUSH_BACK)
async def a_large_write_goes_in_parts_and_lets_others_run(rig: Rig) -> None:
    written: list[int] = []
    writing = await rig.waiting(rig.write(rig.much, written))
    same(await rig.take(MUCH), rig.much, whole=rig.whole)
    await rig.join(writing)
    assert sum(written) == MUCH
    assert len(written) > 1 or Can.COUNT not in rig.kind.can


@law(Can.WRITE | Can.PUSH_BACK)
async def a_refused_write_sleeps(rig: Rig) -> None:
    writing = await rig.waiting(rig.write(rig.much))
    before = rig.selector.polls
    await rig.loop.sleep(0.05)
    assert rig.selector.polls - before < 1000, "the loop spins"
    await rig.loop.cancel_and_wait(writing)


@law(Can.WRITE | Can.PUSH_BACK)
async def a_cancelled_write_has_written_what_it_has_counted(rig: Rig) -> None:
    written: list[int] = []
    writing = await rig.waiting(rig.write(rig.much, written))
    await rig.loop.cancel_and_wait(writing)
    ending = rig.start(rig.write([TAIL]))
    got = b""
    while not got.endswith(TAIL):
        got += await rig.far.take() or b"an end-of-file"
    taken = got[: -len(TAIL)]
    same([taken], [b"".join(rig.much)[: len(taken)]])
    assert len(taken) == sum(written) or (Can.COUNT not in rig.kind.can and len(taken) > sum(written))
    await rig.join(ending)


@law(Can.WRITE | Can.HALF_CLOSE)
async def our_end_of_file_comes_after_the_last_byte_and_once(rig: Rig) -> None:
    await rig.write([TAIL])
    for _ in range(3):
        await rig.sink.send_eof()
    same(await rig.take(len(TAIL)), [TAIL])
    assert await rig.far.take() is None


@law(Can.WRITE | Can.HALF_CLOSE | Can.READ | Can.WAIT)
async def after_our_end_of_file_the_other_direction_goes_on(rig: Rig) -> None:
    reading = rig.start(rig.read(sum(map(len, STREAM))))
    await rig.sink.send_eof()
    assert await rig.far.take() is None
    await rig.give(STREAM)
    same(await rig.join(reading), STREAM)


@law(Can.ENDLESS)
async def an_end_of_file_that_cannot_be_passed_on_changes_nothing(rig: Rig) -> None:
    for _ in range(3):
        await rig.sink.send_eof()
        await rig.write([TAIL])
    if Can.WRITE in rig.kind.can:
        same(await rig.take(3 * len(TAIL)), 3 * [TAIL])


@law(Can.CLOSE | Can.READ | Can.WRITE)
async def closing_again_closes_no_other_descriptor(rig: Rig) -> None:
    tasks = [await rig.waiting(rig.source.read()), rig.start(rig.write(rig.much))]
    await turns(rig.loop, 10)
    await rig.loop.cancel_and_wait(*tasks)
    rig.close()
    with pipe() as others:  # which have the numbers that have become free
        rig.close()
        rig.close()
        assert {str(fd) for fd in others} <= descriptors()


@law(Can.CLOSE | Can.HALF_CLOSE)
async def closing_is_an_end_of_file_after_the_last_byte(rig: Rig) -> None:
    await rig.write([TAIL])
    rig.close()
    same(await rig.take(len(TAIL)), [TAIL])
    assert await rig.far.take() is None


@law(Can.READ)
async def a_source_knows_which_descriptor_the_kernel_may_copy_from(rig: Rig) -> None:
    _descriptor_or_none(rig.source.raw())


@law(Can.WRITE)
async def a_sink_knows_which_descriptor_the_kernel_may_copy_into(rig: Rig) -> None:
    _descriptor_or_none(rig.sink.raw())


@law(Can.DATAGRAMS)
async def an_empty_datagram_is_data_and_no_end(rig: Rig) -> None:
    for word in (b"", b"", b"more"):
        await rig.far.give(word)
        await rig.sink.write(word)
    assert [await rig.source.read() for _ in range(3)] == [b"", b"", b"more"]
    assert [await rig.far.take() for _ in range(3)] == [b"", b"", b"more"]


@law(Can.DATAGRAMS)
async def the_largest_datagram_is_whole(rig: Rig) -> None:
    data = PAYLOAD(LARGEST)
    await rig.far.give(data)
    assert await rig.sink.write(data) == LARGEST
    same([await rig.source.read() or b""], [data])
    same([await rig.far.take() or b""], [data])


@law(Can.INHERITED | Can.READ | Can.WAIT)
async def reading_changes_no_flag_of_what_was_inherited(rig: Rig) -> None:
    assert rig.given and rig.given.untouched()
    reading = await rig.waiting(rig.source.read())
    assert rig.given.untouched()
    await rig.far.give(TAIL)
    await rig.join(reading)
    assert rig.given.untouched()


@law(Can.INHERITED | Can.WRITE | Can.PUSH_BACK)
async def writing_changes_no_flag_of_what_was_inherited(rig: Rig) -> None:
    assert rig.given and rig.given.untouched()
    writing = await rig.waiting(rig.write(rig.much))
    assert rig.given.untouched()
    await rig.loop.cancel_and_wait(writing)
    assert rig.given.untouched()


@law(Can.FAIL_READ)
async def reading_fails_with_an_error_for_people_once_the_other_side_has_left(rig: Rig) -> None:
    assert rig.kind.read_error
    if Can.WRITE in rig.kind.can and not rig.whole:
        await rig.write([TAIL])  # a unix socket is reset only if something is left unread
    rig.far.leave()
    if rig.whole:
        await rig.write([TAIL])  # which is answered by an error: nothing listens there
    with pytest.raises(rig.kind.read_error) as raised:
        while await rig.source.read() is not None:
            pass
    human(raised.value)


@law(Can.FAIL_WRITE)
async def writing_fails_with_an_error_for_people_once_the_other_side_has_left(rig: Rig) -> None:
    assert rig.kind.write_error
    rig.far.leave()
    with pytest.raises(rig.kind.write_error) as raised:
        while True:
            await rig.write([TAIL])
            await turns(rig.loop, 1)
    assert type(raised.value) is rig.kind.write_error
    human(raised.value)


@law(Can.SWALLOW)
async def it_takes_everything(rig: Rig) -> None:
    for chunk in (*DATAGRAMS, *rig.much):
        await rig.write([chunk])
    _descriptor_or_none(rig.sink.raw())
    await rig.sink.send_eof()


def _descriptor_or_none(fd: int | None) -> None:
    assert fd is None or str(fd) in descriptors()
