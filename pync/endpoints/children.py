"""Waiting for the ends of child processes: one task for all of them, and no descriptor.

SIGCHLD says that a child has ended, but not which. So each child that is waited for is asked then, and only the task of
one that has ended is woken. A module of its own, because all programs of a server share it.
"""

from __future__ import annotations

from pync.loop.tasks import Condition
from pync.system.processes import REAPED_EARLY, child_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop


class Children:
    """The children whose ends are waited for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, Condition] = {}  # by process ids
        self._ended: dict[int, int] = {}  # the statuses of those that were reaped to be asked
        loop.watches.append(loop.spawn(self._watch()))

    async def ended(self, pid: int) -> int:
        """Wait for a child's end. Returns its exit status, or -n if signal n ended it."""
        while (status := self._status(pid)) is None:
            await self._loop.wait(self._waiting.setdefault(pid, Condition()))
        self._ended.pop(pid, None)
        return status

    async def _watch(self) -> None:
        while True:
            for pid in [pid for pid in self._waiting if self._is_over(pid)]:
                self._waiting.pop(pid).notify()
            await self._loop.wait(self._loop.child_ended)

    def _status(self, pid: int) -> int | None:
        return self._ended[pid] if pid in self._ended else child_status(pid)

    def _is_over(self, pid: int) -> bool:
        try:
            status = self._status(pid)
        except ChildProcessError:  # it was reaped, and the task that had waited was cancelled before
            return True
        if REAPED_EARLY and status is not None:
            self._ended[pid] = status
        return status is not None


async def exit_status(loop: Loop, pid: int) -> int:
    """Wait for a child's end, and leave it to `processes.reap`. Returns its exit status, or -n if signal n ended it."""
    return await loop.shared(Children).ended(pid)
