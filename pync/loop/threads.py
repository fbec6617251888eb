"""Running in threads what cannot be interrupted, such as the C library's resolver, without ever holding up the loop.

Theory: a few threads serve all tasks, each as long as there is work, so that clients that ask for a thousand names cost
no more than that. Other work waits for its turn, and is dropped when the task that asked for it has gone. A thread is
started for work, never kept: one that could not be started costs this task its result, and later ones nothing. One pipe
wakes the loop. So deadlines and Ctrl-C work while a thread is stuck, whose result is dropped then.

The writing end of the pipe is closed under the lock under which a thread writes to it: a thread may outlive the loop,
and must not write to a descriptor that has the same number. (`_thread` is what `threading` is made of, at none of its
start-up cost.) A module of its own, because a run that is given an address does not need it.
"""

from __future__ import annotations

import _thread
import errno
import os
from collections import deque

from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from pync.loop.kernel import Loop

    T = TypeVar("T")

MOST = 16  # threads at a time


class Job:
    """A piece of work, and its result or failure once it is done."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = Condition()
        self.ended = False
        self.result: Any = None
        self.failure: Exception | None = None

    def run(self) -> None:
        """Do the work."""
        try:
            self.result = self.work()
        except Exception as error:  # raised in the task that waits, be it a bug or not
            self.failure = error


class Threads:
    """The threads of a loop, the work that waits for one, and the work that is done."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = _thread.allocate_lock()
        self._running = 0
        self._waiting: dict[Job, None] = {}
        self._finished: deque[Job] = deque()
        self._pipe: tuple[int, int] | tuple[()] = ()

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, which a thread calls. Raises what it raises, OSError without a thread or descriptor."""
        job = Job(work)
        self.open()
        self._start(job)
        try:
            while not job.ended:
                await self._loop.wait(job.done)
        finally:
            with self._lock:
                self._waiting.pop(job, None)  # the task may have gone before a thread has begun
        if job.failure:
            raise job.failure
        result: T = job.result
        return result

    def open(self) -> None:
        """Open the pipe, unless it is open. A server does so before its clients use up the descriptors."""
        if not self._pipe:
            reading, writing = self._pipe = os.pipe()
            os.set_blocking(writing, False)
            self._loop.spawn(self._collect(reading, writing))

    def _start(self, job: Job) -> None:
        """Queue the job, with a new thread for it if there are few."""
        with self._lock:
            self._waiting[job] = None
            if self._running == MOST:
                return
            self._running += 1
        try:
            _thread.start_new_thread(self._serve, ())
        except RuntimeError as error:  # the limit of processes and threads, or of memory
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    del self._waiting[job]
                    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    def _serve(self) -> None:
        """Work in a thread, until nothing waits."""
        while job := self._next():
            job.run()
            self._finished.append(job)
            with self._lock:
                if self._pipe:
                    self._wake(self._pipe[1])

    def _next(self) -> Job | None:
        with self._lock:
            if job := next(iter(self._waiting), None):
                del self._waiting[job]
            else:
                self._running -= 1
            return job

    def _wake(self, writing: int) -> None:
        try:
            os.write(writing, b"\0")
        except BlockingIOError:  # there is enough in it to wake the loop
            pass

    async def _collect(self, reading: int, writing: int) -> None:
        """Take what the threads have finished to the tasks that wait for it."""
        try:
            while True:
                await self._loop.readable(reading)
                os.read(reading, 4096)
                while self._finished:
                    job = self._finished.popleft()
                    job.ended = True
                    job.done.notify()
        finally:
            self._loop.forget(reading)
            os.close(reading)
            with self._lock:
                self._pipe = ()
                os.close(writing)


async def in_thread(loop: Loop, work: Callable[[], T]) -> T:
    """The result of `work`, which a thread of the loop's calls. Raises what it raises, and as `Threads.run`."""
    return await loop.shared(Threads).run(work)
