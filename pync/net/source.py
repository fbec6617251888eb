"""Our own end of a connection: the source address and port that were asked for (-s and -p), or a unix path.

A module of its own, because a connection whose own end the system chooses does not import it.
"""

from __future__ import annotations

import errno

from pync.errors import AddressError, BindError, reason
from pync.events import as_address
from pync.net.resolve import resolve, unix_name
from pync.system import socket
from pync.system.sockets import own_unix_name, share_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config
    from pync.context import Context


async def own_names(context: Context) -> Any:
    """The addresses to which our own end of a connection shall be bound; None if the system shall choose.

    `bind_own` takes them: an address for each family, or one for unix datagrams. Raises AddressError.
    """
    config = context.config
    if config.family == "unix":
        # Answers to datagrams come to our own end.
        return (unix_name(config.source_host) if config.source_host else own_unix_name()) if config.datagram else None
    own: dict[int, Any] = {}
    if config.source_host is None and config.source_port is None:
        return own if config.socket.interface else None
    for family, name in await resolve(context, config.source_host, config.source_port or 0):
        own.setdefault(family, name)
    if not own:
        raise AddressError(f"host {config.source_host}", "no address")
    return own


def bind_own(sock: socket.socket, own: Any, config: Config, peer: Any) -> None:
    """Bind to what `own_names` gave for this socket's family, before it is connected to `peer`, as the system names it.

    Raises BindError, OSError (EAFNOSUPPORT).
    """
    if isinstance(own, dict):
        if own and sock.family not in own:
            raise OSError(errno.EAFNOSUPPORT, "the source address is of the other family")
        own = own.get(sock.family)
    if config.socket.interface:
        from pync.net.interface import by_interface

        own = by_interface(sock, config.socket, peer, own)
        if own is None:
            return
    behaviour = config.behaviour
    if behaviour and behaviour.reuse_port:
        share_port(sock)
    elif sock.type == socket.SOCK_STREAM and not (behaviour and behaviour.addresses != "race"):
        # Two addresses may be tried at a time, both from one port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(own)
    except OSError as error:
        address = as_address(own)
        raise BindError(f"bind to {address}", reason(error), address=address, code=error.errno) from None
