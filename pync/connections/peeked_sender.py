"""The only client of a listener for datagrams whose program gets the socket: the sender of the first one.

Theory: the program reads the first datagram from the socket itself, so it is looked at and left there. The socket is
then connected to its sender. Datagrams of senders that are not let in are taken out. Those that others had sent before
the socket was connected, after the first one, reach the program: the system has no way to take them out of the middle.

A module of its own, because all others read the first datagram (`first_sender.py`).
"""

from __future__ import annotations

from pync.endpoints.datagrams import DatagramSocket
from pync.errors import BindError, reason
from pync.events import as_address
from pync.net.names import named
from pync.system import DONTWAIT, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Address
    from pync.net.bind import Bound


async def peeked_sender(context: Context, bound: Bound, admit: Callable[[Address], bool]) -> Peer:
    """The sender of the first datagram that `admit` allows. Raises BindError if the sender cannot be answered."""
    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            try:
                _, name = sock.recvfrom(0, socket.MSG_PEEK | DONTWAIT)
            except OSError:  # nothing has arrived at this socket
                continue
            if not admit(await named(context, name)):
                sock.recvfrom(0)
                continue
            try:
                sock.connect(name)
            except OSError as error:
                raise BindError(f"answer {as_address(name)}", reason(error)) from None
            bound.keep(sock)
            return DatagramSocket(context.loop, sock, name, first=[])
