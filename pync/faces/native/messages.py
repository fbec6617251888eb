"""pync's own messages: each event of a run becomes a line on stderr, most of them only with -v.

The wording of connections and listeners is that of nc.openbsd, which scripts look for. All other lines begin with
`pync:`, as errors do.
"""

from __future__ import annotations

import time

from pync.errors import ConnectError
from pync.events import (
    Connected,
    ConnectFailed,
    EndedAtHalfClose,
    EndedImproperly,
    Retrying,
    SessionEnded,
    TlsEstablished,
    Unanswered,
)
from pync.faces import print_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.config import Config
    from pync.errors import PyncError
    from pync.events import Event

# How many -v it takes for an event to be reported, if not one. By names, because most of them are a listener's.
VERBOSITY = {
    **dict.fromkeys(
        ("AcceptingPauses", "CertificateMade", "ConnectionOver", "KeyExposed", "OpenProxy", "RulesKept"), 0
    ),
    **dict.fromkeys(("OpenProgram", "ProgramsAtLimit", "SessionCrashed", "SessionFailed", "StdinNotKept"), 0),
    "Retrying": 2,
    "Progress": 0,
}
TIMES = 2  # from how many -v on each line has the time in front of it


class Messages:
    """Reports the events of one run, and remembers which failure to connect it has reported last."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reported_why = ""
        self._of_day: Callable[[int], str] | None = None
        if config.verbosity >= TIMES:
            from pync.wall_time import of_day

            self._of_day = of_day
        if config.mode == "listen":  # a server may have no descriptor, or no right, to import them when a session fails
            import pync.faces.native.advice
            import pync.faces.native.listener_messages
            import pync.faces.stderr  # noqa: F401
        if config.keep_open or config.http or config.user:
            import pync.faces.native.progress
            import pync.faces.native.traffic  # noqa: F401
        if config.mode == "scan" and config.verbosity:
            from pync.faces.stderr import STANDARD

            STANDARD.lossless = True  # what the ports are is what the user has asked for

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this kind are reported at this verbosity."""
        if kind is SessionEnded and self._config.checksum:
            return True
        return self._config.verbosity >= VERBOSITY.get(kind.__name__, 1)

    def report(self, event: Event) -> None:
        """Report an event, if its kind is reported at this verbosity."""
        if not self.wants(type(event)):
            return
        if isinstance(event, ConnectFailed):
            self._reported_why = event.why
        if type(event).__name__ == "Progress":
            from pync.faces.native.progress import show

            show(event, self._config)
        else:
            self.print(self._line(event))

    def print(self, line: str) -> None:
        """Print a line, from -vv on with the time in front of it."""
        print_line(f"{self._of_day(time.time_ns())} {line}" if self._of_day else line)

    def note(self, text: str) -> None:
        """Print a remark about the command line."""
        self.print(f"pync: note: {text}")

    def already_reported(self, error: PyncError) -> bool:
        """Whether the error that ended the run is a failure to connect that was reported as an event."""
        return isinstance(error, ConnectError) and error.why == self._reported_why

    def clearer(self, error: PyncError) -> str:
        """The line for an error, without the name of the program."""
        from pync.faces.native.advice import clearer

        return clearer(error, self._config)

    def _line(self, event: Event) -> str:
        match event:
            case Connected():
                return f"Connection to {self._peer(event)} succeeded!"
            case ConnectFailed():
                return f"pync: {self._failed(event)}"
            case Unanswered():
                return f"pync: no answer from {event.peer} within {event.seconds:g} s"
            case EndedAtHalfClose():
                return f"pync: {event.peer} ended the connection at our half-close; --no-shutdown sends none"
            case EndedImproperly():
                return f"pync: {event.peer} ended without {event.mark}, but nothing of it can be missing"
            case TlsEstablished():
                return f"pync: {event.protocol} with {event.peer}: {_tls_details(event)}"
            case Retrying():
                return f"pync: {self.clearer(event.error)}; the next attempt is in {event.pause:g} s"
            case SessionEnded():
                from pync.faces.native.traffic import end_line

                return end_line(event, self._config)
        from pync.faces.native.listener_messages import line

        return line(event, self._config)

    def _failed(self, event: ConnectFailed) -> str:
        if event.timed_out:
            return f"connect to {self._peer(event)} timed out"
        from pync.faces.native.advice import reason_for

        what = f"connect to {self._peer(event)} failed"
        return f"{what}: {reason_for(what, event.why, self._config)}"

    def _peer(self, event: Connected | ConnectFailed) -> str:
        host, port = event.address.host, event.address.port
        if port is None:
            return host
        name = host if event.host == host else f"{event.host} ({host})"
        if isinstance(event, ConnectFailed):
            return f"{name} port {port} ({event.transport})"
        return f"{name} {port} port [{event.transport}/{self._service(port, event.transport)}]"

    def _service(self, port: int, transport: str) -> str:
        if self._config.numeric:
            return "*"
        from pync.system import socket

        try:
            return socket.getservbyport(port, transport)
        except OSError:
            return "*"


def _tls_details(event: TlsEstablished) -> str:
    protocol = f"ALPN {event.alpn}" if event.alpn else "no ALPN"
    return f"{event.cipher}, {protocol}, {event.certificate or 'no certificate'}"
