"""Reading the files of access rules again at SIGHUP, while a listener serves.

Only a listener with such files imports this. The new rules are for clients that come from then on. Rules that cannot
be read, understood or resolved are reported, and the old ones stay: a listener must never serve more clients than its
user allows.

Theory: a terminal that closes sends SIGHUP as well, and that ends a listener as it ends any program. A pipe, which a
shell's `<(…)` is, has been read to its end, and would seem to be an empty list: so only regular files are read again.
"""

from __future__ import annotations

import errno
import os

from pync.errors import InputError, Interrupted, PyncError, reason
from pync.listener_events import RulesKept, RulesRead
from pync.loop.tasks import Condition
from pync.loop.threads import in_thread
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from pync.context import Context
    from pync.loop.tasks import Work

    Rules = TypeVar("Rules")  # whatever is made of the files


class Hangup(Condition):
    """SIGHUP, and how often it has come: one that comes while the files are read must not be missed."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def notify(self) -> None:
        """Count, and wake the task that waits."""
        self.count += 1
        super().notify()


def read_again(
    context: Context, files: Iterable[str], load: Callable[[], Rules], use: Callable[[Rules], None]
) -> Work[None]:
    """The work of calling `use` with what `load` makes of the files, at each SIGHUP from now on.

    `load` is called in a thread.
    """
    hangup = context.loop.notified_by[signal.SIGHUP] = Hangup()
    return _at_each(hangup, context, lambda: _from_files(files, load), use)


async def _at_each(hangup: Hangup, context: Context, load: Callable[[], Rules], use: Callable[[Rules], None]) -> None:
    had_terminal, seen = _has_terminal(), 0
    while True:
        while hangup.count == seen:
            await context.loop.wait(hangup)
        seen = hangup.count
        if had_terminal and not _has_terminal():
            raise Interrupted(signal.SIGHUP)
        try:
            use(await in_thread(context.loop, load))
        except OSError as error:  # no thread, or no descriptor for its pipe
            context.report(RulesKept(error=InputError("read them", reason(error))))
        except PyncError as error:
            context.report(RulesKept(error=error))
        else:
            context.report(RulesRead())


def _from_files(files: Iterable[str], load: Callable[[], Rules]) -> Rules:
    """What `load` returns. Raises as `load`, and InputError for a file that cannot be read a second time."""
    for path in files:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(path, "only a regular file can be read again")
    return load()


def _has_terminal() -> bool:
    """Whether we have a controlling terminal (tty(4)): none any more once it has closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in (errno.ENXIO, errno.ENOENT, errno.EIO)
    return True
