"""The messages about a listener's events. `messages.py` decides which of them are printed, and has all others.

A module of its own, because a client has no such events, and what every client imports is kept small.
"""

from __future__ import annotations

from pync.faces.native.advice import clearer
from pync.listener_events import (
    Accepted,
    AcceptingPauses,
    CertificateMade,
    ConnectionOver,
    Denied,
    KeyExposed,
    Listening,
    OpenProgram,
    OpenProxy,
    ProgramsAtLimit,
    RulesKept,
    RulesRead,
    SessionCrashed,
    SessionFailed,
    StdinNotKept,
    StdinOver,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.events import Address, Event


# whole: one case for each event
def line(event: Event, config: Config) -> str:
    """The line for a listener's event."""
    match event:
        case Listening():
            return f"{'Bound' if config.datagram else 'Listening'} on {_spaced(event.address)}"
        case Accepted():
            # The client of a unix socket has no name as a rule, so it is known by the path of the listener.
            path = None if config.also else config.host
            return f"Connection received on {_spaced(event.peer) or path or 'a unix socket'}"
        case Denied():
            return f"pync: connection from {_spaced(event.peer)} denied: {event.why}"
        case SessionFailed():
            return f"pync: {clearer(event.error, config)}"
        case SessionCrashed():
            return _crash(event)
        case CertificateMade():
            return f"pync: no --ssl-cert: one was made, for this run, {event.fingerprint}"
        case KeyExposed():
            return f"pync: warning: other users can read the key in {event.path}; see chmod(1)"
        case OpenProxy():
            return f"pync: warning: every host can use the proxy on {event.address}; see --proxy-auth and --allow"
        case OpenProgram():
            return f"pync: warning: any host can run the program on port {event.address.port}; see --allow"
        case RulesRead():
            return "pync: the access lists were read again"
        case RulesKept():
            return f"pync: the access lists stay as they were: {event.error}"
        case ConnectionOver():
            return f"pync: {_over(event)}; connecting again"
        case AcceptingPauses():
            return f"pync: accepting clients pauses: {event.why}"
        case ProgramsAtLimit():
            return f"pync: {event.limit} programs run: the next clients wait, which --max-conns can change"
        case StdinOver():
            return f"pync: stdin had ended before {event.peer} came, which is sent nothing"
        case StdinNotKept():
            return f"pync: stdin is not kept for later clients any more: {event.why}"
    raise TypeError(f"no message for {event!r}")


def _crash(event: SessionCrashed) -> str:
    what = f"pync: session of {_spaced(event.peer)} ended by a bug in pync"
    return f"{what}: {event.trace}" if event.times == 1 else f"{what}, for the {event.times:,}th time"


def _over(event: ConnectionOver) -> str:
    what = f"connection to {event.peer}: {event.why}" if event.why else f"{event.peer} has ended the connection"
    count = event.unacknowledged
    return what + (f", {count} byte{'s' if count > 1 else ''} not acknowledged" if count else "")


def _spaced(address: Address) -> str:
    """Host and port with a blank between, as nc.openbsd has them."""
    return address.host if address.port is None else f"{address.host} {address.port}"
