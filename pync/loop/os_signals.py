"""Signals of the operating system, as bytes on a descriptor that a task reads.

`set_wakeup_fd` writes the number of each signal into a pipe. A task reads it while no other task runs, so a signal
never interrupts a step of a task. A signal that is ignored when pync starts (by nohup, or in a background job of a
script) stays ignored. A module of its own, to keep signal numbers out of the kernel.
"""

from __future__ import annotations

import os

from pync.errors import Interrupted
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Delivery:
    """A context manager: within it a signal notifies its condition of `notified_by`, or else it ends `main`.

    SIGCHLD notifies `child_ended`. A stopping signal without a condition cancels `main` with Interrupted. Afterwards
    every signal has the disposition that it had before.
    """

    def __init__(self, loop: Loop, main: Task) -> None:
        self._loop = loop
        self._main = main
        loop.notified_by[signal.SIGCHLD] = loop.child_ended
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        caught = [signum for signum in STOPPING if signal.getsignal(signum) != signal.SIG_IGN]
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._loop.spawn(self._listen(), self._loop.child_ended)
        self._before = {signum: signal.signal(signum, lambda *_: None) for signum in (*caught, signal.SIGCHLD)}
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        os.close(self._reading)
        os.close(self._writing)

    async def _listen(self) -> None:
        while True:
            await self._loop.readable(self._reading)
            for signum in os.read(self._reading, 64):
                if condition := self._loop.notified_by.get(signum):
                    condition.notify()
                else:
                    self._main.cancel(Interrupted(signum))
