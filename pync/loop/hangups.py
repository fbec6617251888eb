"""Watches for the end of connections that no task reads any more: one epoll for all of them.

Theory: once the peer's end-of-file was read, a socket stays readable for ever, and only its hang-up is a new event. An
epoll that asks for no event reports hang-ups and errors alone (epoll_ctl(2)), and is itself a descriptor to wait for.
Where the system gives no epoll, a wait ends only by its condition, and the next write to the connection finds its end.

A module of its own, because few conversations need it: the kernel imports it when `Loop.hangups` is first used.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Condition


def events_now(fd: int, asked: int = 0) -> int:
    """What poll(2) reports of a descriptor at this moment: hang-ups, errors, and of the `asked` events those there are.

    The error of a socket stays where it is, for the process that reads the socket.
    """
    poll = select.poll()
    poll.register(fd, asked)
    return sum(events for _, events in poll.poll(0))


class Hangups:
    """The connections that are watched, by descriptor, with the condition that a hang-up notifies."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.watched: dict[int, Condition] = {}
        self.epoll: select.epoll | None = None

    async def wait(self, fd: int, condition: Condition) -> None:
        """Wait until the connection is closed in both directions or broken, or until `condition` is notified."""
        self.open()
        self.watched[fd] = condition
        if self.epoll:
            self.epoll.register(fd, 0)
        try:
            await self._loop.wait(condition)
        finally:
            self._unwatch(fd)

    def open(self) -> None:
        """Open the epoll, unless it is open or the system gives none."""
        if self.epoll is not None:
            return
        try:
            self.epoll = select.epoll()
        except (AttributeError, OSError):  # this system has no epoll, or no descriptor is left
            return
        for fd in self.watched:
            self.epoll.register(fd, 0)
        self._loop.spawn(self._watch(self.epoll))

    async def _watch(self, epoll: select.epoll) -> None:
        try:
            while True:
                await self._loop.readable(epoll.fileno())
                for fd, _ in epoll.poll(0):
                    self.watched[fd].notify()
                    self._unwatch(fd)
        finally:
            self._loop.forget(epoll.fileno())
            epoll.close()

    def _unwatch(self, fd: int) -> None:
        if self.watched.pop(fd, None) and self.epoll and not self.epoll.closed:
            self.epoll.unregister(fd)
