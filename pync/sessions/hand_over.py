"""Handing a connection over to whoever is at the other end of stdout, as ssh's ProxyUseFdpass wants it.

Theory: one byte goes over the unix socket that stdout is, and the connection's descriptor with it (unix(7),
SCM_RIGHTS). Nobody would expect a non-blocking one. From then on the connection is not ours, and we leave.
"""

from __future__ import annotations

import os
import sys

from pync.endpoints.stdio import STDOUT
from pync.endpoints.streams import StreamSocket
from pync.errors import OutputError, reason
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.sessions.conversation import Peer

WHAT = "handing the connection over"


def hand_over(far: Peer) -> None:
    """Send the connected socket over stdout. Raises OutputError."""
    try:
        if not isinstance(far, StreamSocket):
            raise OutputError(WHAT, "there is TLS on it")
        sock = socket.socket(fileno=os.dup(STDOUT))
        far.sock.setblocking(True)
        descriptor = far.sock.fileno().to_bytes(4, sys.byteorder)
        sock.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
        sock.close()
    except OSError as error:
        raise OutputError(f"{WHAT} by stdout", reason(error)) from None
    finally:
        far.close()
