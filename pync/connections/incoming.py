"""Accepting: the next client of a listening socket, or the sender of the first datagram.

The access rules, TLS and what is done with the client are the matter of the server (`services/server.py`).
"""

from __future__ import annotations

import errno

from pync import system
from pync.endpoints.streams import StreamSocket
from pync.errors import BindError, reason
from pync.events import OutOfDescriptors, as_address
from pync.net.attempt import tune

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Address
    from pync.net.bind import Bound

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
                context.report(OutOfDescriptors(why=reason(error)))
            reported = True
            await context.loop.sleep(PAUSE)
        else:
            tune(client)
            return StreamSocket(context.loop, client, as_address(name))


async def first_sender(context: Context, bound: Bound, admit: Callable[[Address], bool]) -> Peer:
    """The sender of the first datagram that `admit` allows. The socket that received it is then connected to it.

    Raises BindError if the sender cannot be answered.
    """
    from pync.endpoints.datagrams import DatagramSocket, receive

    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            try:
                data, name = receive(sock)
            except OSError:  # nothing has arrived at this socket
                continue
            if admit(as_address(name)):
                _connect(sock, name)
                bound.keep(sock)
                return DatagramSocket(context.loop, sock, name, [data])


def _connect(sock: socket.socket, name: Any) -> None:
    if not name:
        return  # the datagrams of a unix sender without a name can be received, but not answered
    try:
        sock.connect(name)
    except (ConnectionRefusedError, FileNotFoundError):
        return  # a unix sender has left already, and what it sent is still to be read
    except OSError as error:
        raise BindError(f"answer {as_address(name)}", reason(error)) from None
