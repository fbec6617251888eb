"""A small kernel over `selectors`: it runs tasks, and a task can only do two things to it, wait and signal.

Connecting, a handshake and a relay are sequences, so they are written as sequences (`async def`), not as flags
in a callback. The kernel must never know what it is waiting for: no sockets, no protocols, no policy here.

Theory
1. A task runs until it waits. What yields is the entry to the kernel: `_park`, and `_descriptor`, which does without
   it where it can, because a thousand clients wait there.
2. A task waits for a descriptor, a `Signal`, a moment, or whichever comes first. It gets True, or False when the
   moment came first. Being cancelled is an exception at that same place, so `finally` cleans up everywhere.
   What it would do at each event, a task can leave here to be repeated: that saves two switches for each.
3. One task waits for one (descriptor, event) at a time; a second one is an error, raised.
4. Interest in a descriptor outlives the wait: it is dropped only when an event arrives that nobody waits for.
   A steady flow pays no epoll_ctl for each chunk. So whoever closes a descriptor calls `forget` first.
5. A signal has no memory: who waits now is told. Check the condition, wait, check again.
6. A task that somebody waits for hands its failure to that one. A task nobody waits for fails the whole run.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from types import coroutine

from pync.loop.os_signals import Delivery
from pync.loop.tasks import Cancelled, Condition, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from selectors import BaseSelector
    from typing import Any, TypeVar

    from pync.loop.tasks import Work

    T = TypeVar("T")
    Until = float | None  # a moment of the clock
    Repeat = Callable[[], bool] | None


class Loop:
    """Runs tasks until the main one is done. Clock (seconds) and selector are injected."""

    def __init__(self, selector: BaseSelector | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._selector = selector or DefaultSelector()
        self._ready: deque[tuple[Task, bool | None]] = deque()
        self._timers: list[tuple[float, int, list[Task]]] = []
        self._numbers = count()
        self._interest: dict[int, int] = {}
        self._reading: dict[int, Task] = {}
        self._writing: dict[int, Task] = {}
        self._tasks: dict[Task, None] = {}
        self._current: Task | None = None
        self._failure: Task | None = None  # the first that nobody waits for
        self.child_ended = Condition()

    def readable(
        self, fd: int, until: Until = None, repeat: Repeat = None, signal: Condition | None = None
    ) -> Work[bool]:
        """Wait until `fd` can be read (or has an end or error to tell), or `signal` fires; False if `until` came first.

        With `repeat`, do that each time, and go on when it answers False; what it raises is raised here.
        """
        return self._descriptor(self._reading, fd, EVENT_READ, until, repeat, signal)

    def writable(self, fd: int, until: Until = None, repeat: Repeat = None) -> Work[bool]:
        """Wait until `fd` can be written (or has an error to tell), or as `readable` does."""
        return self._descriptor(self._writing, fd, EVENT_WRITE, until, repeat, None)

    async def wait(self, signal: Condition, until: float | None = None) -> bool:
        """Wait for the next time `signal` fires; False if `until` came first."""
        task = self._running()
        signal.add(task)
        try:
            return await self._park(task, until)
        finally:
            signal.discard(task)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        await self._park(self._running(), self.clock() + seconds)

    @coroutine
    def _descriptor(
        self, waiting: dict[int, Task], fd: int, event: int, until: Until, repeat: Repeat, signal: Condition | None
    ) -> Generator[None, bool, bool]:
        task = self._running()
        if fd in waiting:
            raise RuntimeError(f"two tasks wait for the same event of descriptor {fd}")
        if not self._interest.get(fd, 0) & event and not self._watch(fd, event):
            return (yield from self._park(task, self.clock())) or True  # always ready: the others have their turn
        waiting[fd] = task
        task.repeat = repeat
        if signal:
            signal.add(task)
        try:
            return (yield) if until is None else (yield from self._park(task, until))
        finally:
            task.repeat = None
            if signal:
                signal.discard(task)
            if waiting.get(fd) is task:
                del waiting[fd]

    @coroutine
    def _park(self, task: Task, until: float | None) -> Generator[None, bool, bool]:
        """Stand still until somebody wakes the task, or until that moment."""
        if until is None:
            return (yield)
        alarm = [task]
        heappush(self._timers, (until, next(self._numbers), alarm))
        try:
            return (yield)
        finally:
            alarm.clear()

    def spawn(self, work: Work[Any], ended: Condition | None = None) -> Task:
        """Start a task. Pass `ended` to wait for it and to take its failure; without, a failure fails the run."""
        task = Task(work, self._ready, ended)
        self._tasks[task] = None
        return task

    async def together(self, *works: Work[Any]) -> list[Any]:
        """Run all, and return their results; the first failure cancels the rest, waits for them, then is raised."""
        ended = Condition()
        tasks = [self.spawn(work, ended) for work in works]
        try:
            while not (all(task.done for task in tasks) or any(task.error for task in tasks)):
                await self.wait(ended)
            failed = [task for task in tasks if task.error]
        finally:
            await self.cancel_and_wait(*tasks)
        return [task.result() for task in failed or tasks]

    async def first(self, *works: Work[Any]) -> Any:
        """The result (or failure) of whichever ends first; the others are cancelled and waited for."""
        ended = Condition()
        tasks = [self.spawn(work, ended) for work in works]
        try:
            while not (done := [task for task in tasks if task.done]):
                await self.wait(ended)
        finally:
            await self.cancel_and_wait(*tasks)
        return done[0].result()

    async def within(self, seconds: float | None, work: Work[T]) -> T:
        """Await `work`; TimeoutError once so many seconds have passed (None: however long it takes)."""
        if seconds is None:
            return await work
        return await self.first(work, self._alarm(seconds))  # type: ignore[no-any-return]

    async def _alarm(self, seconds: float) -> None:
        await self.sleep(seconds)
        raise TimeoutError

    async def cancel_and_wait(self, *tasks: Task) -> None:
        """Cancel what still runs, and wait until it has cleaned up."""
        for task in tasks:
            task.cancel()
        for task in tasks:
            while not task.done:
                await self.wait(task.ended)

    def forget(self, fd: int) -> None:
        """Drop all interest in a descriptor. Called before it is closed: its number may be another one's next."""
        if self._interest.pop(fd, 0):
            self._selector.unregister(fd)

    def _watch(self, fd: int, event: int) -> bool:
        """See that the selector reports `event`; False for what is always ready: regular files, /dev/null."""
        interest = self._interest.get(fd, 0)
        try:
            if interest:
                self._selector.modify(fd, interest | event)
            else:
                self._selector.register(fd, event)
        except PermissionError:  # epoll's way to say "always ready"
            return False
        self._interest[fd] = interest | event
        return True

    def _unwatch(self, fd: int, event: int) -> None:
        interest = self._interest[fd] & ~event
        if interest:
            self._selector.modify(fd, interest)
            self._interest[fd] = interest
        else:
            self.forget(fd)

    def run(self, main: Work[T]) -> T:
        """Run `main` and all it spawns; return its result or raise its failure, `Interrupted` if a signal came.

        At the end no task is left: what still runs is cancelled, and cleans up.
        """
        task = self.spawn(main)
        with Delivery(self, task, self.child_ended):
            try:
                while not task.done and self._failure is None:
                    self._turn()
            finally:
                for other in self._tasks:
                    other.cancel()
                while self._tasks:
                    self._turn()
                self._selector.close()
        return (self._failure or task).result()  # type: ignore[no-any-return]

    def _turn(self) -> None:
        """See who can go on, and let each run until its next wait."""
        self._poll()
        for _ in range(len(self._ready)):
            task, value = self._ready.popleft()
            self._current = task
            task.step(value)
            if task.done:
                self._finished(task)

    def _finished(self, task: Task) -> None:
        del self._tasks[task]
        if task.error is not None and not task.owned and not isinstance(task.error, Cancelled):
            self._failure = self._failure or task

    def _poll(self) -> None:
        timeout = None
        if self._ready:
            timeout = 0.0
        elif self._timers:
            timeout = max(0.0, self._timers[0][0] - self.clock())
        for key, events in self._selector.select(timeout):
            for waiting, event in ((self._reading, EVENT_READ), (self._writing, EVENT_WRITE)):
                if events & event:
                    if key.fd not in waiting:
                        self._unwatch(key.fd, event)
                    elif not waiting[key.fd].due():
                        del waiting[key.fd]
        if self._timers:
            self._ring()

    def _ring(self) -> None:
        """Wake whose moment has come; alarms of waits that are over are empty."""
        while self._timers and (not self._timers[0][2] or self._timers[0][0] <= self.clock()):
            for task in heappop(self._timers)[2]:
                task.wake(False)

    def _running(self) -> Task:
        assert self._current is not None, "only a task can wait"
        return self._current
