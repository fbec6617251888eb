"""A group of peers, reached at one address, as an endpoint: a multicast group, or all hosts of a network (broadcast).

Theory: what is sent goes to the address of the group, and each member answers from an address of its own. So the socket
is not connected, and receives from all. Nothing refuses a datagram to a group.

A module of its own, because a conversation with one host does not import it.
"""

from __future__ import annotations

import errno

from pync.endpoints.datagrams import DatagramSocket
from pync.system import packed_address, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

TO_ALL = "255.255.255.255"  # to all hosts of whatever network the interface is on; no route need lead to it


def is_multicast(name: Any) -> bool:
    """Whether a socket's address is that of a multicast group (RFC 5771: 224.0.0.0/4, RFC 4291: ff00::/8)."""
    packed = packed_address(name[0].partition("%")[0]) if isinstance(name, tuple) else None
    if packed is None:
        return False
    return packed[0] == 0xFF if len(packed) == 16 else packed[0] >> 4 == 0xE


def is_broadcast(family: int, name: Any) -> bool:
    """Whether the system takes an address for that of all hosts of a network. Then it wants to have permission."""
    if isinstance(name, tuple) and name[0] == TO_ALL:
        return True
    probe = socket.socket(family, socket.SOCK_DGRAM)
    try:
        return probe.connect_ex(name) == errno.EACCES
    finally:
        probe.close()


class GroupSocket(DatagramSocket):
    """A socket that is bound and not connected: it sends to one address, and receives from all."""

    has_members = True

    def __init__(self, loop: Loop, sock: socket.socket, name: Any) -> None:
        super().__init__(loop, sock, name)
        self.segmented = False  # `write` sends each datagram by itself

    async def write(self, data: Bytes) -> int:
        """Send one datagram to the group. Raises PeerLost if it is too long, or if no route leads to the group."""
        while True:
            try:
                return self.sock.sendto(data, self.name)
            except BlockingIOError:
                await self.loop.writable(self.sock.fileno())
            except OSError as error:
                raise self.failed(error) from None

    def is_from_peer(self, name: Any) -> bool:
        """True, because every member answers from its own address."""
        return True
