"""Why the system has given no socket.

A module of its own, because only a failure imports it. A server imports it at its start (`preload.py`): once it has
used up its descriptors it can import nothing more.
"""

from __future__ import annotations

import errno

from pync.errors import ConnectError, reason
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config


def no_socket(error: OSError, family: int, config: Config) -> OSError | ConnectError:
    """What to raise if the system gives no socket: the error itself, if the next address may have another family."""
    if error.errno == errno.EAFNOSUPPORT and family in (socket.AF_INET, socket.AF_INET6):
        return error
    if config.sctp or error.errno == errno.EAFNOSUPPORT:
        kind_of_socket = "SCTP" if config.sctp else "this family"
        return ConnectError(f"open a socket for {kind_of_socket}", "this system has none")
    return ConnectError("open a socket", reason(error))
