"""The exceptions of pync. Each carries what was being done and why it failed, for one line on stderr.

The code that makes a system call raises them; only `cli.py` catches them all. The faces choose the exit statuses. A bug
is never wrapped into one of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PyncError(Exception):
    """`what` was attempted, and `why` it failed: printed as `pync: what: why`. `facts` is for other words."""

    def __init__(self, what: str, why: str, **facts: Any) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why
        self.facts = facts


class UsageError(PyncError):
    """The command line is wrong: an option that does not exist, a bad value, or options that exclude each other."""


class PackageMissing(PyncError):
    """A Python package that is needed for what was asked is not installed."""


class AddressError(PyncError):
    """A name has no address, or what should be an address is none. Facts: `host`, `port`."""


class ConnectError(PyncError):
    """No connection to the peer could be made."""


class PortRefused(ConnectError):
    """A port of UDP has refused a datagram that was to find that out."""


class BindError(PyncError):
    """Our own address could not be bound: it is in use, not permitted, or not ours. Facts: `address`; `code`: errno."""


class PeerLost(PyncError):
    """The connection broke, by a reset, a broken pipe or a refused datagram. `unsent` bytes did not reach the peer."""

    def __init__(self, what: str, why: str, *, unsent: int = 0) -> None:
        loss = f", {unsent} byte{'s were' if unsent > 1 else ' was'} not sent" if unsent else ""
        super().__init__(what, why + loss)
        self.cause = why
        self.unsent = unsent

    def also_unsent(self, count: int) -> PeerLost:
        """The same error, with `count` more bytes that were not sent."""
        return type(self)(self.what, self.cause, unsent=self.unsent + count)


class Truncated(PeerLost):
    """The connection ended without a proper end of the peer's, so that the end of what it sent may be missing."""


class ProtocolError(PyncError):
    """The peer does not keep to the protocol that was asked for."""


class TlsError(PyncError):
    """TLS cannot be used: a certificate is not accepted, there is no common protocol, or a file holds no key."""


class ProxyError(PyncError):
    """The proxy has not made the connection: its answer, the bytes it has sent, and whether it was connected to."""

    answer: int | str | None = None
    received, asked = 0, True


class OutputError(PyncError):
    """stdout or a log cannot be written."""


class OutputClosed(OutputError):
    """The reader of our stdout has closed it."""


class InputError(PyncError):
    """stdin, or a file named on the command line, cannot be read."""


class TimedOut(PyncError):
    """A time limit has passed."""


class ProgramError(PyncError):
    """The program cannot be run. `found` is false if it does not exist, and true if something else prevents it."""

    def __init__(self, what: str, why: str, *, found: bool) -> None:
        super().__init__(what, why)
        self.found = found


class Interrupted(PyncError):
    """A signal has asked pync to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__("interrupted", f"signal {signum}")
        self.signum = signum


def reason(error: OSError) -> str:
    """The system's message for an error, without what Python adds to it."""
    return error.strerror or str(error)
