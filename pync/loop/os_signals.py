"""Signals of the operating system, as bytes on a descriptor that a task reads. The kernel must know no signal numbers.

`set_wakeup_fd` writes the number of each signal into a pipe. A task reads it while no other task runs, so a signal
interrupts no step of a task, unless the step blocks. An alarm finds that out; it spares the code of the loop, which a
busy machine may slow down. A signal that is ignored at the start (by nohup, or by a script's `&`) stays ignored.
"""

from __future__ import annotations

import os

from pync.errors import Interrupted, PyncError
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASKING = [getattr(signal, name) for name in ("SIGUSR1", "SIGINFO") if hasattr(signal, name)]  # how far it has come
STUCK = 0.5  # seconds from a stopping signal to the alarm, which means that a step blocks
WAITING = ["pync.loop", "selectors"]  # modules, by their first nine letters, in which the loop is slow or waits


class Delivery:
    """A context manager: within it a signal notifies its condition of `notified_by`, or else it cancels `main`.

    Afterwards each has its disposition of before, and Interrupted is raised if a signal came that should end `main`.
    """

    def __init__(self, loop: Loop, main: Task) -> None:
        self._notified_by, self._main, self._stopped_by, self._spared = loop.notified_by, main, 0, WAITING[:1]
        loop.notified_by |= dict.fromkeys(loop.asking, loop.asked)
        loop.notified_by |= dict.fromkeys((signal.SIGCHLD, signal.SIGALRM), loop.child_ended)  # for alarms see `_came`
        self._caught = (*STOPPING, *loop.asking)
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        loop.watches.append(loop.spawn(self._listen(loop), loop.child_ended))

    def __enter__(self) -> None:
        caught = [n for n in self._caught if signal.getsignal(n) != signal.SIG_IGN]
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)  # before a handler takes a signal
        self._before = [(n, signal.signal(n, self._came)) for n in (*caught, signal.SIGCHLD, signal.SIGALRM)]

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # which calls `_came` for those that have come
        for signum, handler in self._before:
            signal.signal(signum, handler)
        os.close(signal.set_wakeup_fd(self._wakeup))
        os.close(self._pipe[0])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if self._stopped_by and (error is None or isinstance(error, PyncError)):
            raise Interrupted(self._stopped_by)

    def _came(self, signum: int, frame: Any) -> None:
        if signum not in self._notified_by:
            self._stopped_by = signum
            signal.setitimer(signal.ITIMER_REAL, STUCK, STUCK / 10)
        elif signum == signal.SIGALRM and not self._main.done and frame.f_globals["__name__"][:9] not in self._spared:
            self._spared = WAITING  # from now on tasks clean up, and wait meanwhile
            signal.setitimer(signal.ITIMER_REAL, STUCK, STUCK / 10)  # another step may block, too
            raise Interrupted(self._stopped_by or signum)

    async def _listen(self, loop: Loop) -> None:
        while True:
            await loop.readable(self._pipe[0])
            for signum in os.read(self._pipe[0], 64):
                if condition := self._notified_by.get(signum):
                    condition.notify()
                else:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    loop.stopped_by = signum
                    self._main.cancel(Interrupted(signum))
