"""Waiting for the ends of child processes: one task for all of them, and no descriptor.

SIGCHLD says that a child has ended, but not which. So each child that is waited for is asked then, and only the task of
one that has ended is woken. A module of its own, because all programs of a server share it.
"""

from __future__ import annotations

import os

from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop


class Children:
    """The children whose ends are waited for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, Condition] = {}  # by process ids
        loop.watches.append(loop.spawn(self._watch()))

    async def ended(self, pid: int) -> os.waitid_result:
        """Wait for a child's end, and leave it to be reaped."""
        while (end := _end(pid)) is None:
            await self._loop.wait(self._waiting.setdefault(pid, Condition()))
        return end

    async def _watch(self) -> None:
        while True:
            for pid in [pid for pid in self._waiting if _is_over(pid)]:
                self._waiting.pop(pid).notify()
            await self._loop.wait(self._loop.child_ended)


def _end(pid: int) -> os.waitid_result | None:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _is_over(pid: int) -> bool:
    try:
        return _end(pid) is not None
    except ChildProcessError:  # it was reaped, and the task that had waited was cancelled before
        return True


async def exit_status(loop: Loop, pid: int) -> int:
    """Wait for a child's end, and leave it to be reaped. Returns its exit status, or -n if signal n ended it."""
    end = await loop.shared(Children).ended(pid)
    return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
