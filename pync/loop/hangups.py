"""Watches for the end of connections that no task reads any more: one epoll for all of them.

Theory: once the peer's end-of-file was read, a socket stays readable for ever, and only its hang-up is a new event. An
epoll that asks for no event reports hang-ups and errors alone (epoll_ctl(2)), and is itself a descriptor to wait for.
A connection that the epoll cannot take, or for which there is no epoll, is looked at every second instead: a shortage
of this moment must not become a wait for ever.

A module of its own, because few conversations need it. A server opens the epoll at its start (`Loop.shared`), before
its clients use up the descriptors.
"""

from __future__ import annotations

from pync.system.looks import is_over, new_epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Condition

LOOK = 1.0  # seconds between two looks at a connection that the epoll does not watch


class Hangups:
    """The connections that are watched, by descriptor, with the condition that a hang-up notifies."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.watched: dict[int, Condition] = {}
        self._epoll: select.epoll | None = None

    async def wait(self, fd: int, condition: Condition) -> None:
        """Wait until the connection is closed in both directions or broken, or until `condition` is notified."""
        if not self._watches(fd):
            while not (await self._loop.wait(condition, self._loop.clock() + LOOK) or is_over(fd)):
                pass
            return
        self.watched[fd] = condition
        try:
            await self._loop.wait(condition)
        finally:
            self._unwatch(fd)

    def open(self) -> None:
        """Open the epoll, unless it is open or the system gives none."""
        if self._epoll is None:
            try:
                self._epoll = new_epoll()
            except OSError:  # no descriptor is left
                return
            if self._epoll:
                self._loop.spawn(self._watch(self._epoll))

    def _watches(self, fd: int) -> bool:
        """Have the epoll watch this connection; False if it cannot."""
        self.open()
        try:
            if self._epoll:
                self._epoll.register(fd, 0)
        except OSError:  # all users' watches together have a limit (epoll(7), max_user_watches), and so has memory
            return False
        return self._epoll is not None

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
        if self.watched.pop(fd, None) and self._epoll and not self._epoll.closed:
            self._epoll.unregister(fd)
