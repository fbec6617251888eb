"""Everything that a scene waits for at the same time: descriptors, each with what is done when it is ready.

One thread does all of it, so that what has arrived is looked at only where a step of the script says so. A module of
its own, because it knows nothing about netcats.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 0.01  # seconds between two looks at what no descriptor shows


class Pump:
    """Reads whatever is ready while it waits for something."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._news = time.monotonic()

    def watch(self, fd: int, ready: Callable[[], None], events: int = select.POLLIN) -> None:
        """Call `ready` as often as the descriptor is."""
        self._ready[fd] = ready
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """The opposite, which may be done twice."""
        if self._ready.pop(fd, None):
            self._poll.unregister(fd)

    def wait(self, there: Callable[[], bool], seconds: float) -> bool:
        """Until `there`; whether it has come within `seconds`."""
        until = time.monotonic() + seconds
        while not there():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._once(min(left, TICK))
        return True

    def settle(self, seconds: float, over: Callable[[], bool]) -> None:
        """Until nothing has been ready for so long, or it is `over`."""
        self._news = time.monotonic()
        self.wait(lambda: over() or time.monotonic() - self._news >= seconds, 60)

    def _once(self, seconds: float) -> None:
        for fd, _ in self._poll.poll(seconds * 1000):
            if fd in self._ready:
                self._news = time.monotonic()
                self._ready[fd]()
