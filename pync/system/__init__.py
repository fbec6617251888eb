"""What the system gives. All that is not on every system is asked for here, and in the modules beside this one.

Theory: no other module names what is Linux's own, and each such thing has a fall-back (`tests/unit/test_system.py`).
`socket` and `signal` are the C cores of the standard modules, whose enums take half as long as Python needs to start.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from selectors import BaseSelector
else:
    import _signal as signal
    import _socket as socket

__all__ = ["packed_address", "signal", "socket"]

LINUX = sys.platform == "linux"  # numbers from the headers of Linux mean what they mean there
DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0) * (sys.platform != "darwin")  # a send of macOS waits all the same
TCP_KEEPIDLE: int = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", -1))  # -1: OpenBSD has none
AF_VSOCK: int = getattr(socket, "AF_VSOCK", 40)  # <linux/socket.h>, in case Python was built without it
TO_READ, TO_SEND, NOT_SENT = "FIONREAD", "TIOCOUTQ", 0x894B  # of `queued`; the last is SIOCOUTQNSD (linux/sockios.h)


def packed_address(host: str) -> bytes | None:
    """The 4 or 16 bytes of a numeric IPv4 or IPv6 address; None for anything else, such as a name (inet_pton(3))."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):  # ValueError: `host` cannot even be passed to the system
        return None


def new_selector() -> BaseSelector:
    """What a loop waits with: epoll, or the best that there is."""
    try:
        from selectors import EpollSelector as Selector
    except ImportError:
        from pync.system.waiting import Waiting as Selector  # type: ignore[assignment]
    return Selector()


def queued(fd: int, request: str | int = TO_READ) -> int:
    """Bytes that the kernel holds for a descriptor, by default those to be read; 0 where the kernel does not know."""
    import fcntl
    import termios

    try:
        count = fcntl.ioctl(fd, request if isinstance(request, int) else getattr(termios, request), bytes(4))
    except (OSError, ValueError):  # ValueError: it is closed
        if LINUX or request != TO_SEND:
            return 0
        from pync.system.queues import held

        return held(fd)
    return int.from_bytes(count, sys.byteorder)


def open_again(fd: int, flags: int) -> int:
    """A description of our own of a pipe, FIFO or terminal; elsewhere of terminals alone. Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}" if LINUX else os.ttyname(fd), flags | os.O_CLOEXEC | os.O_NOCTTY)
