"""The ends of a flow, of every kind: stdin, stdout and peers, each with what is on its other side."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import Bench, Far, FarSocket, nothing_opens_again, tcp_pair, terminal, turns, unix_pair
from harness import PAYLOAD

from pync.endpoints.stdio import Stdin, Stdout
from pync.endpoints.streams import StreamSocket
from pync.errors import PyncError
from pync.events import Address
from pync.relay.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from pync.loop.kernel import Loop

BYTES = PAYLOAD(3_000_000)
PEER = Address(host="peer", port=1)
MIB = 1 << 20
PROC = "/proc/version"  # a regular file whose size is 0, and which is not empty


@contextmanager
def closing(*fds: int) -> Iterator[None]:
    """Closes, at the end, those that are still open and still what they were."""
    were = [os.fstat(fd) for fd in fds]
    try:
        yield
    finally:
        for fd, was in zip(fds, were, strict=True):
            try:
                if os.path.samestat(os.fstat(fd), was):
                    os.close(fd)
            except OSError:
                pass


@contextmanager
def stdin_of(loop: Loop, kind: str, data: bytes) -> Iterator[tuple[Stdin, Far | None]]:
    """A stdin, and the end that feeds it; a file has its data already."""
    far: Far | None = None
    if kind == "file":
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(data)
            fd = os.dup(file.fileno())
        os.lseek(fd, 0, os.SEEK_SET)
    elif kind in {PROC, os.devnull}:
        fd = os.open(kind, os.O_RDONLY)
    elif kind == "socket":
        near, other = unix_pair()
        fd, far = near.detach(), FarSocket(loop, other)
    elif kind == "terminal":
        master, fd = terminal()
        far = Far(loop, writing=master)
    else:
        fd, writing = os.pipe()
        far = Far(loop, writing=writing)
    with ExitStack() as stack:
        with ExitStack() as shared:
            if kind == "shared pipe":
                shared.enter_context(nothing_opens_again())
            stdin = Stdin(loop, fd)
        stack.enter_context(closing(fd))
        yield stdin, far
        loop.forget(stdin.fd)
        if stdin.fd != fd:
            os.close(stdin.fd)
        if stdin.sock:
            stdin.sock.close()
        if far:
            far.close()


class StdoutOf(NamedTuple):
    """A stdout, with the end that reads it while it is written, or with the file that can be read afterwards."""

    stdout: Stdout
    reader: Far | None
    file: IO[bytes] | None


@contextmanager
def stdout_of(loop: Loop, kind: str) -> Iterator[StdoutOf]:
    """A stdout of this kind."""
    far: Far | None = None
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        if kind in {"file", "appended file"}:
            file = stack.enter_context(tempfile.NamedTemporaryFile(buffering=0))
            fd = os.open(file.name, os.O_WRONLY | (os.O_APPEND if kind == "appended file" else 0))
        elif kind.startswith("/dev/"):
            fd = os.open(kind, os.O_WRONLY)
        elif kind == "socket":
            near, other = unix_pair()
            fd, far = near.detach(), FarSocket(loop, other)
        elif kind == "terminal":
            master, fd = terminal()
            far = Far(loop, reading=master)
        else:
            reading, fd = os.pipe()
            far = Far(loop, reading=reading)
        with ExitStack() as shared:
            if kind == "shared pipe":
                shared.enter_context(nothing_opens_again())
            stdout = Stdout(loop, fd)
        stack.enter_context(closing(fd))
        yield StdoutOf(stdout, far, file)
        if far:
            far.close()


PAIRS: dict[str, Callable[[], tuple[socket.socket, socket.socket]]] = {"tcp": tcp_pair, "unix": unix_pair}
over_both = pytest.mark.parametrize("over", PAIRS)
copied_too = pytest.mark.parametrize("copied", [False, True], ids=["moved by the kernel", "copied"])


@contextmanager
def peer_of(loop: Loop, over: str = "tcp") -> Iterator[tuple[StreamSocket, FarSocket]]:
    """A connected endpoint, and its peer."""
    near, other = PAIRS[over]()
    endpoint, far = StreamSocket(loop, near, PEER), FarSocket(loop, other)
    try:
        yield endpoint, far
    finally:
        endpoint.close()
        far.close()


async def finish(stdout: Stdout) -> None:
    """Close a stdout, whether or not that is an error."""
    try:
        await stdout.send_eof()
    except PyncError:
        pass


STDINS = ["file", PROC, os.devnull, "pipe", "shared pipe", "terminal", "socket"]
STDOUTS = ["file", "appended file", "/dev/null", "/dev/full", "pipe", "shared pipe", "terminal", "socket"]
FOLLOWED = {"pipe", "shared pipe", "terminal", "socket"}  # those that are read while they are written


async def everything(far: Far) -> bytes:
    """All bytes that come until the end."""
    data = b""
    while chunk := await far.take():
        data += chunk
    return data


async def stalled(loop: Loop, flow: Flow) -> None:
    """Wait until a flow has moved nothing for 30 ms."""
    moved = -1
    while moved != flow.moved:
        moved = flow.moved
        await loop.sleep(0.03)


async def sleeps(loop: Bench) -> bool:
    """Whether the loop has nothing to do for 50 ms."""
    before = loop.selector.polls
    await loop.sleep(0.05)
    return loop.selector.polls - before < 10


async def in_pieces(loop: Loop, far: Far, sizes: list[int], pauses: list[int]) -> None:
    """Give BYTES in pieces of these sizes, with a pause of some turns of the loop after each, and hang up."""
    start = 0
    for position, size in enumerate(sizes):
        await far.give(BYTES[start : start + size])
        start += size
        await turns(loop, sum(pauses[position : position + 1]))
    far.hang_up()


@contextmanager
def only_by_kernel() -> Iterator[None]:
    """Inside, no byte may be copied by Python."""

    async def refuse(_: Flow) -> None:
        raise AssertionError("copied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flow, "copy_chunk", refuse)
        yield
