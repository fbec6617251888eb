"""Stand-ins for time and for the two ends of a flow, so that a test of waiting never waits.

`Clock` is the selector and the clock of a loop in one. `MemorySource` gives what a test scripts, `MemorySink` takes or
refuses what a test scripts. In both scripts a float is a pause in seconds, and an exception is raised.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from selectors import BaseSelector, DefaultSelector
from typing import TYPE_CHECKING

from pync.config import Config
from pync.context import Context
from pync.endpoints import Peer, Sink, Source
from pync.events import Address
from pync.loop.kernel import Loop
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from selectors import SelectorKey
    from typing import Any, TypeVar

    from pync.endpoints import Bytes
    from pync.events import Report
    from pync.loop.tasks import Work

    T = TypeVar("T")
    Given = bytes | float | BaseException | None
    Taken = int | float | BaseException

END = None  # in a source's script: its end-of-file


class Stuck(Exception):
    """Every task waits, and nothing will wake one."""


class Clock(BaseSelector):
    """Time that jumps to the next timer where a loop would sleep. Descriptors are real, and so is their readiness.

    `calls` lists the calls of the selector as (method, descriptor, events); `polls` counts those of `select`.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.polls = 0
        self.calls: list[tuple[str, int, int]] = []
        self.real = DefaultSelector()

    def __call__(self) -> float:
        return self.now

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        self.polls += 1
        events = self.real.select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise Stuck
        self.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        self.calls.append(("register", fileobj, events))
        return self.real.register(fileobj, events, data)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        self.calls.append(("modify", fileobj, events))
        return self.real.modify(fileobj, events, data)

    def unregister(self, fileobj: Any) -> SelectorKey:
        self.calls.append(("unregister", fileobj, 0))
        return self.real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self.real.get_map()

    def close(self) -> None:
        self.real.close()

    def asked(self, fd: int) -> list[str]:
        """The methods of the selector that were called for one descriptor."""
        return [method for method, number, _ in self.calls if number == fd]


def play(main: Callable[[Loop], Work[T]], clock: Clock | None = None) -> T:
    """Run `main(loop)` on a loop whose time jumps. Raises Stuck where it would wait for ever."""
    clock = clock or Clock()
    loop = Loop(clock, clock)
    return loop.run(main(loop))


def a_context(loop: Loop, config: Config | None = None, report: Report = lambda event: None, **facts: Any) -> Context:
    """A run by this config, or by one with these facts."""
    return Context(loop, config or Config(**{"mode": "connect", **facts}), report, lambda kind: True)


def raised(peer: Address, error: Exception) -> None:
    """What a server of datagrams does with a failure in a test that expects none."""
    raise error


class StubPeer(Peer):
    """A peer that is only asked for its address."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.address = Address(host="peer", port=1)


async def together(loop: Loop, *works: Work[Any]) -> list[Any]:
    """The results of all, which run at the same time; the first failure cancels the others, and is raised."""
    ended = Condition()
    tasks = [loop.spawn(work, ended) for work in works]
    try:
        while not (all(task.done for task in tasks) or any(task.error for task in tasks)):
            await loop.wait(ended)
        failed = [task for task in tasks if task.error]
    finally:
        await loop.cancel_and_wait(*tasks)
    return [task.result() for task in failed or tasks]


class MemorySource(Source):
    """Gives what its script says: bytes, END, pauses, errors; then waits for more to be `put`. END lasts.

    `history` holds what was given, with its moment.
    """

    descriptor: int | None = None  # what `raw` answers

    def __init__(self, loop: Loop, *script: Given) -> None:
        self.loop = loop
        self.script = deque(script)
        self.arrived = Condition()
        self.history: list[tuple[float, bytes | BaseException | None]] = []

    def put(self, *script: Given) -> None:
        self.script += script
        self.arrived.notify()

    def raw(self) -> int | None:
        return self.descriptor

    async def read(self) -> bytes | None:
        while True:
            while not self.script:
                await self.loop.wait(self.arrived)
            item = self.script[0]
            if item is not END:
                self.script.popleft()
            if isinstance(item, int | float):
                await self.loop.sleep(item)
                continue
            self.history.append((self.loop.clock(), item))
            if isinstance(item, BaseException):
                raise item
            return item


class MemoryFile(MemorySource):
    """A source that knows how much it still holds, as a regular file does."""

    def unread(self) -> int:
        return sum(len(item) for item in self.script if isinstance(item, bytes))


class MemorySink(Sink):
    """Takes what its script says: an int takes at most so many bytes, a float refuses for so many seconds.

    After its script it takes everything, except between `refuse` and `accept`. `history` holds each write, each error
    and each end-of-file (END), with its moment. Two writers at once, or a write after the end-of-file, fail the test.
    """

    descriptor: int | None = None  # what `raw` answers

    def __init__(self, loop: Loop, *script: Taken) -> None:
        self.loop = loop
        self.script = deque(script)
        self.history: list[tuple[float, bytes | BaseException | None]] = []
        self.refusing = False
        self.writing = False
        self.changed = Condition()

    @property
    def taken(self) -> list[bytes]:
        return [item for _, item in self.history if isinstance(item, bytes)]

    @property
    def data(self) -> bytes:
        return b"".join(self.taken)

    @property
    def ends(self) -> list[float]:
        """When an end-of-file was passed on."""
        return [moment for moment, item in self.history if item is END]

    def refuse(self) -> None:
        self.refusing = True

    def accept(self, *script: Taken) -> None:
        self.script += script
        self.refusing = False
        self.changed.notify()

    def raw(self) -> int | None:
        return self.descriptor

    async def write(self, data: Bytes) -> int:
        assert not self.writing, "two tasks write at once"
        self.writing = True
        try:
            size = await self._room(len(data))
        finally:
            self.writing = False
        assert not self.ends, "something is written after the end-of-file"
        self.history.append((self.loop.clock(), bytes(data[:size])))
        return size

    async def _room(self, size: int) -> int:
        while self.refusing or self.script:
            if self.refusing:
                await self.loop.wait(self.changed)
                continue
            item = self.script.popleft()
            if isinstance(item, BaseException):
                self.history.append((self.loop.clock(), item))
                raise item
            if isinstance(item, int):
                return min(size, item)
            await self.loop.sleep(item)
        return size

    async def send_eof(self) -> None:
        assert not self.writing, "an end-of-file in the middle of a write"
        self.history.append((self.loop.clock(), END))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A non-blocking pipe: (reading, writing), closed at the end unless the test did."""
    ends = os.pipe2(os.O_NONBLOCK)
    try:
        yield ends
    finally:
        for fd in ends:
            if os.path.exists(f"/proc/self/fd/{fd}"):
                os.close(fd)
