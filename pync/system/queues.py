"""How much the kernel holds for the peer of a socket, on systems that do not count as Linux does.

It is a module of its own, because Linux does not need it.
"""

from __future__ import annotations

import sys

REQUESTS = {"freebsd": 0x40046677, "netbsd": 0x40046679}  # FIONWRITE (sys/filio.h)
SO_NWRITE = 0x1024  # of macOS (sys/socket.h)


def held(fd: int) -> int:
    """Bytes that were sent and not acknowledged; 0 where that is not known."""
    system = sys.platform.rstrip("0123456789.")
    try:
        if system in REQUESTS:
            import fcntl

            return int.from_bytes(fcntl.ioctl(fd, REQUESTS[system], bytes(4)), sys.byteorder)
        if system == "darwin":
            import socket

            with socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM) as sock:
                return sock.getsockopt(socket.SOL_SOCKET, SO_NWRITE)
    except OSError:
        pass
    return 0
