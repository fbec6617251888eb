"""Binding the sockets at which a listener waits for its clients.

Theory: a listener has a socket for every address of its host, in both families, on one port. TCP sockets have
SO_REUSEADDR, so that a server can be started again at once; never SO_REUSEPORT, with which a second server would
silently take half of the clients. The path of a unix socket is taken over only if nothing answers there, and it is
removed at the end only if it is still ours.
"""

from __future__ import annotations

import errno
import os
import stat

from pync.errors import BindError, reason
from pync.events import as_address
from pync.net.attempt import new_socket
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config
    from pync.context import Context
    from pync.loop.kernel import Loop

BACKLOG = 4096  # connections that may wait to be accepted; the system caps it
EPHEMERAL_TRIES = 16  # attempts to find an ephemeral port that is free in both families
ALL_ADDRESSES = ("0.0.0.0", "::")
NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # this machine has no such address


class Bound:
    """The bound sockets of a listener. Closing them removes a unix path, if it is still ours."""

    def __init__(self, loop: Loop, sockets: list[socket.socket], path: str | None = None) -> None:
        self.loop = loop
        self.sockets = sockets
        self.path = path
        self.inode = _inode(path) if path else None

    def close(self) -> None:
        """Close all sockets. Doing it again changes nothing."""
        for sock in self.sockets:
            if sock.fileno() >= 0:
                self.loop.forget(sock.fileno())
                sock.close()
        self.remove()

    def keep(self, sock: socket.socket) -> None:
        """Close all sockets but this one."""
        for other in self.sockets:
            if other is not sock:
                self.loop.forget(other.fileno())
                other.close()
        self.sockets = [sock]

    def remove(self) -> None:
        """Remove our path."""
        path, self.path = self.path, None
        if path and _inode(path) == self.inode:
            try:
                os.unlink(path)
            except OSError:  # the privilege for it may have been dropped
                pass


async def bind(context: Context) -> Bound:
    """Sockets bound (streams: listening) as the config asks. Raises BindError, AddressError, ConnectError."""
    config = context.config
    if config.family == "unix":
        return _bind_unix(context)
    found = await resolve(context, config.host, config.ports[0])
    # IPv6 comes first: if the port is an ephemeral one, the other sockets take the port that this one got.
    found.sort(key=lambda item: item[0] != socket.AF_INET6)
    for _ in range(EPHEMERAL_TRIES):
        sockets = _bind_all(config, found)
        if sockets is not None:
            return Bound(context.loop, sockets)
    raise BindError("listen on an ephemeral port", os.strerror(errno.EADDRINUSE))


def _bind_all(config: Config, found: list[tuple[int, Any]]) -> list[socket.socket] | None:
    """A socket for each address, all on one port; None if an ephemeral port is taken in the other family."""
    port = config.ports[0]
    sockets: list[socket.socket] = []
    missing: BindError | None = None
    for family, name in found:
        try:
            sockets.append(_bind_one(config, family, (name[0], port, *name[2:])))
        except OSError as error:
            failure = BindError(f"listen on {as_address((name[0], port))}", reason(error))
            if error.errno in NOT_HERE:
                missing = failure
                continue
            for sock in sockets:
                sock.close()
            if config.ports[0] == 0 and error.errno == errno.EADDRINUSE:
                return None
            raise failure from None
        port = sockets[0].getsockname()[1]
    if missing and not sockets:
        raise missing
    return sockets


def _bind_one(config: Config, family: int, name: Any) -> socket.socket:
    sock = new_socket(family, config)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if family != socket.AF_UNIX and not config.datagram:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.datagram:
            _bind_datagrams(sock, name, config.socket.interface)
        else:
            sock.bind(name)
            sock.listen(BACKLOG)
    except (OSError, BindError):
        sock.close()
        raise
    return sock


def _bind_datagrams(sock: socket.socket, name: Any, interface: str | None) -> None:
    """Bind a socket for datagrams: to a group, which is joined, or to addresses. Raises OSError, BindError."""
    from pync.endpoints.groups import is_multicast

    if is_multicast(name):
        from pync.net.groups import bind_to_group

        bind_to_group(sock, name, interface)
        return
    if interface:
        raise BindError(f"use --interface {interface}", "only a multicast group is joined on an interface")
    if name[0] in ALL_ADDRESSES:
        from pync.endpoints.asked_address import ask_for_addresses

        ask_for_addresses(sock)
    sock.bind(name)


def _bind_unix(context: Context) -> Bound:
    config = context.config
    path = config.host or ""
    name = unix_name(path)
    try:
        if isinstance(name, bytes):
            return Bound(context.loop, [_bind_one(config, socket.AF_UNIX, name)])
        try:
            sock = _bind_one(config, socket.AF_UNIX, name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_dead(path, datagram=config.datagram):
                raise
            os.unlink(path)
            sock = _bind_one(config, socket.AF_UNIX, name)
        return Bound(context.loop, [sock], path)
    except OSError as error:
        raise BindError(f"listen on {path}", reason(error)) from None


def _is_dead(path: str, *, datagram: bool) -> bool:
    """Whether the path is a socket at which nothing answers."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
    finally:
        probe.close()


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
