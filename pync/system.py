"""Sockets and signals as the system gives them: the C cores of the standard modules `socket` and `signal`.

Theory: the standard modules turn numbers into enums, which takes half as long as Python needs to start, and pync needs
no enums. The type checker sees the standard modules. What they add in Python is missing at run time (`with sock:`,
`makefile`, and `accept`, which is here). This is a module of its own, because every module that needs sockets or
signals imports them from here, and no other knows where they come from.
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
    """The socket of a client that waits at a listener, and its address as the system gives it. Raises OSError."""
    fd, name = listener._accept()  # type: ignore[attr-defined]
    return socket.socket(listener.family, listener.type, listener.proto, fileno=fd), name


def packed_address(host: str) -> bytes | None:
    """The 4 or 16 bytes of a numeric IPv4 or IPv6 address; None for anything else, such as a name (inet_pton(3))."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):  # ValueError: `host` cannot even be passed to the system
        return None
