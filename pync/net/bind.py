"""Binding the sockets at which a listener waits for its clients.

Theory: a listener has a socket for every address of its host, in both families, on one port. TCP sockets have
SO_REUSEADDR, so that a server can be started again at once; never SO_REUSEPORT, with which a second server would
silently take half of the clients. `unix_path.py` has the paths of unix sockets.
"""

from __future__ import annotations

import errno
import os

from pync.errors import BindError, reason
from pync.events import Address, as_address
from pync.net.attempt import new_socket
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config
    from pync.context import Context
    from pync.listener_config import Target
    from pync.loop.kernel import Loop
    from pync.net.privileges import Identity
    from pync.net.unix_path import UnixPath

BACKLOG = 4096  # connections that may wait to be accepted; the system caps it
EPHEMERAL_TRIES = 16  # attempts to find an ephemeral port that is free in both families
ALL_ADDRESSES = ("0.0.0.0", "::")
NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # this machine has no such address


class Bound:
    """The bound sockets of a listener. Closing them removes the unix paths that are still ours."""

    client: socket.socket | None = None  # the only client, if the connection was passed to us and there is no listener

    def __init__(self, loop: Loop, sockets: list[socket.socket], path: UnixPath | None = None) -> None:
        self.loop = loop
        self.sockets = sockets
        self.paths = [path] if path else []

    def add(self, other: Bound) -> None:
        """Take over the sockets and the paths of another one."""
        self.sockets += other.sockets
        self.paths += other.paths

    def close(self) -> None:
        """Close all sockets. Doing it again changes nothing."""
        for sock in self.sockets:
            if sock.fileno() >= 0:
                self.loop.forget(sock.fileno())
                sock.close()
        for path in self.paths:
            path.remove()

    def keep(self, sock: socket.socket) -> None:
        """Close all sockets but this one."""
        for other in self.sockets:
            if other is not sock:
                self.loop.forget(other.fileno())
                other.close()
        self.sockets = [sock]


def transport(context: Context, address: Address) -> str:
    """What carries the connections of a listener at an address of ours or of a client: not all need be the same."""
    return "unix" if address.port is None else context.transport


async def bind(context: Context, owner: Identity | None = None) -> Bound:
    """Sockets bound (streams: listening) as the config asks, at all of its places, or those that were passed to us.

    A unix path belongs to its `owner`. Raises BindError, AddressError, ConnectError, PrivilegeError; UsageError.
    """
    config = context.config
    if config.inherited is None:
        bound = await _bind_place(context, owner)
    else:
        from pync.net.inherited import inherited

        sockets, client = inherited(config)
        bound = Bound(context.loop, sockets)
        bound.client = client
    try:
        for place in config.also:
            bound.add(await _bind_place(context.derive(_config_of(config, place)), owner))
    except BaseException:
        bound.close()
        raise
    return bound


def _config_of(config: Config, place: Target) -> Config:
    """The config by which one more place is bound."""
    if place.port is None:
        return config.but(family="unix", host=place.host)
    return config.but(host=place.host or None, ports=(place.port,))


async def _bind_place(context: Context, owner: Identity | None) -> Bound:
    config = context.config
    if config.family == "unix":
        return await bind_unix(context, owner)
    found = await resolve(context, config.host, config.ports[0])
    if (behaviour := config.behaviour) and behaviour.first_address:
        from pync.net.first_address import bind_first

        sock = await bind_first(context, found, behaviour.bind_tries, lambda *place: _bind_one(config, *place))
        return Bound(context.loop, [sock])
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
            address = as_address((name[0], port))
            failure = BindError(f"listen on {address}", reason(error), address=address, code=error.errno)
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
    sock, behaviour = new_socket(family, config), config.behaviour
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not (behaviour and behaviour.dual_stack))
        if family != socket.AF_UNIX and behaviour and behaviour.reuse_port:
            from pync.system.sockets import share_port

            share_port(sock)
        elif family != socket.AF_UNIX and not config.datagram:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.path_mode is not None and isinstance(name, str):
            from pync.net.path_rights import bind_with_mode

            bind_with_mode(sock, name, config.path_mode)
        elif config.datagram and family != socket.AF_UNIX:
            _bind_datagrams(sock, name, config.socket.interface)
        elif config.socket.interface and family != socket.AF_UNIX:
            from pync.net.interface import on_interface

            sock.bind(on_interface(sock, config.socket.interface, name))
        else:
            sock.bind(name)
        if not config.datagram:
            sock.listen((behaviour and behaviour.backlog) or BACKLOG)
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
        from pync.net.interface import on_interface

        name = on_interface(sock, interface, name)
    if name[0] in ALL_ADDRESSES:
        from pync.endpoints.asked_address import ask_for_addresses

        ask_for_addresses(sock)
    sock.bind(name)


async def bind_unix(context: Context, owner: Identity | None = None) -> Bound:
    """A socket bound to the path or the abstract name that is the config's host. Raises BindError."""
    config = context.config
    path = config.host or ""
    try:
        if not path:  # Linux would choose a name
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        name = unix_name(path)
        if isinstance(name, bytes):
            return Bound(context.loop, [_bind_one(config, socket.AF_UNIX, name)])
        return await _bind_path(context, name, owner)
    except OSError as error:
        address = Address(host=path)
        raise BindError(f"listen on {path}", reason(error), address=address, code=error.errno) from None


async def _bind_path(context: Context, path: str, owner: Identity | None) -> Bound:
    from pync.net.unix_path import bind_path

    config, behaviour = context.config, context.config.behaviour

    def bind_it() -> socket.socket:
        if owner is None:
            return _bind_one(config, socket.AF_UNIX, path)
        from pync.net.privileges import creating_as

        return creating_as(owner, lambda: _bind_one(config, socket.AF_UNIX, path))

    kind = socket.SOCK_DGRAM if config.datagram else socket.SOCK_STREAM
    sock, place = await bind_path(context.loop, path, bind_it, kind)
    bound = Bound(context.loop, [sock], place)
    if behaviour and behaviour.leaves_paths:
        place.leave()
    if config.path_mode is not None or config.path_owner:
        from pync.net.path_rights import check_rights

        try:
            check_rights(place, config.path_mode, owner if config.path_owner else None)
        except BaseException:
            bound.close()
            raise
    return bound
