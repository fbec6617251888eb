"""Tasks, and the conditions that wake them. Only the kernel (`kernel.py`) makes tasks and steps them.

Theory: a task is parked, or it is in the queue of the tasks that are ready to go on. The first `wake` moves it there,
and further calls do nothing. Cancelling is waking with an exception. Nothing here waits or knows a descriptor.
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
    """Raised in a task whose result is not needed any more. It is no `Exception`: `except Exception` lets it pass."""


class Condition:
    """Something that tasks wait for. `notify` wakes every task that waits at this moment."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        # A server has many conditions for each client, and no task waits for most of them: no list yet.
        self.waiting: list[Task] | None = None

    def notify(self) -> None:
        """Wake the tasks that wait now. A task that begins to wait later is not woken by this call."""
        if self.waiting:
            waiting, self.waiting = self.waiting, None
            for task in waiting:
                task.wake(True)

    def add(self, task: Task) -> None:
        """Have the next `notify` wake this task, too."""
        if self.waiting is None:
            self.waiting = [task]
        else:
            self.waiting.append(task)

    def discard(self, task: Task) -> None:
        """Have the next `notify` leave this task alone."""
        if self.waiting and task in self.waiting:
            self.waiting.remove(task)


class Task:
    """One coroutine while it runs, and afterwards its result or its failure."""

    __slots__ = ("_ended", "_exception", "_parked", "_ready", "coro", "done", "error", "owned", "repeat", "value")

    def __init__(self, coro: Work[Any], ready: deque[tuple[Task, bool | None]], ended: Condition | None) -> None:
        self.coro = coro
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.owned = ended is not None
        self._ended = ended
        self.repeat: Callable[[], bool] | None = None  # to be called at each event, until it returns False
        self._ready = ready
        self._parked = True
        self._exception: BaseException | None = None  # to be raised in the coroutine at its next step
        self.wake(None)

    @property
    def ended(self) -> Condition:
        """Notified when the task is done. It is made on demand, because no task waits for most tasks of a server."""
        if self._ended is None:
            self._ended = Condition()
        return self._ended

    def wake(self, value: bool | None) -> None:
        """Let the task go on, once, with `value` as the result of its wait."""
        if self._parked:
            self._parked = False
            self._ready.append((self, value))

    def due(self) -> bool:
        """Handle the event for which the task waits: call its `repeat`, or wake it. True if it goes on waiting."""
        if self.repeat and self._parked:
            try:
                if self.repeat():
                    return True
            except BaseException as error:  # the task is to raise it, because the function is its own
                self.cancel(error)
        self.wake(True)
        return False

    def cancel(self, exception: BaseException | None = None) -> None:
        """Raise `exception`, or else `Cancelled`, where the task waits. A task that is done stays as it is."""
        if not self.done:
            self._exception = exception or Cancelled()
            self.wake(False)

    def result(self) -> Any:
        """What the task returned, once it is done. Raises what the task raised, and the task then forgets it."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:  # the error holds this frame, which must not hold the error
            del error
        return self.value

    def step(self, value: bool | None) -> None:
        """Run the coroutine until its next wait, or to its end."""
        exception, self._exception = self._exception, None
        self._parked = True  # before the step, because the step itself may wake the task again
        try:
            if exception is None:
                self.coro.send(value)
            else:
                self.coro.throw(exception)
            return
        except StopIteration as stop:
            self.value = stop.value
        except BaseException as error:  # kept for the owner of the task, or else for the run
            # Without the frames that hold the task: a cycle would keep it, and all that it has, for long.
            trace = None if isinstance(error, Cancelled) else error.__traceback__
            self.error, trace, exception = error.with_traceback(trace and trace.tb_next), None, None
        self.done, self._parked = True, False
        if self._ended is not None:
            self._ended.notify()
        del self  # since Python 3.12 the frames in the error's traceback hold this one
