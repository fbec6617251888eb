"""What a program that has the socket for itself has sent and received, as far as the kernel counts it.

Theory. Only TCP of Linux has counters (struct tcp_info in linux/tcp.h): the bytes that were sent, those of them that
were sent again, and the bytes that came. The peer's FIN counts as one byte that came. Before the program has the
socket, a dialogue with a proxy may have passed, which does not count, and some bytes may wait, which do. A number that
is not certain is None.
"""

from __future__ import annotations

import struct

from pync.system import queued
from pync.system.sockets import tcp_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Peer
    from pync.system import socket

SIZE = 256  # bytes asked for; an old kernel gives fewer
COUNTERS = struct.Struct("=128xQ64xQQ")  # tcpi_bytes_received, tcpi_bytes_sent, tcpi_bytes_retrans; Linux 4.19
FIN_RECEIVED = (8, 9, 11)  # the states TCP_CLOSE_WAIT, TCP_LAST_ACK and TCP_CLOSING
CLOSED = 7  # the state TCP_CLOSE: after both FINs, or after a reset

Counts = tuple[int | None, int | None]  # bytes sent and received


class HandedOver:
    """What has passed on a peer's socket since a program has it."""

    ended_by = "program"

    def __init__(self, peer: Peer) -> None:
        self._sock = peer.sock
        sent, received = _counts(self._sock)
        self._before = sent, None if received is None else received - queued(self._sock.fileno())
        self._at_end: Counts | None = None

    def end(self) -> None:
        """Take note of the counters now: what comes later is not for the program."""
        self._at_end = self._since()

    @property
    def sent(self) -> int | None:
        """Bytes that the program has sent."""
        return (self._at_end or self._since())[0]

    @property
    def received(self) -> int | None:
        """Bytes that have come for the program."""
        return (self._at_end or self._since())[1]

    def _since(self) -> Counts:
        sent, received = [
            None if now is None or before is None else now - before
            for now, before in zip(_counts(self._sock), self._before, strict=True)
        ]
        return sent, received


def _counts(sock: socket.socket) -> Counts:
    """What the kernel has counted on a connection so far."""
    info = tcp_info(sock, SIZE)
    if len(info) < COUNTERS.size:
        return None, None
    received, sent, again = COUNTERS.unpack_from(info)
    return sent - again, None if info[0] == CLOSED else received - (info[0] in FIN_RECEIVED)
