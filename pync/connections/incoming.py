"""Accepting: what happens between a client's arrival and the moment that a service has it.

The server (`services/server.py`) accepts, asks the access rules, and encrypts (`encryption.py`).
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
PAUSE = 0.5  # seconds until the next look whether there is a descriptor again


async def accept(context: Context, sock: socket.socket) -> Peer | None:
    """A client that waits at the socket, or None. While there is no descriptor for it, report that and wait for one."""
    reported = False
    while True:
        try:
            client, name = system.accept(sock)
        except OSError as error:
            if error.errno not in SHORTAGE:
                return None  # no client waits, or the one that waited has left again
            if not reported:
                context.report(OutOfDescriptors(why=reason(error)))
            reported = True
            await context.loop.sleep(PAUSE)
        else:
            tune(client)
            return StreamSocket(context.loop, client, as_address(name))


async def first_sender(context: Context, bound: Bound, admit: Callable[[Address], bool]) -> Peer:
    """The sender of the first datagram that is admitted; from then on its socket is connected to it.

    Raises BindError if the sender cannot be answered.
    """
    from pync.endpoints.datagrams import DatagramSocket, receive

    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            try:
                data, name = receive(sock)
            except OSError:  # nothing has come to this one
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
