"""The events of listeners, beside those in `events.py`.

A module of its own, because a client has no such events, but for `KeyExposed` and `ConnectionOver`, and what every
client imports is kept small.
"""

from __future__ import annotations

from pync.events import Address, Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.errors import PyncError


class NamedAddress(Address):
    """An address with what `Behaviour.name_of` has found out about its name."""

    host: str
    port: int | None = None
    name: object = None


class Listening(Event):
    """A socket is bound, and receives connections or datagrams from now on."""

    address: Address
    transport: str  # "tcp", "udp", "sctp", "unix" or "vsock"


class Accepted(Event):
    """A client that has connected, or a new peer that has sent a datagram, was let in."""

    peer: Address
    transport: str


class AcceptedHere(Accepted):
    """The only client of a listener was let in by a `Behaviour`: `Accepted`, and our end of the connection."""

    peer: Address
    transport: str
    local: Address


class BindRetried(Event):
    """A port of ours is in use, and is tried again after a pause."""

    address: Address
    why: str
    pause: float


class Denied(Event):
    """A client was turned away or had to go, or a datagram of it was dropped."""

    peer: Address
    why: str


class ClientNamed(Event):
    """A load balancer has named the client for which it has connected."""

    peer: Address  # the balancer
    client: Address


class SessionFailed(Event):
    """The session of one client has failed; the server goes on."""

    peer: Address
    error: PyncError


class SessionCrashed(Event):
    """A bug has ended the session of one client; the server goes on."""

    peer: Address
    trace: str  # the error, and the places in the code that it came through
    times: int  # how often it has come from there by now


class CertificateMade(Event):
    """A listener has made its own certificate."""

    fingerprint: str  # SHA-256, as --ssl-pin takes it


class KeyExposed(Event):
    """Other users can read the file with our private key."""

    path: str


class OpenProxy(Event):
    """Any host can use this proxy."""

    address: Address


class OpenProgram(Event):
    """Any host can have a program run by this server, as often as it likes."""

    address: Address


class RulesRead(Event):
    """The files of access rules were read again; the new rules hold from now on."""


class RulesKept(Event):
    """The files of access rules could not be read again; the old rules stay."""

    error: PyncError


class AcceptingPauses(Event):
    """There are no descriptors, or no memory, for the session of one more client: accepting pauses until there are."""

    why: str


class ProgramsAtLimit(Event):
    """As many programs run as may at the same time: the next clients wait for their turn."""

    limit: int


class StdinOver(Event):
    """A client has come after the end of stdin, which went to the clients of that moment: it is sent nothing."""

    peer: Address


class StdinNotKept(Event):
    """More of stdin came than can be kept for later clients: from now on it goes to those that are connected."""

    why: str


class ConnectionOver(Event):
    """The connection of a client that connects again is over, and its stdin is not."""

    peer: Address
    why: str | None  # why it broke; None: the peer has ended it
    unacknowledged: int  # bytes that were sent, as far as is known, and may not have arrived
