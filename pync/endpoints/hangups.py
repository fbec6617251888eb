"""Which of many connections are gone, of those that nobody reads any more.

Theory: once the peer's end-of-file was read, a socket is "readable" for ever, and only its hang-up is news. An epoll
that asks for nothing is told of nothing but hang-ups and errors (epoll_ctl(2)), and is itself a descriptor to wait
for: one of them watches thousands of connections. Where none is to be had, nothing is told; then whoever writes to a
connection learns that it is gone.
"""

from __future__ import annotations

import select

from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop


class Hangups:
    """Watches connections for all who ask."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.watched: dict[int, Condition] = {}
        self.epoll: select.epoll | None = None

    async def of(self, fd: int, gone: Condition) -> None:
        """Wait until the connection is gone in both directions, or until `gone` fires for another reason."""
        if self.epoll is None and hasattr(select, "epoll"):
            self.epoll = select.epoll()
            self.loop.spawn(self._watch(self.epoll))
        self.watched[fd] = gone
        if self.epoll:
            self.epoll.register(fd, 0)
        try:
            await self.loop.wait(gone)
        finally:
            self._forget(fd)

    async def _watch(self, epoll: select.epoll) -> None:
        try:
            while True:
                await self.loop.readable(epoll.fileno())
                for fd, _ in epoll.poll(0):
                    self.watched[fd].notify()
                    self._forget(fd)
        finally:
            self.loop.forget(epoll.fileno())
            epoll.close()

    def _forget(self, fd: int) -> None:
        if self.watched.pop(fd, None) and self.epoll and not self.epoll.closed:
            self.epoll.unregister(fd)
