"""The idle limit: what is a movement, on a clock that jumps, with real sockets and pipes that are full."""

from __future__ import annotations

import os
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from conformance import tcp_pair, unix_pair
from doubles import END, MemorySink, MemorySource

from pync.endpoints.child import ChildStdin
from pync.endpoints.shared_stdio import SharedStdout
from pync.endpoints.stdio import Stdout
from pync.endpoints.streams import StreamSocket
from pync.errors import TimedOut
from pync.events import as_address
from pync.loop.tasks import Condition
from pync.relay.flow import Flow
from pync.relay.idle import movement, unsent, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pync.endpoints import Sink
    from pync.loop.kernel import Loop

    Kind = Callable[[Loop], AbstractContextManager["Reader"]]

LIMIT = 8.0
MUCH = bytes(4_000_000)
PIECE = 64 * 1024  # bytes of which a socket shows that they were taken


class Reader:
    """The other end of a sink: `take` receives some of what was written."""

    def __init__(self, sink: Sink, take: Callable[[int], bytes], some: int = 100) -> None:
        """`some`: bytes of which it can be seen that they were taken."""
        self.sink = sink
        self.take = take
        self.some = some


@contextmanager
def of_socket(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> Iterator[Reader]:
    near, far = pair
    with closing(StreamSocket(loop, near, as_address(("127.0.0.1", 1)))) as sink, far:
        far.settimeout(5)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(MUCH))
        yield Reader(sink, far.recv, PIECE)


def over_tcp(loop: Loop) -> AbstractContextManager[Reader]:
    return of_socket(loop, tcp_pair())


def over_unix(loop: Loop) -> AbstractContextManager[Reader]:
    return of_socket(loop, unix_pair())


@contextmanager
def to_program(loop: Loop) -> Iterator[Reader]:
    out, into = os.pipe()
    os.set_blocking(into, False)
    with closing(ChildStdin(loop, into)) as sink:
        yield Reader(sink, lambda size: os.read(out, size))
    os.close(out)


@contextmanager
def to_stdout(loop: Loop) -> Iterator[Reader]:
    out, into = os.pipe()
    sink = Stdout(loop, into)
    yield Reader(sink, lambda size: os.read(out, size))
    for fd in {out, into, sink.fd}:
        os.close(fd)


@contextmanager
def to_shared_stdout(loop: Loop) -> Iterator[Reader]:
    with to_stdout(loop) as reader:
        yield Reader(SharedStdout(loop, reader.sink, lines=False).join(), reader.take)


KINDS = [over_tcp, over_unix, to_program, to_stdout, to_shared_stdout]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_that_takes_some_now_and_then_is_slow_and_not_idle(loop: Loop, kind: Kind) -> None:
    with kind(loop) as reader:
        flow = Flow(loop, MemorySource(loop, MUCH, END), reader.sink)
        flowing = loop.spawn(flow.run(), Condition())
        watching = loop.spawn(watch(loop, "x", LIMIT, lambda: movement(flow)), Condition())
        for _ in range(10):
            await loop.sleep(LIMIT / 2)
            reader.take(reader.some)
        assert not watching.done, "it was slow, and not idle"
        await loop.sleep(2 * LIMIT)
        assert isinstance(watching.error, TimedOut)
        await loop.cancel_and_wait(flowing)


async def test_the_bytes_that_the_peer_has_not_taken_are_counted(loop: Loop) -> None:
    with over_tcp(loop) as reader:
        flow = Flow(loop, MemorySource(loop, MUCH, END), reader.sink)
        flowing = loop.spawn(flow.run(), Condition())
        with pytest.raises(TimedOut) as raised:
            await watch(loop, "idle connection", LIMIT, lambda: movement(flow), lambda: unsent(flow))
        await loop.cancel_and_wait(flowing)
        missing, taken = unsent(flow), 0
        assert str(raised.value) == f"idle connection: nothing came or went for 8 s, {missing} bytes were not sent"
        while taken < len(MUCH) - missing:
            taken += len(reader.take(len(MUCH) - missing - taken))


async def test_what_does_not_reach_stdout_is_not_a_byte_that_was_not_sent(loop: Loop) -> None:
    flow = Flow(loop, MemorySource(loop, b"abc", END), MemorySink(loop, 1, 1000.0))
    flowing = loop.spawn(flow.run(), Condition())
    await loop.sleep(1)
    assert flow.unsent() == 2
    assert unsent(flow) == 0
    await loop.cancel_and_wait(flowing)
