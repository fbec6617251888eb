"""The local address that a datagram was sent to, and answers from it, on a socket that is bound to all addresses.

Theory: without help the system sends an answer from the address that is nearest to the peer. A peer that has asked
another one takes that answer for a stranger's. So each datagram that is received comes with a control message that
names the address, and each answer goes out with one (IP_PKTINFO, ip(7); IPV6_PKTINFO, ipv6(7) and RFC 3542, section
6.2). A datagram to a group or to all (multicast, broadcast) is answered from the address of its interface.

A socket that is bound to one address has no need of this, and systems other than Linux do without.
"""

from __future__ import annotations

import sys

from pync.endpoints.segments import Receiver
from pync.system import socket
from pync.system.sockets import ASKED_ADDRESS, JOINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALL_ADDRESSES = ("0.0.0.0", "::")


def is_on_all_addresses(sock: socket.socket) -> bool:
    """Whether the socket is, or because it is not bound yet may be, bound to all addresses."""
    return sock.family in ASKED_ADDRESS and sock.getsockname()[0] in ALL_ADDRESSES


def ask_for_addresses(sock: socket.socket, *, on: bool = True) -> None:
    """Have each datagram come with the address it was sent to. Ask before the socket is bound, to miss none."""
    if sock.family in ASKED_ADDRESS:
        level, option, _, _ = ASKED_ADDRESS[sock.family]
        sock.setsockopt(level, option, on)


def source_for_answers(family: int, info: bytes) -> bytes:
    """What an answer has to carry to go out from the address that was asked; b"" if the system shall choose.

    `info` is the control message of a datagram that was received.
    """
    if family == socket.AF_INET:  # the interface, our address, the address in the header
        return bytes(4) + info[4:8] + bytes(4)
    if info[0] == 0xFF:  # a group is the source of nothing
        return b""
    is_link_local = info[0] == 0xFE and info[1] & 0xC0 == 0x80
    return info if is_link_local else info[:16] + bytes(4)


def address_of(family: int, source: bytes) -> str:
    """The address in what `source_for_answers` gave."""
    return socket.inet_ntop(family, source[4:8] if family == socket.AF_INET else source[:16])


def send_from(sock: socket.socket, source: bytes, data: bytes | memoryview, name: Any) -> int:
    """Send one datagram from our address in `source`. Raises OSError."""
    level, _, kind, _ = ASKED_ADDRESS[sock.family]
    return sock.sendmsg([data], [(level, kind, source)], 0, name)


class AskedReceiver(Receiver):
    """Receives from a socket with many peers, and finds out which of our addresses each of them has asked."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.info = self.source = b""  # of the last datagram: most come to the same address
        if is_on_all_addresses(sock):
            ask_for_addresses(sock)
            self.control += socket.CMSG_SPACE(ASKED_ADDRESS[sock.family][3])

    def receive_asked(self) -> tuple[bytes, int, Any, bytes]:
        """As `receive`, and what `source_for_answers` gives (b"": the socket has one address). Raises OSError."""
        length, control, _, name = self.sock.recvmsg_into([self.buffer], self.control)
        size = length
        for level, kind, data in control:
            if kind == JOINED and level == socket.IPPROTO_UDP:
                size = int.from_bytes(data, sys.byteorder)
            elif data != self.info:
                self.info, self.source = data, source_for_answers(self.sock.family, data)
        return bytes(self.buffer[:length]), size, name, self.source
