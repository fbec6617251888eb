"""Running in a thread what cannot be interrupted, such as the C library's resolver, without ever holding up the loop.

Theory: the thread owns the writing end of a pipe and closes it when it has a result. So deadlines and Ctrl-C work while
it is stuck, and a result that is not needed any more is dropped. (`_thread` is what `threading` is made of, at none of
its start-up cost.) A module of its own, because a run that is given an address does not need it.
"""

from __future__ import annotations

import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pync.loop.kernel import Loop

    T = TypeVar("T")


async def in_thread(loop: Loop, work: Callable[[], T]) -> T:
    """The result of `work`, which a thread calls. Raises what it raises."""
    results: list[T] = []
    failures: list[Exception] = []

    def run(done: int) -> None:
        try:
            results.append(work())
        except Exception as error:  # raised in the task that waits, be it a bug or not
            failures.append(error)
        finally:
            os.close(done)

    reading, done = os.pipe()
    try:
        _thread.start_new_thread(run, (done,))
        await loop.readable(reading)
    finally:
        loop.forget(reading)
        os.close(reading)
    for failure in failures:
        raise failure
    return results[0]
