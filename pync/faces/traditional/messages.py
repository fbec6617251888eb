"""The words of nc.traditional: each event and each error as its lines on stderr.

Theory: nothing begins with the name of the command, and a reason stands behind ` : `. Whether a failure is shown
depends on -v, and on whether the run is about one port: of several ports one -v shows those that are open.
"""

from __future__ import annotations

import os
from errno import EADDRINUSE, ECONNREFUSED, ETIMEDOUT

from pync.errors import BindError, ConnectError, Interrupted, OutputError, ProgramError, TimedOut
from pync.events import Connected, ConnectFailed, SessionEnded
from pync.faces import print_line
from pync.faces.traditional.hosts import UNKNOWN, Host
from pync.listener_events import Accepted, AcceptedHere, AcceptingPauses, BindRetried, Listening, NamedAddress
from pync.system import signal, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.errors import PyncError
    from pync.events import Address, Event
    from pync.faces.traditional.config import Asked

ANY = "0.0.0.0"
COUNTS = 2  # from how many -v on the bytes are counted
CAUGHT = (signal.SIGINT, signal.SIGTERM)  # and SIGQUIT, of which the face makes SIGTERM
WITHOUT_V = (ConnectFailed, AcceptingPauses)
WITH_V = (Connected, Listening, Accepted, BindRetried)


class Messages:
    """Reports the events of one run, and words its error."""

    def __init__(self, asked: Asked, config: Config) -> None:
        self._asked = asked
        self._config = config
        self._sent = self._received = 0
        self._connecting_failed = False
        self._silent_end = bool(config.program)  # the program takes our place, and counts nothing

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this kind are of use."""
        if kind is SessionEnded:
            return self._config.verbosity >= COUNTS
        return issubclass(kind, WITHOUT_V) or (self._config.verbosity > 0 and issubclass(kind, WITH_V))

    def report(self, event: Event) -> None:
        """Report an event."""
        if isinstance(event, SessionEnded):
            self._count(event)
        elif self.wants(type(event)):
            for line in self._lines(event):
                print_line(line)

    def _count(self, event: SessionEnded) -> None:
        self._sent += event.sent or 0
        self._received += event.received or 0
        if event.ended_by == "limit":
            print_line("net timeout")
        # The timer of -q ends nc.traditional on the spot.
        self._silent_end |= self._config.ending.quit_after is not None and event.ended_by == "us"

    def ended(self) -> None:
        """Report what the whole run has moved."""
        if self._config.verbosity >= COUNTS and not self._silent_end:
            print_line(self._moved())

    def _moved(self) -> str:
        return f" sent {self._sent}, rcvd {self._received}" if self._config.verbosity >= COUNTS else ""

    # -- Events

    def _lines(self, event: Event) -> list[str]:
        match event:
            case Connected():
                return [f"{self._peer(event.address)} open"]
            case ConnectFailed():
                return self._failed(event)
            case Listening():
                host = "any" if event.address.host == ANY else event.address.host
                return [f"listening on [{host}] {event.address.port} ..."]
            case AcceptedHere():
                remarks, name = _named(event.peer)
                host, port = event.peer.host, event.peer.port
                return [*remarks, f"connect to [{event.local.host}] from {name} [{host}] {port}"]
            case BindRetried():
                return [f"retrying local {event.address} : {event.why}"]
            case AcceptingPauses():
                return [f"accept : {event.why}"]
        return []

    def _failed(self, event: ConnectFailed) -> list[str]:
        self._connecting_failed = True
        why = os.strerror(ETIMEDOUT) if event.timed_out else event.why
        if self._asked.single:
            shown = self._config.verbosity > 0 or self._config.mode != "scan"
        else:
            shown = self._config.verbosity > (1 if why == os.strerror(ECONNREFUSED) else 0)
        return [f"{self._peer(event.address)} : {why}"] if shown else []

    def _peer(self, address: Address) -> str:
        """The host, its address, the port, and the service."""
        host = self._asked.host
        try:
            service = socket.getservbyport(address.port or 0, "udp" if self._config.datagram else "tcp")
        except OSError:
            service = "?"
        return f"{host.name if host else UNKNOWN} [{address.host}] {address.port} ({service})"

    # -- The error that ends the run

    def failed(self, error: PyncError) -> int:
        """Report the error that has ended the run, and return the exit status: -N if the process should end so."""
        if isinstance(error, Interrupted):
            if error.signum not in CAUGHT:
                return -error.signum
            print_line(self._moved())
            return 1
        if self._connecting_failed and isinstance(error, (ConnectError, TimedOut)):
            self.ended()
            return 1 if self._asked.single else 0
        for line in self._words(error):
            print_line(line)
        return 1

    def _words(self, error: PyncError) -> list[str]:
        match error:
            case BindError() if address := error.facts.get("address"):
                why = "" if error.facts.get("code") == EADDRINUSE else f" : {error.why}"
                return [f"Can't grab {address} with bind{why}"]
            case ProgramError():
                return [f"exec {self._asked.program} failed : {error.why}"]
            case OutputError():
                return [f"too many output retries : {error.why}"]
        if error.facts.get("field") == "ip_options":
            return [f"srcrt setsockopt fuxored : {error.why}"]
        if local := error.facts.get("local"):  # of a client that was not expected
            peer: Address = error.facts["address"]
            remarks, name = _named(peer)
            return [*remarks, f"invalid connection to [{local.host}] from {name} [{peer.host}] {peer.port}"]
        from pync.connections.only_client import NoClient

        if isinstance(error, NoClient):
            return [f"no connection : {os.strerror(ETIMEDOUT)}"]
        return [f"{error.what} : {error.why}"]


def _named(peer: Address) -> tuple[tuple[str, ...], str]:
    """What is odd about the names of a client, and its name."""
    host = peer.name if isinstance(peer, NamedAddress) else None
    return (host.remarks, host.name) if isinstance(host, Host) else ((), UNKNOWN)
