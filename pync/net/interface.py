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
from pync.system.interfaces import bind_to_device, ipv4_address, ipv6_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import SocketOptions

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


def _with_address(sock: socket.socket, interface: str, name: Any, *, link_local: bool) -> Any:
    """A name with the interface's address in place of all addresses. Raises OSError if it has another one."""
    if name and name[0] not in ALL_ADDRESSES:
        raise OSError(
            errno.EPERM, f"{os.strerror(errno.EPERM)} to choose interface {interface} for one of its addresses"
        )
    port = name[1] if name else 0
    if sock.family == socket.AF_INET:
        return ipv4_address(sock, interface), port
    address, zone = ipv6_address(interface, link_local=link_local)
    return address, port, 0, zone
