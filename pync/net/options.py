"""Socket options that were asked for, set before a socket is bound or connected.

The order is nc.openbsd's. An option that the system refuses is an error, never left out in silence. A module of
its own, because a run that asks for none of them does not import it.
"""

from __future__ import annotations

import sys

from pync.errors import ConnectError, reason
from pync.system import socket
from pync.system import sockets as numbers
from pync.system.sockets import md5_signature, set_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import SocketOptions


def set_options(sock: socket.socket, options: SocketOptions) -> None:
    """Set the options. Raises ConnectError for the one that fails; the socket is closed then.

    Its facts are the `field` of the option, and whether it is a socket of IPv6 (`six`).
    """
    for name, level, option, value, field in _wanted(sock, options):
        try:
            set_option(sock, level, option, value)
        except OSError as error:
            sock.close()
            six = sock.family == socket.AF_INET6
            raise ConnectError(f"set {name} to {value!r}", reason(error), field=field, six=six) from None
    if options.interface:
        try:
            index = socket.if_nametoindex(options.interface)
            if sock.type == socket.SOCK_DGRAM and sock.family != socket.AF_UNIX:
                _choose_interface(sock, index, options)
        except OSError as error:
            sock.close()
            raise ConnectError(f"use interface {options.interface}", reason(error)) from None


def _choose_interface(sock: socket.socket, index: int, options: SocketOptions) -> None:
    """Send what goes to a group by this interface, and with it what goes to all (255.255.255.255). Raises OSError."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        return
    # struct ip_mreqn: a group, our address, the interface
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + index.to_bytes(4, sys.byteorder))
    if options.broadcast:
        set_option(sock, socket.IPPROTO_IP, numbers.UNICAST_INTERFACE, index.to_bytes(4, "big"))


def _wanted(sock: socket.socket, options: SocketOptions) -> list[tuple[str, int, int | None, int | bytes, str]]:
    six = sock.family == socket.AF_INET6
    many = sock.type == socket.SOCK_DGRAM and sock.family != socket.AF_UNIX
    multicast_ttl = socket.IPV6_MULTICAST_HOPS if six else socket.IP_MULTICAST_TTL
    ip = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    key = options.md5_key
    every: list[tuple[str, int, int | None, int | bytes | None, str]] = [
        ("broadcast", socket.SOL_SOCKET, socket.SO_BROADCAST, options.broadcast or None, "broadcast"),
        ("an MD5 key", socket.IPPROTO_TCP, numbers.MD5_SIGNATURE, key and md5_signature(sock.family, key), "md5_key"),
        ("debugging", socket.SOL_SOCKET, socket.SO_DEBUG, options.debug or None, "debug"),
        ("the type of service", ip, numbers.TRAFFIC_CLASS if six else socket.IP_TOS, options.tos, "tos"),
        ("the receive buffer", socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer, "receive_buffer"),
        ("the send buffer", socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer, "send_buffer"),
        ("the TTL", ip, numbers.UNICAST_HOPS if six else socket.IP_TTL, options.ttl, "ttl"),
        ("the multicast TTL", ip, multicast_ttl, options.ttl if many else None, "ttl"),
        ("the minimum TTL", ip, numbers.MINIMUM_HOPS if six else numbers.MINIMUM_TTL, options.min_ttl, "min_ttl"),
        ("IP options", socket.IPPROTO_IP, numbers.IP_OPTIONS, options.ip_options, "ip_options"),
        ("keep-alive", socket.SOL_SOCKET, socket.SO_KEEPALIVE, options.keepalive or None, "keepalive"),
    ]
    return [
        (name, level, option, value if isinstance(value, bytes) else int(value), field)
        for name, level, option, value, field in every
        if value is not None
    ]
