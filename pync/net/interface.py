"""One network interface for connections and listeners (--interface): the device itself, or its address.

Theory: a socket that is bound to a device (SO_BINDTODEVICE, socket(7)) sends by it and receives from it alone, whatever
the routes are. Linux lets every user do so since 5.7. Where one may not, the socket is bound to the interface's address
instead: a listener is reached by that address alone, and a client is seen to come from it, but the routes hold.

Groups of hosts have options of their own: see `options.py` and `groups.py`.

A module of its own, because a run without an interface does not import it.
"""

from __future__ import annotations

import errno
import os

from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import SocketOptions

SIOCGIFADDR = 0x8915  # <linux/sockios.h>; netdevice(7)
NAME, ADDRESS = 16, slice(20, 24)  # of struct ifreq: the size of its name, and where the address is
LINK_LOCAL = "20"  # the scope of such an address in /proc/net/if_inet6, and of a global one is 00
ALL_ADDRESSES = ("0.0.0.0", "::")


def by_interface(sock: socket.socket, options: SocketOptions, peer: Any, own: Any) -> Any:
    """Have a socket that will be connected to `peer` use the interface, and return what to bind it to.

    That is `own`, our address or None, or the address of the interface. Raises OSError.
    """
    if sock.type == socket.SOCK_DGRAM:
        from pync.endpoints.groups import is_broadcast, is_multicast

        if is_multicast(peer) or (options.broadcast and is_broadcast(sock.family, peer)):
            return own
    if bind_to_device(sock, options.interface or ""):
        return own
    return _with_address(sock, options.interface or "", own, link_local=peer[0].startswith("fe80:"))


def on_interface(sock: socket.socket, interface: str, name: Any) -> Any:
    """Have a socket that will listen at `name` use the interface, and return what to bind it to. Raises OSError."""
    return name if bind_to_device(sock, interface) else _with_address(sock, interface, name, link_local=False)


def bind_to_device(sock: socket.socket, interface: str) -> bool:
    """Whether the socket is bound to the device; False if that is not permitted, or not known to the system."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(interface) + b"\0")
    except AttributeError:  # only Linux has it
        return False
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        return False
    return True


def _with_address(sock: socket.socket, interface: str, name: Any, *, link_local: bool) -> Any:
    """A name with the interface's address in place of all addresses. Raises OSError if it has another one."""
    if name and name[0] not in ALL_ADDRESSES:
        raise OSError(
            errno.EPERM, f"{os.strerror(errno.EPERM)} to choose interface {interface} for one of its addresses"
        )
    port = name[1] if name else 0
    if sock.family == socket.AF_INET:
        return _ipv4_address(sock, interface), port
    index = socket.if_nametoindex(interface)
    addresses = _ipv6_addresses(index)
    best = sorted(addresses, key=lambda item: (item[1] == LINK_LOCAL) != link_local)
    if not best:
        raise OSError(errno.EADDRNOTAVAIL, f"interface {interface} has no IPv6 address")
    return best[0][0], port, 0, index if best[0][1] == LINK_LOCAL else 0


def _ipv4_address(sock: socket.socket, interface: str) -> str:
    import fcntl

    try:
        found = fcntl.ioctl(sock.fileno(), SIOCGIFADDR, os.fsencode(interface).ljust(NAME, b"\0") + bytes(24))
    except OSError:
        raise OSError(errno.EADDRNOTAVAIL, f"interface {interface} has no IPv4 address") from None
    return socket.inet_ntop(socket.AF_INET, found[ADDRESS])


def _ipv6_addresses(index: int) -> list[tuple[str, str]]:
    """The addresses of an interface, each with its scope, as proc(5) lists them."""
    found = []
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            for digits, number, _, scope, *_ in map(str.split, file):
                if int(number, 16) == index:
                    found.append((socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), scope))
    except OSError:
        pass
    return found
