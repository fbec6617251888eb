"""pync's own command line at work: `NativeFace` runs it, and ends with pync's own exit statuses.

`options.py` has the options as data, `conflicts.py` which of them make no sense together, `config.py` what they ask
for, and `messages.py` what is reported.
"""

from __future__ import annotations

import os

from pync import __version__
from pync.errors import Interrupted, OutputClosed, ProgramError, TimedOut, UsageError
from pync.faces import print_line, print_text
from pync.faces.native.config import config
from pync.faces.native.messages import Messages
from pync.faces.native.options import ABOUT, ENDING, FORMS, HINTS, TABLE
from pync.faces.option_table import read
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.errors import PyncError
    from pync.events import Outcome


class NativeFace:
    """pync's own command line, for one run (see `faces/__init__.py`)."""

    def __init__(self) -> None:
        self._messages: Messages | None = None

    def run(self, argv: list[str]) -> int:
        """Do what the arguments ask for, and return the exit status. Raises PyncError."""
        if os.environ.get("_PYNC_COMPLETE"):
            from pync.faces.click_help import complete

            complete(TABLE, FORMS, ABOUT)
        values, operands = read(TABLE, argv, HINTS)
        if "help" in values:
            from pync.faces.click_help import help_text

            print_text(help_text(TABLE, FORMS, ABOUT, ENDING, rare="all" in operands))
            return 0
        if "version" in values:
            print_text(f"pync {__version__}\n")
            return 0
        asked = config(values, operands)
        if "min_ttl" in values and asked.mode == "listen":
            print_line("pync: note: -m is the minimum TTL here; Ncat's -m N is --max-conns N")
        if asked.proxy and asked.proxy.password is None and asked.proxy.kind != "socks4":
            from pync.faces.native.tls_and_proxy import ask_password

            asked = ask_password(asked)
        if asked.progress:
            from pync.faces.native.progress import at_its_pace

            asked = at_its_pace(asked)
        self._messages = Messages(asked)
        from pync.engine import run

        return outcome_status(run(asked, self._messages.report, self._messages.wants))

    def failed(self, error: PyncError) -> int:
        """Report the error, and return the exit status: -N if the process should end by signal N.

        An interrupt and a closed stdout are reported by that end alone.
        """
        silent = isinstance(error, (Interrupted, OutputClosed)) or (
            self._messages is not None and self._messages.already_reported(error)
        )
        if not silent:
            print_line(f"pync: {self._messages.clearer(error) if self._messages else error}")
        if isinstance(error, UsageError):
            print_line("Try 'pync --help'.")
        return error_status(error)


def outcome_status(outcome: Outcome) -> int:
    """The exit status of a run that came to its end."""
    if outcome.child_status is not None:
        return outcome.child_status
    return 0 if outcome.opened else 1


def error_status(error: PyncError) -> int:
    """The exit status of a run that failed: -N if the process should end by signal N."""
    match error:
        case UsageError():
            return 2
        case TimedOut():
            return 124  # as timeout(1)
        case ProgramError(found=found):
            return 126 if found else 127  # as the shell
        case Interrupted(signum=signum):
            return -signum
        case OutputClosed():
            return -signal.SIGPIPE
    return 1
