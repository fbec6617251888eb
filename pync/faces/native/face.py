"""pync's own command line at work: `NativeFace` runs it, and ends with pync's own exit statuses.

`options.py` has the options as data, `conflicts.py` which of them make no sense together, `config.py` what they ask
for, and `messages.py` what is reported.
"""

from __future__ import annotations

import os

from pync import __version__
from pync.errors import Interrupted, OutputClosed, PackageMissing, ProgramError, TimedOut, UsageError
from pync.faces import print_line, print_text
from pync.faces.native.config import config
from pync.faces.native.messages import Messages
from pync.faces.native.options import ABOUT, ENDING, FORMS, HINTS, TABLE
from pync.faces.option_table import read
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.errors import PyncError
    from pync.events import Outcome
    from pync.faces.native.json_lines import JsonLines
    from pync.faces.option_table import Values


class NativeFace:
    """pync's own command line, for one run (see `faces/__init__.py`)."""

    def __init__(self) -> None:
        self._messages: Messages | None = None
        self._json: JsonLines | None = None  # what is there instead, with --log-format json
        self._argv: list[str] = []

    def run(self, argv: list[str]) -> int:
        """Do what the arguments ask for, and return the exit status. Raises PyncError."""
        self._argv = argv
        if os.environ.get("_PYNC_COMPLETE"):
            demand("completion", "click")
            from pync.faces.completion import complete

            complete(TABLE)
        values, operands = read(TABLE, argv, HINTS)
        text = _text(values, operands)
        if text is not None:
            print_text(text)
            return 0
        return self._run(values, asked_for(argv, values, operands))

    def _run(self, values: Values, asked: Config) -> int:
        reporter = self._reporter(values, asked)
        if asked.http or asked.proxy or asked.serve_proxy:
            demand_h11(asked)
        if "min_ttl" in values and asked.mode == "listen":
            reporter.note("-m is the minimum TTL here; Ncat's -m N is --max-conns N")
        if asked.proxy and asked.proxy.password is None and asked.proxy.kind != "socks4":
            from pync.faces.native.tls_and_proxy import ask_password

            asked = ask_password(asked)
        if asked.progress:
            from pync.faces.native.progress import at_its_pace

            asked = at_its_pace(asked)
        if asked.raw_terminal:
            from pync.faces.native.raw_terminal import prepare

            prepare(asked)
        from pync.engine import run

        status = outcome_status(run(asked, reporter.report, reporter.wants))
        if self._json:
            self._json.ended(status)
        if asked.command:
            from pync.faces.become import become

            become(asked.command)
        return status

    def _reporter(self, values: Values, asked: Config) -> Messages | JsonLines:
        """What reports the events of the run."""
        if values.get("log_format") != "json":
            self._messages = Messages(asked)
            return self._messages
        from pync.faces.native.json_lines import JsonLines

        self._json = JsonLines(lossless=asked.mode == "scan")
        return self._json

    def failed(self, error: PyncError) -> int:
        """Report the error, and return the exit status: -N if the process should end by signal N.

        An interrupt and a closed stdout are reported by that end alone, but for JSON.
        """
        status = error_status(error)
        if self._json is None and any("json" in word.lower() for word in self._argv):
            from pync.faces.native.json_lines import JsonLines, asked_for

            self._json = JsonLines() if asked_for(self._argv) else None
        if self._json:
            self._json.ended(status, error)
        else:
            self._print(error)
        return status

    def _print(self, error: PyncError) -> None:
        silent = isinstance(error, (Interrupted, OutputClosed)) or (
            self._messages is not None and self._messages.already_reported(error)
        )
        if not silent and self._messages:
            self._messages.print(f"pync: {self._messages.clearer(error)}")
        elif not silent:
            print_line(f"pync: {error}")
        if isinstance(error, UsageError):
            print_line("Try 'pync --help'.")


def _text(values: Values, operands: list[str]) -> str | None:
    """The text that was asked for instead of a run. Raises PackageMissing."""
    if "help" in values:
        from pync.faces.help_text import help_text

        return help_text(TABLE, FORMS, ABOUT, ENDING, rare="all" in operands)
    if "completion" in values:
        demand("completion", "click")
        from pync.faces.completion import script

        return script(TABLE, values["completion"]) + "\n"
    return f"pync {__version__}\n" if "version" in values else None


def demand(what: str, package: str) -> None:
    """Raise PackageMissing if the Python package is not installed, which `what` needs."""
    try:
        __import__(package)
    except ImportError:
        raise PackageMissing(what, f"needs the Python package {package} ('pip install {package}')") from None


def demand_h11(asked: Config) -> None:
    """Raise PackageMissing for a config that needs HTTP where h11 is not installed."""
    if asked.http:
        demand("--http", "h11")
    if asked.proxy and asked.proxy.kind == "http":
        demand("an HTTP proxy", "h11")
    if asked.serve_proxy and asked.serve_proxy.kind == "http":
        demand("--proxy-server http", "h11")


def asked_for(argv: list[str], values: Values, operands: list[str]) -> Config:
    """What a command line asks for, of which `read` has made values and operands. Raises UsageError."""
    may_wait = any(":" in word for word in operands) or "--" in argv or values.keys() & {"any", "closed"}
    if "scan" in values and may_wait:
        from pync.faces.native.places import waiting

        return waiting(argv, values, operands)
    return config(values, operands)


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
