"""Operating-system signals, brought to the loop as what everything else is: bytes on a descriptor.

`signal.set_wakeup_fd` writes each signal's number into a pipe; a task reads it there, between two steps of the
others, so no signal ever strikes in the middle of something. A signal that was ignored when we started (nohup,
a background job of a script) stays ignored.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

from pync.errors import Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pync.loop import Loop
    from pync.tasks import Signal, Task

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def delivered(loop: Loop, main: Task, child_ended: Signal) -> Iterator[None]:
    """Inside, a stopping signal cancels `main` with `Interrupted`, and SIGCHLD fires `child_ended`.

    On leaving, every disposition is what it was before.
    """
    caught = [signum for signum in STOPPING if signal.getsignal(signum) is not signal.SIG_IGN]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    loop.spawn(_listen(loop, reading, main, child_ended), child_ended)
    before = {signum: signal.signal(signum, lambda *_: None) for signum in (*caught, signal.SIGCHLD)}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        os.close(reading)
        os.close(writing)


async def _listen(loop: Loop, reading: int, main: Task, child_ended: Signal) -> None:
    while True:
        await loop.readable(reading)
        for signum in os.read(reading, 64):
            if signum == signal.SIGCHLD:
                child_ended.fire()
            else:
                main.cancel(Interrupted(signum))
