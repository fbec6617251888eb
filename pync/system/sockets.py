"""Options, messages and families of sockets that are not on every system, or that have other numbers there.

Python has a name for some of them. The others have a number for each system, and None means that there is none.
"""

from __future__ import annotations

import errno
import os
import sys

from pync.system import LINUX, TCP_KEEPIDLE, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Option = int | None


def _number(linux: int, **others: int) -> Option:
    """The number of this system, whose name in `sys.platform` may end with a version."""
    return linux if LINUX else others.get(sys.platform.rstrip("0123456789."))


UNICAST_HOPS: Option = getattr(socket, "IPV6_UNICAST_HOPS", None)
TRAFFIC_CLASS: Option = getattr(socket, "IPV6_TCLASS", None)
JOIN_GROUP: Option = getattr(socket, "IPV6_JOIN_GROUP", None)
REUSE_PORT: Option = getattr(socket, "SO_REUSEPORT", None)
MINIMUM_TTL = _number(21, freebsd=66, openbsd=32)  # IP_MINTTL
MINIMUM_HOPS = _number(73, openbsd=65)  # IPV6_MINHOPCOUNT
UNICAST_INTERFACE = _number(50)  # IP_UNICAST_IF
MD5_SIGNATURE = _number(32)  # TCP_MD5SIG_EXT
IP_OPTIONS: Option = getattr(socket, "IP_OPTIONS", None)
# UDP_SEGMENT, UDP_GRO: options, and control messages with the size of a segment (received: an int).
HAS_SEGMENTS, SEGMENT, JOINED = LINUX, 103, 104
# The address that a datagram was sent to. For each family: the level, the option that asks for the message, its type,
# and its bytes (<linux/in.h>, in6.h).
ASKED_ADDRESS = {socket.AF_INET: (socket.IPPROTO_IP, 8, 8, 12), socket.AF_INET6: (socket.IPPROTO_IPV6, 49, 50, 20)}
ASKED_ADDRESS = ASKED_ADDRESS if LINUX else {}


def tcp_info(sock: socket.socket, size: int) -> bytes:
    """At most `size` bytes of what Linux reports of a TCP connection (struct tcp_info); none for another socket."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size) if LINUX else b""
    except (OSError, AttributeError):
        return b""


def own_unix_name() -> str | bytes:
    """A name for our own end of a unix socket: a path. For an empty one Linux chooses an abstract name."""
    return b"" if LINUX else f"{os.environ.get('TMPDIR') or '/tmp'}/pync-{os.getpid()}-{os.urandom(4).hex()}"


def set_option(sock: socket.socket, level: int, option: Option, value: Any) -> None:
    """Set an option of a socket. Raises OSError, also where the system has no such option."""
    if option is None:
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    sock.setsockopt(level, option, value)


def md5_signature(family: int, key: bytes) -> bytes:
    """The value of MD5_SIGNATURE (struct tcp_md5sig): a key, of 80 bytes at most, for peers of all addresses."""
    address = family.to_bytes(2, sys.byteorder) + bytes(126)
    flags, prefix, interface = b"\1", b"\0", bytes(4)
    return address + flags + prefix + len(key).to_bytes(2, sys.byteorder) + interface + key.ljust(80, b"\0")


def share_port(sock: socket.socket) -> None:
    """Let other sockets that allow the same be bound to this one's port, once it is bound. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if REUSE_PORT is not None:
        sock.setsockopt(socket.SOL_SOCKET, REUSE_PORT, 1)


def join_group(sock: socket.socket, group: bytes, index: int) -> None:
    """Join a multicast group on the interface of this index; 0: on that of the route. Raises OSError."""
    order = index.to_bytes(4, sys.byteorder)
    if sock.family == socket.AF_INET6:
        set_option(sock, socket.IPPROTO_IPV6, JOIN_GROUP, group + order)
        return
    try:  # struct ip_mreqn: the group, our address, the interface
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + bytes(4) + order)
    except OSError as error:
        if LINUX or index or error.errno != errno.EINVAL:
            raise
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + bytes(4))  # struct ip_mreq, on NetBSD


def probe_peer(sock: socket.socket, seconds: int) -> None:
    """Have TCP ask the peer's system after each so many seconds of silence. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (TCP_KEEPIDLE, getattr(socket, "TCP_KEEPINTVL", -1)):
        if option > 0:
            sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
