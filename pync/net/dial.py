"""Getting a connected socket: every address of a name, and one family does not wait for the other.

Theory (RFC 8305, Happy Eyeballs): the addresses are tried with the families taking turns. A new attempt begins a
quarter of a second after the last one or as soon as one fails, and the first connection that is made wins.
"""

from __future__ import annotations

import errno
import os
from itertools import zip_longest

from pync.config import SocketOptions
from pync.errors import ConnectError, reason
from pync.events import Connected, ConnectFailed, as_address
from pync.loop.tasks import Condition
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pync.config import Config
    from pync.context import Context
    from pync.loop.tasks import Task

    Connection = tuple[socket.socket, Any]  # a connected socket, and its peer's name as the system gives it

ATTEMPT_DELAY = 0.25  # seconds (RFC 8305 §5)
BACKLOG_DELAY = 0.01  # seconds until a unix listener whose backlog is full is tried again
DEFAULT_OPTIONS = SocketOptions()
KEEPALIVE_IDLE = 60  # seconds without traffic after which a vanished peer is looked for
IPPROTO_SCTP = 132  # RFC 9260; Python may have been built without


def goal(context: Context, port: int | None) -> str:
    """What is attempted, for a message."""
    return f"connect to {context.config.host}" + (f" port {port} ({context.transport})" if port is not None else "")


async def dial(context: Context, port: int | None, without: Sequence[Any] = ()) -> Connection:
    """A connected socket to the config's host, on this port (None: a unix path), and the name of its peer.

    The names in `without` are passed over. Raises AddressError, ConnectError, BindError.
    """
    try:
        sock, name = await _connect(context, port, without)
    except OSError as error:
        raise ConnectError(f"{goal(context, port)} failed", reason(error)) from None
    tune(sock)
    connected = Connected(host=context.config.host or "", address=as_address(name), transport=context.transport)
    context.report(connected)
    return sock, name


async def _connect(context: Context, port: int | None, without: Sequence[Any]) -> Connection:
    config = context.config
    own = None
    if config.source_host is not None or config.source_port is not None or (port is None and config.datagram):
        from pync.net.source import own_names

        own = await own_names(context)
    if port is None:
        return await attempt(context, socket.AF_UNIX, unix_name(config.host or ""), own)
    found = await resolve(context, config.host, port)
    return await _race(context, [(family, name) for family, name in take_turns(found) if name not in without], own)


def take_turns(found: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The families one by one, beginning with that of the first address (RFC 8305 §4)."""
    found = list(found)
    first = [item for item in found if item[0] == found[0][0]]
    other = [item for item in found if item[0] != found[0][0]]
    return [item for pair in zip_longest(first, other) for item in pair if item]


async def _race(context: Context, waiting: list[tuple[int, Any]], own: Any) -> Connection:
    loop, ended = context.loop, Condition()
    running: dict[Task, Any] = {}
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    try:
        while waiting or running:
            if waiting:
                family, name = waiting.pop(0)
                running[loop.spawn(attempt(context, family, name, own), ended)] = name
            await loop.wait(ended, loop.clock() + ATTEMPT_DELAY if waiting else None)
            for task in [task for task in running if task.done]:
                name = running.pop(task)
                if not isinstance(task.error, OSError):
                    won: Connection = task.result()
                    return won
                failure = task.error
                context.report(attempt_failed(context, name, reason(failure)))
        raise failure
    finally:
        await _abandon(context, running)


def attempt_failed(context: Context, name: Any, why: str, *, timed_out: bool = False) -> ConnectFailed:
    """The event that one address, by the system's name for it, could not be connected to."""
    host, where = context.config.host or "", as_address(name)
    return ConnectFailed(host=host, address=where, transport=context.transport, why=why, timed_out=timed_out)


async def _abandon(context: Context, running: dict[Task, Any]) -> None:
    """End the attempts that did not win; one of them may have got its connection meanwhile."""
    await context.loop.cancel_and_wait(*running)
    for task in running:
        if task.error is None:
            task.result()[0].close()


async def attempt(context: Context, family: int, name: Any, own: Any) -> Connection:
    """One connection to one address, from the one in `own` (see `source.own_names`) unless that is None.

    Raises OSError, BindError, ConnectError.
    """
    sock = new_socket(family, context.config)
    try:
        if own is not None:
            from pync.net.source import bind_own

            bind_own(sock, own)
        await _finish_connecting(context, sock, name)
        peer = peer_name(sock, name)
        if family != socket.AF_UNIX and sock.getsockname() == peer:
            # No listener was there: the socket was connected to itself, by way of an ephemeral port.
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
    """The name of the other end; or `name`, by which it was reached, if the connection has broken already."""
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
        if error.errno == errno.EAFNOSUPPORT and family in (socket.AF_INET, socket.AF_INET6):
            raise
        if config.sctp or error.errno == errno.EAFNOSUPPORT:
            kind_of_socket = "SCTP" if config.sctp else "this family"
            raise ConnectError(f"open a socket for {kind_of_socket}", "this system has none") from None
        raise ConnectError("open a socket", reason(error)) from None
    sock.setblocking(False)
    if config.socket != DEFAULT_OPTIONS:
        from pync.net.options import set_options

        set_options(sock, config.socket)
    return sock


def tune(sock: socket.socket) -> None:
    """Set what every TCP conversation needs: answers at once, and vanished peers noticed. Others are left alone."""
    if sock.type == socket.SOCK_STREAM and sock.family != socket.AF_UNIX:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        except OSError:  # the connection may have broken already, and reading finds out how
            pass
