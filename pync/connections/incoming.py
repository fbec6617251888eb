"""Letting clients in: accepting them one by one, and asking the access rules."""

from __future__ import annotations

import errno

from pync import system
from pync.endpoints.streams import StreamSocket
from pync.errors import reason
from pync.events import Accepted, Denied, OutOfDescriptors, as_address
from pync.net.dial import transport
from pync.net.options import tune

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.context import Context
    from pync.events import Address
    from pync.net.access import Rules

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 0.5  # seconds until the next look whether there is a descriptor again


async def accept(context: Context, sock: socket.socket) -> StreamSocket | None:
    """A client that waits at the socket, or None. If there is no descriptor for it, says so and waits for one."""
    told = False
    while True:
        try:
            client, name = system.accept(sock)
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                return None  # nobody is there, or who was there has left again
            if not told:
                context.report(OutOfDescriptors(why=reason(error)))
            told = True
            await context.loop.sleep(PAUSE)
        else:
            tune(client)
            return StreamSocket(context.loop, client, as_address(name))


def admit(context: Context, allowed: Rules, peer: Address) -> bool:
    """Whether the rules allow the peer; what was decided is reported."""
    why = allowed.verdict(peer.host)
    if why:
        context.report(Denied(peer=peer, why=why))
    else:
        context.report(Accepted(peer=peer, transport=transport(context.config)))
    return not why
