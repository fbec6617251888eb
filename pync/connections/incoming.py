"""Accepting: the next client of a listening socket.

The access rules, TLS and what is done with the client are the matter of the server (`services/server.py`). A module of
its own, because a listener for datagrams accepts nothing: see `first_sender.py`.
"""

from __future__ import annotations

import errno

from pync.endpoints.streams import StreamSocket
from pync.errors import reason
from pync.events import as_address
from pync.listener_events import AcceptingPauses
from pync.net.attempt import tune
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Address

SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 0.5  # seconds between two attempts while there is no descriptor


async def accept(context: Context, sock: socket.socket) -> Peer | None:
    """A client that waits at the socket, or None. Without a descriptor for it, report that once and wait for one."""
    reported = False
    while True:
        try:
            client, name = take(sock)
        except OSError as error:
            if error.errno not in SHORTAGE:
                return None  # no client waits, or the client that waited has left again
            if not reported:
                context.report(AcceptingPauses(why=reason(error)))
            reported = True
            await context.loop.sleep(PAUSE)
        else:
            if context.config.behaviour:
                return StreamSocket(context.loop, client, await _named(context, name))
            tune(client)
            return StreamSocket(context.loop, client, as_address(name))


def take(listener: socket.socket) -> tuple[socket.socket, Any]:
    """The socket of a client that waits at a listener, and its address as the system gives it. Raises OSError."""
    fd, name = listener._accept()  # type: ignore[attr-defined]
    return socket.socket(listener.family, listener.type, listener.proto, fileno=fd), name


async def _named(context: Context, name: Any) -> Address:
    from pync.net.names import named

    return await named(context, name)
