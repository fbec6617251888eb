"""Sockets and signals as the system gives them: the cores of the standard `socket` and `signal`.

Theory: the standard modules turn numbers into enums, which takes half as long as Python needs to start, and here the
numbers will do. To the type checker these are the standard modules; what those add in Python is missing at run time
(`with sock:`, `makefile`, `accept`, which is here). Whatever needs sockets or signals has them from here, and this
module is the only one that knows where they come from.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from typing import Any
else:
    import _signal as signal
    import _socket as socket

__all__ = ["accept", "packed_address", "signal", "socket"]


def accept(listener: socket.socket) -> tuple[socket.socket, Any]:
    """A client that waits at a listening socket, and its name as the system gives it. Raises OSError."""
    fd, name = listener._accept()  # type: ignore[attr-defined]
    return socket.socket(listener.family, listener.type, listener.proto, fileno=fd), name


def packed_address(host: str) -> bytes | None:
    """The 4 or 16 bytes of a numeric IPv4 or IPv6 address; None for anything else, such as a name (inet_pton(3))."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):  # ValueError: it cannot even be passed to the system
        return None
