"""The event loop: a small kernel over `selectors` that runs tasks. A task can wait, and it can notify other tasks.

Connecting, a handshake and a relay are sequences, so they are written as sequences (`async def`), not as flags in a
callback. The kernel must never know what it waits for: it has no sockets, no protocols and no policy.

The rules
1. A task runs until it waits. Only `_park` and `_descriptor` yield, so they are the two entries to the kernel.
2. A task waits for a descriptor, a `Condition`, a moment, or whichever comes first. The wait returns True, or False if
   the moment came first. Cancelling raises an exception at the same place, so `finally` cleans up everywhere.
   A waiting task can name a function that the kernel calls at each event. That saves two switches an event.
3. One task at a time waits for a (descriptor, event). A second one is an error, and it is raised.
4. Interest in a descriptor outlives the wait, so a steady flow pays no epoll_ctl(2) for each chunk. It ends when an
   event arrives for which no task waits. Code that closes a descriptor therefore calls `forget` first.
5. A condition has no memory: it wakes the tasks that wait now. Check the state, wait, and check again.
6. A task with a waiting owner hands its failure to that owner. The failure of any other task fails the whole run.
"""

from __future__ import annotations

# The C core of heapq. The module around it has the same in Python, which would be read at each start and then replaced.
from _heapq import heappop, heappush
from collections import deque
from itertools import count
from selectors import EVENT_READ, EVENT_WRITE
from time import monotonic
from types import coroutine

from pync.loop.os_signals import ASKING, Delivery
from pync.loop.tasks import Cancelled, Condition, Task
from pync.system import new_selector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from selectors import BaseSelector
    from typing import Any, TypeVar

    from pync.loop.tasks import Work

    T = TypeVar("T")
    Shared = TypeVar("Shared")
    Until = float | None  # a moment of the clock
    Repeat = Callable[[], bool] | None
    Wakes = Condition | None


