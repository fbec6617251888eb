"""Making one socket, and connecting it to one address. `dial.py`, `bind.py` and the scan are built on this."""

from __future__ import annotations

import errno
import os

from pync.events import ConnectFailed, as_address
from pync.system import TCP_KEEPIDLE, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config
    from pync.context import Context

    Connection = tuple[socket.socket, Any]  # a connected socket, and its peer's name as the system gives it

BACKLOG_DELAY = 0.01  # seconds until a unix listener whose backlog is full is tried again
KEEPALIVE_IDLE = 60  # seconds without traffic after which a vanished peer is looked for
IPPROTO_SCTP = 132  # RFC 9260; Python may have been built without


def attempt_failed(context: Context, name: Any, why: str, *, timed_out: bool = False) -> ConnectFailed:
    """The event that an address could not be connected to; `name` is the address as the system gives it."""
    host, where = context.config.host or "", as_address(name)
    return ConnectFailed(host=host, address=where, transport=context.transport, why=why, timed_out=timed_out)


async def attempt(context: Context, family: int, name: Any, own: Any) -> Connection:
    """Connect to one address, from our own in `own` (see `source.own_names`) unless that is None.

    Raises OSError, BindError, ConnectError.
    """
    sock = new_socket(family, context.config)
    try:
        if own is not None:
            from pync.net.source import bind_own

            bind_own(sock, own, context.config, name)
        await _finish_connecting(context, sock, name)
        peer = peer_name(sock, name)
        if family != socket.AF_UNIX and sock.getsockname() == peer:
            # No listener was there: our own ephemeral port was this one, and the socket was connected to itself.
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        context.loop.forget(sock.fileno())
        if context.config.datagram:
            from pync.endpoints.datagrams import remove_own_path

            remove_own_path(sock)
        sock.close()
        raise
    return sock, peer


async def _finish_connecting(context: Context, sock: socket.socket, name: Any) -> None:
    while (code := sock.connect_ex(name)) == errno.EAGAIN:  # the backlog of a unix listener is full
        await context.loop.sleep(BACKLOG_DELAY)
    if code == errno.EINPROGRESS:
        await context.loop.writable(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def peer_name(sock: socket.socket, name: Any) -> Any:
    """The address of the other end; or `name`, to which it was connected, if the connection has broken already."""
    try:
        return sock.getpeername()
    except OSError:
        return name


def new_socket(family: int, config: Config) -> socket.socket:
    """A non-blocking socket with the options that were asked for. Raises ConnectError.

    Raises OSError (EAFNOSUPPORT) if this system lacks the family: the next address may have another one.
    """
    kind = socket.SOCK_DGRAM if config.datagram else socket.SOCK_STREAM
    try:
        sock = socket.socket(family, kind, IPPROTO_SCTP if config.sctp else 0)
    except OSError as error:
        from pync.net.no_socket import no_socket

        raise no_socket(error, family, config) from None
    sock.setblocking(False)
    if vars(config.socket):  # at least one option was asked for
        from pync.net.options import set_options

        set_options(sock, config.socket)
    return sock


def tune(sock: socket.socket) -> None:
    """Have TCP send small writes at once and notice a vanished peer. Unix and datagram sockets are left alone."""
    if sock.type == socket.SOCK_STREAM and sock.family != socket.AF_UNIX:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE)
        except OSError:  # the connection may have broken already, and reading finds out how
            pass
