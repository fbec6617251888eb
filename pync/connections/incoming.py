"""Accepting: the next client of a listening socket.

The access rules, TLS and what is done with the client are the matter of the server (`services/server.py`). A module of
its own, because a listener for datagrams accepts nothing: see `first_sender.py`.
"""

from __future__ import annotations

import errno

from pync import system
from pync.endpoints.streams import StreamSocket
from pync.errors import reason
from pync.events import as_address
from pync.listener_events import AcceptingPauses
from pync.net.attempt import tune

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.context import Context
    from pync.endpoints import Peer

SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 0.5  # seconds between two attempts while there is no descriptor


async def accept(context: Context, sock: socket.socket) -> Peer | None:
    """A client that waits at the socket, or None. Without a descriptor for it, report that once and wait for one."""
    reported = False
    while True:
        try:
            client, name = system.accept(sock)
        except OSError as error:
            if error.errno not in SHORTAGE:
                return None  # no client waits, or the client that waited has left again
            if not reported:
                context.report(AcceptingPauses(why=reason(error)))
            reported = True
            await context.loop.sleep(PAUSE)
        else:
            tune(client)
            return StreamSocket(context.loop, client, as_address(name))
