"""The only client of a listener for datagrams: the sender of the first one that is let in.

Theory: the socket is connected to that sender, and so the system keeps all others out. Connecting also settles our own
address, as the one that is nearest to the sender. If the sender has asked another one, a socket that is bound to that
one takes the place of the first: on the first, the sender's next datagram would be refused.
"""

from __future__ import annotations

from pync.endpoints.asked_address import AskedReceiver, address_of, ask_for_addresses, is_on_all_addresses
from pync.endpoints.datagrams import DatagramSocket
from pync.endpoints.segments import cut
from pync.errors import BindError, reason
from pync.events import as_address
from pync.net.attempt import new_socket
from pync.net.names import named
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Address
    from pync.net.bind import Bound


async def first_sender(context: Context, bound: Bound, admit: Callable[[Address], bool]) -> Peer:
    """The sender of the first datagram that `admit` allows. The socket of `bound` is then connected to it.

    Raises BindError if the sender cannot be answered.
    """
    receivers = [AskedReceiver(sock) for sock in bound.sockets]
    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for receiver in receivers:
            try:
                piece, size, name, source = receiver.receive_asked()
            except OSError:  # nothing has arrived at this socket
                continue
            if admit(await named(context, name)):
                first = cut(piece, size)
                sock = _connected(context, receiver, name, source, first)
                bound.keep(sock)
                return DatagramSocket(context.loop, sock, name, first)


def _connected(
    context: Context, receiver: AskedReceiver, name: Any, source: bytes, first: list[bytes]
) -> socket.socket:
    """A socket that is connected to the sender, from the address it has asked. Its datagrams are added to `first`."""
    sock = receiver.sock
    if source and address_of(sock.family, source) != _nearest(sock.family, name):
        return _moved(context, receiver, name, source, first)
    if is_on_all_addresses(sock):
        ask_for_addresses(sock, on=False)
    if name:  # the datagrams of a unix sender without a name can be received, but not answered
        _connect(sock, name)
    return sock


def _nearest(family: int, name: Any) -> str:
    """The address from which the system sends to this name, if it may choose."""
    probe = socket.socket(family, socket.SOCK_DGRAM)
    try:
        _connect(probe, name)
        address: str = probe.getsockname()[0]
        return address.partition("%")[0]
    finally:
        probe.close()


def _moved(context: Context, receiver: AskedReceiver, name: Any, source: bytes, first: list[bytes]) -> socket.socket:
    """A socket that has only the address which was asked. What the old one still holds of the sender goes to `first`.

    For the moment of the binding both sockets may share the port. Afterwards no other process can have it.
    """
    old, address = receiver.sock, address_of(receiver.sock.family, source)
    sock = new_socket(old.family, context.config)
    try:
        for each in old, sock:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if interface := context.config.socket.interface:
            from pync.system.interfaces import bind_to_device

            bind_to_device(sock, interface)
        sock.bind((address, old.getsockname()[1], *name[2:]))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        _connect(sock, name)
    except OSError as error:
        sock.close()
        raise BindError(f"answer {as_address(name)} from {address}", reason(error)) from None
    while True:
        try:
            piece, size, sender, asked = receiver.receive_asked()
        except OSError:  # nothing is left
            return sock
        if (sender, asked) == (name, source):
            first += cut(piece, size)


def _connect(sock: socket.socket, name: Any) -> None:
    try:
        sock.connect(name)
    except (ConnectionRefusedError, FileNotFoundError):
        return  # a unix sender has left already, and what it sent is still to be read
    except OSError as error:
        raise BindError(f"answer {as_address(name)}", reason(error)) from None
