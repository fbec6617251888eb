"""pync's own words for what happens: events become lines on stderr, the most of them only with -v.

Theory: stdout carries nothing but what the peer sends, so all that is said goes to descriptor 2, one write for
each line. It never fails: a stderr that is closed, full or gone must not end a transfer. What is said can hold
what strangers chose (a unix path, say), so whatever cannot be printed is written as an escape.

The wording of connections and listeners is that of nc.openbsd, which scripts look for.
"""

from __future__ import annotations

import os
import sys

from pync.errors import ConnectError, OutputClosed, OutputError, reason
from pync.events import (
    Accepted,
    CertificateMade,
    Connected,
    ConnectFailed,
    Denied,
    Listening,
    OpenProxy,
    OutOfDescriptors,
    Retrying,
    SessionFailed,
    TlsEstablished,
)
from pync.printable import backslash_escape, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.errors import PyncError
    from pync.events import Address, Event

# What an event needs to be said, if not one -v.
VERBOSITY: dict[type[Event], int] = {
    **dict.fromkeys((CertificateMade, OpenProxy, OutOfDescriptors, SessionFailed), 0),
    Retrying: 2,
}


def say(line: str) -> None:
    """Write a line on stderr, with escapes in place of what is not printable. A stderr that fails is ignored."""
    line = printable(line, backslash_escape)
    try:
        os.write(2, f"{line}\n".encode(sys.getfilesystemencoding(), "backslashreplace"))
    except OSError:
        pass


def show(text: str) -> int:
    """Write on stdout what was asked for, and answer exit status 0. Raises OutputError."""
    data = text.encode()
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError as error:
        raise OutputClosed("writing stdout", reason(error)) from None
    except OSError as error:
        raise OutputError("writing stdout", reason(error)) from None
    return 0


class Messages:
    """Says the events of one run, and remembers what was said."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._told = ""  # why the last attempt to connect failed, if that was said

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this kind are said at this verbosity."""
        return self._config.verbosity >= VERBOSITY.get(kind, 1)

    def report(self, event: Event) -> None:
        """Say an event, if it is to be said at this verbosity."""
        if not self.wants(type(event)):
            return
        if isinstance(event, ConnectFailed):
            self._told = event.why
        say(self._line(event))

    def already_reported(self, error: PyncError) -> bool:
        """Whether the error that ended the run is the failure of an attempt that was said already."""
        return isinstance(error, ConnectError) and error.why == self._told

    def _line(self, event: Event) -> str:
        match event:
            case Listening():
                return f"{'Bound' if self._config.datagram else 'Listening'} on {_spaced(event.address)}"
            case Accepted():
                return f"Connection received on {_spaced(event.peer) or self._config.host}"  # unix clients: unnamed
            case Connected():
                return f"Connection to {self._target(event)} succeeded!"
            case ConnectFailed():
                failed = "timed out" if event.timed_out else f"failed: {event.why}"
                return f"pync: connect to {self._target(event)} {failed}"
            case Denied():
                return f"pync: connection from {_spaced(event.peer)} denied: {event.why}"
            case SessionFailed():
                return f"pync: {event.error}"
            case TlsEstablished():
                return f"pync: {event.protocol} with {event.peer}: {_facts(event)}"
            case CertificateMade():
                return f"pync: no --ssl-cert: one was made, for this run, {event.fingerprint}"
            case OpenProxy():
                return f"pync: warning: everybody can use the proxy on {event.address}; see --proxy-auth and --allow"
            case OutOfDescriptors():
                return f"pync: accepting clients pauses: {event.why}"
            case Retrying():
                return f"pync: {event.error}; the next attempt is in {event.pause:g} s"
        raise TypeError(f"no words for {event!r}")

    def _target(self, event: Connected | ConnectFailed) -> str:
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


def _facts(event: TlsEstablished) -> str:
    protocol = f"ALPN {event.alpn}" if event.alpn else "no ALPN"
    return f"{event.cipher}, {protocol}, {event.certificate or 'no certificate'}"


def _spaced(address: Address) -> str:
    """Host and port with a blank between, as nc.openbsd has them."""
    return address.host if address.port is None else f"{address.host} {address.port}"
