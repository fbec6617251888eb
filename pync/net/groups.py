"""Multicast and broadcast: the sockets that join a group, or that send to one and are answered from other addresses.

Theory: a listener on a group is bound to the group's address, so that it receives nothing else, and joins the group on
one interface: the one that was asked for, or that of the route. Several listeners may share its port, because each gets
every datagram and none takes another's. ip(7), ipv6(7).
"""

from __future__ import annotations

import errno

from pync.endpoints.groups import is_broadcast, is_multicast
from pync.errors import BindError, reason
from pync.net.attempt import new_socket
from pync.system import packed_address, socket
from pync.system.sockets import join_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config

LOCAL_SCOPES = (1, 2)  # of IPv6 groups: this interface, this link (RFC 4291, section 2.7)
NO_ROUTE = (errno.ENODEV, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EINVAL)


def bind_to_group(sock: socket.socket, name: Any, interface: str | None) -> None:
    """Bind to a multicast group, and join it. Raises OSError from binding, BindError from joining."""
    index = socket.if_nametoindex(interface) if interface else name[3] if len(name) == 4 else 0
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    packed = packed_address(name[0].partition("%")[0]) or b""
    if len(packed) == 16 and packed[1] & 0xF in LOCAL_SCOPES and not index:
        raise BindError(f"join {name[0]}", f"it is one on each link; name it {name[0]}%INTERFACE")
    try:
        join_group(sock, packed, index)
    except OSError as error:
        hint = "; name another interface" if interface else "; name an interface with --interface"
        why = "no route leads to it" if error.errno in NO_ROUTE else reason(error)
        raise BindError(f"join {name[0]}", why + hint * (error.errno in NO_ROUTE)) from None
    sock.bind((*name[:3], index) if sock.family == socket.AF_INET6 else name)


def is_group(config: Config, family: int, name: Any) -> bool:
    """Whether an address is that of many hosts."""
    return is_multicast(name) or (config.socket.broadcast and is_broadcast(family, name))


def disconnected(config: Config, sock: socket.socket) -> socket.socket:
    """A socket with the own address of this one, which is closed, but open to all senders. Raises BindError."""
    own = sock.getsockname()
    if own[0].startswith("fe80:") and not own[3]:  # without its zone it cannot be bound to
        own = ("::", *own[1:])
    sock.close()
    open_to_all = new_socket(sock.family, config)
    try:
        open_to_all.bind((own[0], config.source_port or 0, *own[2:]))
    except OSError as error:
        open_to_all.close()
        raise BindError(f"bind to {own[0]}", reason(error)) from None
    return open_to_all
