"""The end of an HTTP exchange: wait until the client has the answer, and do not care how it leaves then.

Theory: an answer has its end, so the client needs nothing more than its bytes. Many clients close when they have them:
with a reset, because the close_notify that follows is left unread, or without a close_notify of their own. That is no
error once all of the answer has arrived.

Must never take an answer for delivered while the kernel still holds a part of it that was not sent.
"""

from __future__ import annotations

import errno
import os
import sys

from pync.errors import PeerLost
from pync.sessions.conversation import end
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer

TCP_CLOSE = 7  # a state of TCP, in the numbers of the kernel (include/net/tcp_states.h)
SIOCOUTQNSD = 0x894B  # (include/uapi/linux/sockios.h)
LOOK = 0.05  # seconds between two checks of what the client has acknowledged


async def end_answered(context: Context, client: Peer) -> None:
    """End the connection once the client has acknowledged the answer. Raises PeerLost, TimedOut."""
    ending = context.config.ending
    try:
        await end(client, lingers=True, idle_limit=ending.idle_timeout, patient=ending.quit_after is None)
    except PeerLost:
        check_nothing_is_lost(client, encrypted=context.config.tls is not None)
        return
    # A client that has half-closed is not waited for by `end`, and may take the rest slowly.
    while client.unacknowledged():
        if _is_closed(client.sock):
            check_nothing_is_lost(client, encrypted=context.config.tls is not None)
            return
        await client.loop.sleep(LOOK)


def check_nothing_is_lost(client: Peer, *, encrypted: bool) -> None:
    """Raise PeerLost if the client broke the connection before it had the whole answer.

    A reset acknowledges what the client has received, but the kernel takes no account of that. So what was sent counts
    as received here, and only what has not left is lost. (A unix socket is reset if not all was read. If it is
    `encrypted`, that may be our close_notify.)
    """
    unsent = _not_sent(client.sock)
    if unsent or (client.sock.family == socket.AF_UNIX and not encrypted):
        raise PeerLost(f"connection to {client.address}", os.strerror(errno.ECONNRESET), unsent=unsent)


def _is_closed(sock: socket.socket) -> bool:
    """Whether TCP has given the connection up, and will not send anything again (tcp(7), TCP_INFO)."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
    except OSError:  # another transport
        return True


def _not_sent(sock: socket.socket) -> int:
    """Bytes that the kernel has taken and never sent (tcp(7), SIOCOUTQNSD); 0 where it does not know."""
    from fcntl import ioctl

    try:
        return int.from_bytes(ioctl(sock.fileno(), SIOCOUTQNSD, bytes(4)), sys.byteorder)
    except OSError:
        return 0
