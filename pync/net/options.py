"""Making a socket with the options that were asked for, before it is bound or connected.

The order is nc.openbsd's; an option that the system refuses is an error, never silently left out.
"""

from __future__ import annotations

import errno

from pync.errors import ConnectError, reason
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import SocketOptions

IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_MINHOPCOUNT = 16, 67, 73  # <linux/in6.h>; Python lacks the last one
IP_MINTTL = 21  # <linux/in.h>
IPPROTO_SCTP = 132  # RFC 9260; Python may have been built without
KEEPALIVE_IDLE = 60  # seconds without traffic after which a vanished peer is looked for


def new_socket(family: int, options: SocketOptions, *, datagram: bool, sctp: bool = False) -> socket.socket:
    """A non-blocking socket with the options set. Raises ConnectError naming the option that failed.

    Raises OSError (EAFNOSUPPORT) if this system lacks the family: it may have the one of the next address.
    """
    kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
    try:
        sock = socket.socket(family, kind, IPPROTO_SCTP if sctp else 0)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and family in (socket.AF_INET, socket.AF_INET6):
            raise
        if sctp or error.errno == errno.EAFNOSUPPORT:
            raise ConnectError(
                f"open a socket for {'SCTP' if sctp else 'this family'}", "this system has none"
            ) from None
        raise ConnectError("open a socket", reason(error)) from None
    sock.setblocking(False)
    try:
        for name, level, option, value in _wanted(family, options):
            try:
                sock.setsockopt(level, option, value)
            except OSError as error:
                raise ConnectError(f"set {name} to {value}", reason(error)) from None
    except ConnectError:
        sock.close()
        raise
    return sock


def _wanted(family: int, options: SocketOptions) -> list[tuple[str, int, int, int]]:
    six = family == socket.AF_INET6
    ip = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    every = [
        ("broadcast", socket.SOL_SOCKET, socket.SO_BROADCAST, options.broadcast or None),
        ("debugging", socket.SOL_SOCKET, socket.SO_DEBUG, options.debug or None),
        ("the type of service", ip, IPV6_TCLASS if six else socket.IP_TOS, options.tos),
        ("the receive buffer", socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer),
        ("the send buffer", socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer),
        ("the TTL", ip, IPV6_UNICAST_HOPS if six else socket.IP_TTL, options.ttl),
        ("the minimum TTL", ip, IPV6_MINHOPCOUNT if six else IP_MINTTL, options.min_ttl),
        ("keep-alive", socket.SOL_SOCKET, socket.SO_KEEPALIVE, options.keepalive or None),
    ]
    return [(name, level, option, int(value)) for name, level, option, value in every if value is not None]


def tune(sock: socket.socket) -> None:
    """What every TCP conversation wants: answers at once, and a vanished peer noticed. Others are left alone."""
    if sock.type == socket.SOCK_STREAM and sock.family != socket.AF_UNIX:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        except OSError:  # the connection may be gone already: reading tells how
            pass
