"""A task and what wakes it: the nouns of the kernel in `loop.py`, which alone makes and steps tasks.

Theory: a task is parked or it is in the queue of those ready to go on; `wake` moves it, once, whoever calls and
however often. Cancelling is waking with an exception. Nothing here waits, and nothing knows of descriptors.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    T = TypeVar("T")
    Work = Coroutine[Any, Any, T]


class Cancelled(BaseException):
    """Thrown into a task that is not wanted any more. Not an `Exception`: nothing may swallow it by accident."""


class Condition:
    """Something that happens: `notify` wakes every task that waits for it at this moment."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Task] | None = None  # most signals are never waited for: a client has many

    def notify(self) -> None:
        """Wake all who wait now; nobody later will know."""
        if self.waiting:
            waiting, self.waiting = self.waiting, None
            for task in waiting:
                task.wake(True)

    def add(self, task: Task) -> None:
        """Wake this task, too."""
        if self.waiting is None:
            self.waiting = [task]
        else:
            self.waiting.append(task)

    def discard(self, task: Task) -> None:
        """Do not wake this task, if it was going to be."""
        if self.waiting and task in self.waiting:
            self.waiting.remove(task)


class Task:
    """One coroutine on its way, and in the end its result or its failure."""

    __slots__ = ("_doom", "_ended", "_parked", "_ready", "coro", "done", "error", "owned", "repeat", "value")

    def __init__(self, coro: Work[Any], ready: deque[tuple[Task, bool | None]], ended: Condition | None) -> None:
        self.coro = coro
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.owned = ended is not None
        self._ended = ended
        self.repeat: Callable[[], bool] | None = None  # to be done at each event, until it answers False
        self._ready = ready
        self._parked = True
        self._doom: BaseException | None = None
        self.wake(None)

    @property
    def ended(self) -> Condition:
        """Fires when the task is done. Made when somebody asks: nobody waits for most of a server's tasks."""
        if self._ended is None:
            self._ended = Condition()
        return self._ended

    def wake(self, value: bool | None) -> None:
        """Let the task go on, once, with what its wait returns."""
        if self._parked:
            self._parked = False
            self._ready.append((self, value))

    def due(self) -> bool:
        """The event that the task waits for is here: repeat what it repeats, or let it go on. True if it waits on."""
        if self.repeat and self._parked:
            try:
                if self.repeat():
                    return True
            except BaseException as error:  # noqa: BLE001 - thrown into the task, which asked for it
                self.cancel(error)
        self.wake(True)
        return False

    def cancel(self, doom: BaseException | None = None) -> None:
        """Throw `Cancelled` (or `doom`) at the place where the task waits. A task that is done stays as it is."""
        if not self.done:
            self._doom = doom or Cancelled()
            self.wake(False)

    def result(self) -> Any:
        """What the task returned; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.value

    def step(self, value: bool | None) -> None:
        """Run until the next wait or the end."""
        doom, self._doom = self._doom, None
        self._parked = True  # set before the step: what the task does may wake it again at once
        try:
            if doom is None:
                self.coro.send(value)
            else:
                self.coro.throw(doom)
            return
        except StopIteration as stop:
            self.value = stop.value
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the task, never swallowed
            self.error = error
        self.done = True
        self._parked = False
        if self._ended is not None:
            self._ended.notify()
