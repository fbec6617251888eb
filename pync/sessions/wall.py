"""The wall around each session: what goes wrong in one of them ends that one alone.

Theory: a server has many clients. A bug or a shortage that one of them brings about must cost the others nothing. So a
server catches what a session raises, whatever it is: only a failure of what all share (stdin, stdout, a log of all) is
passed on, as `SHARED`. An error of pync's own kinds is one line. A shortage of the system is one line, too. Anything
else is a bug: its traceback is shown once. Later ones from the same place are counted, and of these the tenth, the
hundredth and so on is reported.

The traceback is made without the module `traceback`, which would be imported when no file may be within reach any more.
"""

from __future__ import annotations

import errno

from pync.errors import InputError, Interrupted, OutputError, PyncError, reason
from pync.listener_events import SessionCrashed, SessionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.events import Address, Report

SHARED = (InputError, OutputError, Interrupted)  # a signal can interrupt a step of a session
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC)
MOST = 100  # places of bugs that are told apart; those at any other are counted together


class Shortage(PyncError):
    """The system has not enough of something for the session of one client."""


class Wall:
    """What has gone wrong in sessions, for a report of each."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._times: dict[str, int] = {}

    def report(self, peer: Address, error: Exception) -> None:
        """Report why a session has failed."""
        if isinstance(error, PyncError):
            self._report(SessionFailed(peer=peer, error=error))
        elif isinstance(error, MemoryError):
            self._report(SessionFailed(peer=peer, error=Shortage(f"session of {peer}", "out of memory")))
        elif isinstance(error, OSError) and error.errno in SHORTAGES:
            self._report(SessionFailed(peer=peer, error=Shortage(f"session of {peer}", reason(error))))
        elif is_round(times := self._count(error)):
            self._report(SessionCrashed(peer=peer, trace=trace(error), times=times))

    def _count(self, error: Exception) -> int:
        """How often an error of this kind has come from this place by now."""
        place = f"{type(error).__name__} {_places(error)[-1:]}"
        if place not in self._times and len(self._times) == MOST:
            place = ""
        self._times[place] = self._times.get(place, 0) + 1
        return self._times[place]


def is_round(times: int) -> bool:
    """Whether it is the first, tenth, hundredth time and so on."""
    return str(times).rstrip("0") == "1"


def trace(error: BaseException) -> str:
    """The error and the places in the code that it came through, the innermost first, as one line."""
    return ", from ".join([f"{type(error).__name__}: {error}", *reversed(_places(error))])


def _places(error: BaseException) -> list[str]:
    places, step = [], error.__traceback__
    while step:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename}:{step.tb_lineno} in {code.co_qualname}")
        step = step.tb_next
    return places