class Loop:
    """Runs tasks until the main one is done. The clock (seconds) and the selector are injected."""

    def __init__(self, selector: BaseSelector | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._selector = selector or new_selector()
        self._ready: deque[tuple[Task, bool | None]] = deque()
        self._timers: list[tuple[float, int, list[Task]]] = []
        self._numbers = count()
        self._interest: dict[int, int] = {}
        self._reading: dict[int, Task] = {}
        self._writing: dict[int, Task] = {}
        self._tasks: dict[Task, None] = {}
        self._current: Task | None = None
        self._failure: Task | None = None  # the first failed task that has no owner
        self._shared: dict[Callable[[Loop], Any], Any] = {}
        self.stopped_by = 0  # the signal that has ended the run
        self.asked = Condition()  # notified when a signal of `asking` asks how far the run has come
        self.asking = ASKING
        self.child_ended = Condition()
        self.watches: list[Task] = []  # the tasks that the others need until they have cleaned up
        self.notified_by: dict[int, Condition] = {}  # by a signal's number: what it notifies instead of ending the run

    def readable(self, fd: int, until: Until = None, repeat: Repeat = None, condition: Wakes = None) -> Work[bool]:
        """Wait until `fd` has data, an end or an error, or `condition` is notified; False if `until` came first.

        `repeat` is called at each event, and the wait ends when it returns False. What it raises is raised here.
        """
        return self._descriptor(self._reading, fd, EVENT_READ, until, repeat, condition)

    def writable(self, fd: int, until: Until = None, repeat: Repeat = None) -> Work[bool]:
        """Wait until `fd` takes data or has an error; False if `until` came first. `repeat` is as for `readable`."""
        return self._descriptor(self._writing, fd, EVENT_WRITE, until, repeat, None)

    def shared(self, kind: Callable[[Loop], Shared]) -> Shared:
        """The one object of this class that all tasks share. It is made when it is first asked for."""
        made: Shared = self._shared.get(kind) or self._shared.setdefault(kind, kind(self))
        return made

    async def wait(self, condition: Condition, until: float | None = None) -> bool:
        """Wait for the next time that `condition` is notified; False if `until` came first."""
        task = self._running()
        condition.add(task)
        try:
            return await self._park(task, until)
        finally:
            condition.discard(task)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await self._park(self._running(), self.clock() + seconds)

    @coroutine
    def _descriptor(
        self, waiting: dict[int, Task], fd: int, event: int, until: Until, repeat: Repeat, condition: Wakes
    ) -> Generator[None, bool, bool]:
        task = self._running()
        if fd in waiting:
            raise RuntimeError(f"two tasks wait for the same event of descriptor {fd}")
        if not self._interest.get(fd, 0) & event and not self._watch(fd, event):
            # The descriptor is always ready. The task parks all the same, so that the other tasks have their turn.
            return (yield from self._park(task, self.clock())) or True
        waiting[fd] = task
        task.repeat = repeat
        if condition:
            condition.add(task)
        try:
            # A thousand clients wait here without a deadline: for them the frame of `_park` is saved.
            return (yield) if until is None else (yield from self._park(task, until))
        finally:
            task.repeat = None
            if condition:
                condition.discard(task)
            if waiting.get(fd) is task:
                del waiting[fd]

    @coroutine
    def _park(self, task: Task, until: float | None) -> Generator[None, bool, bool]:
        """Suspend the task until something wakes it, or until the moment `until`."""
        if until is None:
            return (yield)
        alarm = [task]
        heappush(self._timers, (until, next(self._numbers), alarm))
        try:
            return (yield)
        finally:
            alarm.clear()

    def spawn(self, work: Work[Any], ended: Condition | None = None) -> Task:
        """Start a task. With `ended` the caller owns it: it waits for the task and takes its failure."""
        task = Task(work, self._ready, ended)
        self._tasks[task] = None
        return task

    async def first(self, *works: Work[Any]) -> Any:
        """Run the works, and return or raise what the first to end does. The others are cancelled and waited for."""
        ended = Condition()
        tasks = [self.spawn(work, ended) for work in works]
        try:
            while not (done := [task for task in tasks if task.done]):
                await self.wait(ended)
        finally:
            await self.cancel_and_wait(*tasks)
        return done[0].result()

    async def within(self, seconds: float | None, work: Work[T]) -> T:
        """The result of `work`. Raises TimeoutError after `seconds`; None sets no limit."""
        if seconds is None:
            return await work
        result: T = await self.first(work, self._alarm(seconds))
        return result

    async def _alarm(self, seconds: float) -> None:
        await self.sleep(seconds)
        raise TimeoutError

    async def cancel_and_wait(self, *tasks: Task) -> None:
        """Cancel the tasks that still run, and wait until each has cleaned up."""
        for task in tasks:
            task.cancel()
        for task in tasks:
            while not task.done:
                await self.wait(task.ended)

    def forget(self, fd: int) -> None:
        """Drop all interest in a descriptor. Call it before closing one, because the system reuses the number."""
        if self._interest.pop(fd, 0):
            self._selector.unregister(fd)

    def _watch(self, fd: int, event: int) -> bool:
        """Have the selector report `event`; False for a descriptor that is always ready: a regular file, /dev/null."""
        interest = self._interest.get(fd, 0)
        try:
            if interest:
                self._selector.modify(fd, interest | event)
            else:
                self._selector.register(fd, event)
        except PermissionError:  # this is how a selector refuses a file that is always ready
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
        """Run `main` and the tasks that it spawns. Returns its result, or raises its failure or Interrupted.

        The tasks that still run at the end are cancelled, and clean up before this returns.
        """
        task = self.spawn(main)
        with Delivery(self, task):
            try:
                while not task.done and self._failure is None:
                    self._turn()
            finally:
                self._clean_up(self.watches)
                self._clean_up([])
                self._selector.close()
            return (self._failure or task).result()  # type: ignore[no-any-return]

    def _clean_up(self, kept: list[Task]) -> None:
        """Cancel the tasks but those that are `kept`, and run until they have cleaned up."""
        for task in self._tasks:
            if task not in kept:
                task.cancel()
        while any(task not in kept for task in self._tasks):
            self._turn()

    def _turn(self) -> None:
        """Find out which tasks can go on, and run each until its next wait."""
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
        """Wake the tasks whose moment has come. A wait that is over has left an empty alarm, which wakes no task."""
        while self._timers and (not self._timers[0][2] or self._timers[0][0] <= self.clock()):
            for task in heappop(self._timers)[2]:
                task.wake(False)

    def _running(self) -> Task:
        assert self._current is not None, "only a task can wait"
        return self._current
