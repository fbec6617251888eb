"""The command line of nc.traditional at work: `TraditionalFace` runs it, and ends with its exit statuses.

Theory: a run about several ports has the status 0 in any case. Three signals are caught, and lead to the status 1.
"""

from __future__ import annotations

import os

from pync.errors import ConnectError, Interrupted, PyncError, TimedOut
from pync.events import Outcome
from pync.faces import print_line, print_unescaped
from pync.faces.glibc_getopt import Fault, as_typed
from pync.faces.traditional.command_line import asked_line, read
from pync.faces.traditional.config import asked
from pync.faces.traditional.options import HELP, HELP_HINT, Refused
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.faces.traditional.config import Asked
    from pync.faces.traditional.messages import Messages


class TraditionalFace:
    """The command line of nc.traditional, for one run (see `faces/__init__.py`)."""

    def __init__(self, command: str) -> None:
        """`command` is the name by which pync was started."""
        self._command = command
        self._messages: Messages | None = None

    def run(self, argv: list[str]) -> int:
        """Do what the arguments ask for, and return the exit status. Raises PyncError."""
        try:
            values, operands = read(argv or asked_line())
        except Fault as fault:
            print_line(f"{as_typed(self._command)}: {fault}")
            raise Refused(HELP_HINT) from None
        if "help" in values:
            print_unescaped(HELP)
            return 0
        what = asked(values, operands)
        outcome = self._run(what)
        if what.fault:
            raise what.fault
        if self._messages:
            self._messages.ended()
        if outcome.child_status is not None:
            return outcome.child_status
        return 0 if outcome.opened or not what.single else 1

    def _run(self, what: Asked) -> Outcome:
        """Do what is asked before the fault of a port. Raises PyncError."""
        if what.config is None:
            return Outcome()
        from pync.engine import run
        from pync.faces.traditional.messages import Messages

        self._messages = Messages(what, what.config)
        # As SIGTERM, which the loop waits for; it does not wait for this signal.
        signal.signal(signal.SIGQUIT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        try:
            return run(what.config, self._messages.report, self._messages.wants)
        except (ConnectError, TimedOut):
            if what.fault:
                return Outcome(opened=False)
            raise

    def failed(self, error: PyncError) -> int:
        """Report the error, and return the exit status: -N if the process should end by signal N."""
        if isinstance(error, Refused):
            print_line(error.text)
            return 1
        if self._messages:
            return self._messages.failed(error)
        return -error.signum if isinstance(error, Interrupted) else 1
