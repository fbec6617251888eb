"""What can fail, as exceptions. Each says what was being done and why it failed, for one line on stderr.

The place that makes the system call raises them; only the command line (`cli.py`) catches them all.
Exit statuses belong to the faces, not here. Bugs are never wrapped.
"""

from __future__ import annotations


class PyncError(Exception):
    """`what` was attempted, and `why` it failed: printed as `pync: what: why`."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why


class UsageError(PyncError):
    """The command line asks for something that does not exist or does not go together."""


class AddressError(PyncError):
    """A name has no address, or an address is not one."""


class ConnectError(PyncError):
    """No connection to the peer could be made."""


class BindError(PyncError):
    """Our own address could not be bound: it is in use, not permitted, or not ours."""


class PeerLost(PyncError):
    """The connection broke: a reset, a broken pipe, a refused datagram. `unsent` bytes did not reach the peer."""

    def __init__(self, what: str, why: str, *, unsent: int = 0) -> None:
        loss = f", {unsent} byte{'s were' if unsent > 1 else ' was'} not sent" if unsent else ""
        super().__init__(what, why + loss)
        self.cause = why
        self.unsent = unsent

    def also_unsent(self, count: int) -> PeerLost:
        """The same error, with `count` more bytes that were not sent."""
        return PeerLost(self.what, self.cause, unsent=self.unsent + count)


class ProtocolError(PyncError):
    """The peer does not keep to the protocol that was asked for."""


class TlsError(PyncError):
    """No encrypted connection: a certificate that is not accepted, no common protocol, a file that is no key."""


class ProxyError(PyncError):
    """The proxy does not make the connection."""


class OutputError(PyncError):
    """stdout or a log cannot be written."""


class OutputClosed(OutputError):
    """The reader of our stdout has closed it."""


class InputError(PyncError):
    """stdin, or a file named on the command line, cannot be read."""


class TimedOut(PyncError):
    """A limit that was asked for has passed."""


class ProgramError(PyncError):
    """The program cannot be run: `found` is false if it does not exist, true if it is not executable."""

    def __init__(self, what: str, why: str, *, found: bool) -> None:
        super().__init__(what, why)
        self.found = found


class PrivilegeError(PyncError):
    """Privileges could not be dropped for good."""


class Interrupted(PyncError):
    """A signal asked us to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__("interrupted", f"signal {signum}")
        self.signum = signum


def reason(error: OSError) -> str:
    """The system's words for an error, without Python's decoration."""
    return error.strerror or str(error)
