"""The command line of nc.openbsd at work: `OpenbsdFace` runs it, and ends with its exit statuses.

Theory: everything that goes wrong has the status 1, and a connection that was made has the status 0, whatever becomes
of it. A signal ends nc.openbsd by its default.
"""

from __future__ import annotations

import os

from pync.errors import Interrupted, PyncError
from pync.faces import print_line, print_unescaped
from pync.faces.glibc_getopt import Fault, as_typed
from pync.faces.openbsd.config import config
from pync.faces.openbsd.options import HELP, USAGE, VERSION, NoSuchForm, Refused, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.faces.openbsd.messages import Messages


class OpenbsdFace:
    """The command line of nc.openbsd, for one run (see `faces/__init__.py`)."""

    def __init__(self, command: str) -> None:
        """`command` is the name by which pync was started."""
        self._command = command
        name = os.path.basename(command)
        self._name = "pync" if name == "__main__.py" else name
        self._messages: Messages | None = None

    def run(self, argv: list[str]) -> int:
        """Do what the arguments ask for, and return the exit status. Raises PyncError."""
        try:
            values, operands = read(argv)
        except Fault as fault:
            print_line(f"{as_typed(self._command)}: {fault}")
            raise NoSuchForm("usage", "") from None
        if "help" in values:
            print_unescaped(f"{VERSION}\n{USAGE}\n{HELP}\n")
            return 0
        return self._run(config(values, operands))

    def _run(self, asked: Config) -> int:
        from pync.engine import run
        from pync.faces.openbsd.messages import Messages

        self._messages = Messages(self._name, asked)
        if asked.proxy and asked.proxy.user is not None:
            from pync.faces.openbsd.passwords import run_with_password

            outcome = run_with_password(asked, self._messages)
        else:
            outcome = run(asked, self._messages.report, self._messages.wants)
        return 0 if outcome.opened else 1

    def failed(self, error: PyncError) -> int:
        """Report the error, and return the exit status: -N if the process should end by signal N."""
        if isinstance(error, NoSuchForm):
            print_unescaped(f"{USAGE}\n")
        elif isinstance(error, Refused):
            print_line(f"{self._name}: {error.text}")
        elif self._messages:
            self._messages.failed(error)
        return -error.signum if isinstance(error, Interrupted) else 1
