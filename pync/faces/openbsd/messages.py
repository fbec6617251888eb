"""The words of nc.openbsd: each event and each error as its lines on stderr.

Theory: a failure to connect is reported as an event, with -v alone, and a failed run that has reported one says nothing
more: without -v a refused connection is silent. The words of errors begin with the name of the command, those
of what has worked do not.
"""

from __future__ import annotations

import os
from errno import ECONNREFUSED, EINPROGRESS, ENAMETOOLONG

from pync.errors import (
    AddressError,
    BindError,
    ConnectError,
    InputError,
    Interrupted,
    OutputError,
    ProxyError,
    TimedOut,
)
from pync.events import Connected, ConnectFailed
from pync.faces import print_line
from pync.listener_events import Accepted, AcceptingPauses, Listening, NamedAddress, SessionFailed
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.errors import PyncError
    from pync.events import Address, Event

WITH_V = (Connected, ConnectFailed, Listening, Accepted)
WITHOUT_V = (AcceptingPauses, SessionFailed)  # what goes wrong in a server
LONGEST_PATH = 107  # bytes of a unix path (unix(7))
SOCKET_OPTIONS = {  # how a refused option is called, by the fields of `SocketOptions`: with IPv4, and with IPv6
    "tos": ("IP ToS", "IPv6 traffic class"),
    "receive_buffer": ("TCP receive buffer size",) * 2,
    "send_buffer": ("TCP send buffer size",) * 2,
    "ttl": ("IP TTL", "IPv6 unicast hops"),
    "min_ttl": ("IP min TTL", "IPv6 min hop count"),
}


class Messages:
    """Reports the events of one run, and words its error."""

    def __init__(self, command: str, config: Config) -> None:
        """`command` is the name that errors begin with."""
        self._command = command
        self._config = config
        self._connecting_failed = False

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this kind are reported."""
        if kind is ConnectFailed and self._config.family == "unix":
            return True
        return issubclass(kind, WITHOUT_V) or (self._config.verbosity > 0 and issubclass(kind, WITH_V))

    def report(self, event: Event) -> None:
        """Report an event."""
        if isinstance(event, ConnectFailed):
            self._connecting_failed = True
        if self.wants(type(event)):
            for line in self._lines(event):
                print_line(line)

    def failed(self, error: PyncError) -> None:
        """Report the error that has ended the run, unless nc.openbsd is silent about it."""
        if text := self._words(error):
            print_line(f"{self._command}: {text}")

    # -- Events

    def _lines(self, event: Event) -> list[str]:
        match event:
            case Connected():
                return [] if event.address.port is None else [self._connected(event)]
            case ConnectFailed():
                return self._refused(event)
            case Listening():
                return self._listening(event)
            case Accepted() if self._config.datagram and self._config.keep_open:
                return []
            case Accepted():
                if event.peer.port is None:
                    return [f"Connection received on {self._config.host}"]
                return [self._at("Connection received", event.peer)]
            case SessionFailed():
                return [f"{self._command}: {event.error}"]
            case AcceptingPauses():
                return [f"{self._command}: accept: {event.why}"]
        return []

    def _connected(self, event: Connected) -> str:
        port = event.address.port or 0
        return f"Connection to {self._host(event)} {port} port [{event.transport}/{self._service(port)}] succeeded!"

    def _refused(self, event: ConnectFailed) -> list[str]:
        if event.address.port is None:  # else the error that ends the run is reported
            return [f"{self._command}: {self._config.host}: {event.why}"] if self._config.mode == "scan" else []
        if event.transport == "udp" and event.why == os.strerror(ECONNREFUSED):
            return []
        how = f"timed out: {os.strerror(EINPROGRESS)}" if event.timed_out else f"failed: {event.why}"
        where = f"{self._host(event)} port {event.address.port} ({event.transport})"
        return [f"{self._command}: connect to {where} {how}"]

    def _host(self, event: Connected | ConnectFailed) -> str:
        """The host as it was typed, and its address beside it, unless that says nothing new."""
        address = event.address.host
        if self._config.numeric or self._config.proxy or event.host == address:
            return event.host
        return f"{event.host} ({address})"

    def _service(self, port: int) -> str:
        if self._config.numeric:
            return "*"
        try:
            return socket.getservbyport(port, "udp" if self._config.datagram else "tcp")
        except OSError:
            return "*"

    def _listening(self, event: Listening) -> list[str]:
        if event.address.port is None:
            path = event.address.host
            return [f"Bound on {path}"] + ([] if self._config.datagram else [f"Listening on {path}"])
        return [self._at("Bound" if self._config.datagram else "Listening", event.address)]

    def _at(self, what: str, address: Address) -> str:
        name = address.name if isinstance(address, NamedAddress) else address.host
        if isinstance(name, OSError):
            return f"{self._command}: getnameinfo: {name.strerror}"
        return f"{what} on {name} {address.port}"

    # -- The error that ends the run

    def _words(self, error: PyncError) -> str | None:  # whole: a case for each kind of error
        """The words for an error; None if it is not reported."""
        match error:
            case Interrupted():
                return None
            case AddressError():
                return self._no_address(error)
            case BindError():
                return self._not_bound(error)
            case ProxyError():
                from pync.faces.openbsd.proxy_words import words

                return None if self._connecting_failed and not error.asked else words(error, self._config)
            case ConnectError():
                return self._not_connected(error)
            case TimedOut():
                return None
            case OutputError() if self._config.pass_descriptor:
                return "Cannot pass file descriptor to tty" if os.isatty(1) else f"sendmsg: {error.why}"
            case OutputError() | InputError():
                return str(error)
        return str(error)

    def _not_bound(self, error: BindError) -> str:
        if self._config.mode == "listen":
            return self._why(error)
        own: Address | None = error.facts.get("address")
        return f"{own}: {error.why}" if own and own.port is None else f"bind failed: {error.why}"

    def _no_address(self, error: AddressError) -> str:
        host, port = error.facts.get("host"), error.facts.get("port")
        if self._config.mode == "listen" or host != self._config.host:
            return f"getaddrinfo: {error.why}"
        if self._config.proxy:  # the names of targets are looked up for SOCKS 4 alone
            return f'getaddrinfo("{host}", "{port}"): {error.why}'
        port = self._config.ports[0] if self._config.mode == "scan" else port
        return f'getaddrinfo for host "{host}" port {port}: {error.why}'

    def _why(self, error: PyncError) -> str:
        """The system's words. Python has its own for a path that is too long, before it asks the system."""
        path = os.fsencode(self._config.host or "")
        too_long = self._config.family == "unix" and len(path) > LONGEST_PATH
        return os.strerror(ENAMETOOLONG) if too_long else error.why

    def _not_connected(self, error: ConnectError) -> str | None:
        if field := error.facts.get("field"):  # of a socket's option
            names = SOCKET_OPTIONS.get(field)
            return f"set {names[error.facts['six']]}: {error.why}" if names else error.why
        if self._config.family == "unix" and self._config.mode == "listen" and "code" in error.facts:
            return f"connect: {error.why}"
        if self._config.family == "unix" and self._config.mode != "listen":
            return f"{self._config.host}: {self._why(error)}"
        return None if self._connecting_failed else error.why
