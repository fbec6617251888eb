"""What happens during a run, as frozen facts: the engine reports an event, and the face prints a message or nothing.

An event is never an instruction, and no task waits until one is printed.
"""

from __future__ import annotations

import os

from pync.config import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.errors import PyncError


class Address(Frozen):
    """One end of a connection: a numeric address and a port, or a unix path (`@name` if abstract) and no port."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.host or "a unix socket without a name"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def as_address(name: Any) -> Address:
    """A socket's address as the system gives it: a tuple, or a path for unix (abstract ones begin with NUL)."""
    if isinstance(name, tuple):
        return Address(host=str(name[0]), port=name[1])  # a vsock host is a number
    text = os.fsdecode(name) if isinstance(name, bytes) else name or ""
    return Address(host="@" + text[1:] if text.startswith("\0") else text)


class Outcome(Frozen):
    """The result of a run that did not end by an error."""

    opened: bool = True  # a connection was made; when scanning: a port was open
    # The program's exit status, 128 + n for signal n, or with a `Behaviour` -n; None: no program, or many.
    child_status: int | None = None


class Event(Frozen):
    """The base of all events."""


class Connected(Event):
    """A connection was made, or a scan has found an open port."""

    host: str  # as the user typed it
    address: Address
    transport: str


class Unanswered(Event):
    """A client has waited for an answer to its datagrams for the `seconds` asked for, and leaves."""

    peer: Address
    seconds: float


class ConnectFailed(Event):
    """One address could not be connected to; others may follow."""

    host: str
    address: Address
    transport: str
    why: str
    timed_out: bool = False


class EndedAtHalfClose(Event):
    """The peer has answered our half-close with nothing but the end of the connection, and at once."""

    peer: Address


class EndedImproperly(Event):
    """The peer has ended a connection of TLS or WebSocket improperly, but nothing that it sent can be missing."""

    peer: Address
    mark: str  # what it has not sent


class TlsEstablished(Event):
    """A TLS handshake has succeeded."""

    peer: Address
    protocol: str  # by OpenSSL's name: TLSv1.3
    cipher: str
    alpn: str | None
    certificate: str | None  # the peer's certificate: its subject, its issuer and its fingerprint; None: it sent none


class SessionEnded(Event):
    """The session of one peer has ended, well or not. The numbers are None where the kernel does not give them."""

    peer: Address
    sent: int | None  # bytes
    received: int | None
    seconds: float
    ended_by: str  # "peer", "us", "target", "program", "limit", "signal" or "error"
    why: str | None  # of a failure
    status: int | None  # of the program, as in `Outcome`
    sent_sha256: str | None = None  # as hexadecimal, if it was asked for
    received_sha256: str | None = None


class Retrying(Event):
    """No connection yet; the next attempt follows after `pause` seconds."""

    error: PyncError
    pause: float


if TYPE_CHECKING:
    Report = Callable[[Event], None]
    Wants = Callable[[type[Event]], bool]
