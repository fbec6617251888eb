"""Sockets and signals as the system gives them: the C cores of the standard modules `socket` and `signal`.

Theory: the standard modules, which the type checker sees, turn numbers into enums. That takes half as long as Python
needs to start. What they add in Python is missing here. It is a module, so that no other knows where they come from.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
else:
    import _signal as signal
    import _socket as socket

__all__ = ["packed_address", "signal", "socket"]


def packed_address(host: str) -> bytes | None:
    """The 4 or 16 bytes of a numeric IPv4 or IPv6 address; None for anything else, such as a name (inet_pton(3))."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):  # ValueError: `host` cannot even be passed to the system
        return None
