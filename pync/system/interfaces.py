"""Network interfaces: a socket that uses one of them alone, and their addresses.

A module of its own, because a run without an interface does not import it. Systems other than Linux can bind no socket
to an interface in this way, and list no addresses of IPv6 in a file.
"""

from __future__ import annotations

import errno
import os

from pync.system import LINUX, socket

SO_BINDTODEVICE: int | None = getattr(socket, "SO_BINDTODEVICE", 25 if LINUX else None)
SIOCGIFADDR = 0x8915 if LINUX else 0xC0206921  # netdevice(7); <sys/sockio.h> of the BSDs and of macOS
NAME, ADDRESS = 16, slice(20, 24)  # of struct ifreq: the size of its name, and where the address is
LINK_LOCAL = 0x20  # a scope in the list of addresses


def bind_to_device(sock: socket.socket, interface: str) -> bool:
    """Whether the socket uses this interface alone from now on (socket(7)); False if that is not permitted.

    Raises OSError.
    """
    if SO_BINDTODEVICE is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, os.fsencode(interface) + b"\0")
    except PermissionError:
        return False
    return True


def ipv4_address(sock: socket.socket, interface: str) -> str:
    """The first address of an interface. Raises OSError if it has none."""
    import fcntl

    try:
        found = fcntl.ioctl(sock.fileno(), SIOCGIFADDR, os.fsencode(interface).ljust(NAME, b"\0") + bytes(24))
    except OSError:
        raise OSError(errno.EADDRNOTAVAIL, f"interface {interface} has no IPv4 address") from None
    return socket.inet_ntop(socket.AF_INET, found[ADDRESS])


def ipv6_address(interface: str, *, link_local: bool) -> tuple[str, int]:
    """An address of an interface, `link_local` or not if there is a choice, and its zone (0: it needs none).

    Raises OSError if it has none.
    """
    index = socket.if_nametoindex(interface)
    found = []
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            for digits, number, _, scope, *_ in map(str.split, file):
                if int(number, 16) == index:
                    found.append((digits, int(scope, 16) == LINK_LOCAL))
    except OSError:
        pass
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, f"interface {interface} has no IPv6 address")
    digits, local = min(found, key=lambda item: item[1] != link_local)
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), index * local
