"""Getting a connected socket: every address of a name, one family not waiting for the other.

Theory (RFC 8305, Happy Eyeballs): the addresses are tried with the families taking turns, a new attempt begins a
quarter of a second after the last one or as soon as one fails, and the first connection that stands wins.
"""

from __future__ import annotations

import errno
import os
from itertools import zip_longest

from pync.errors import AddressError, BindError, ConnectError, TimedOut, reason
from pync.events import Connected, ConnectFailed, as_address
from pync.loop.tasks import Condition
from pync.net.options import new_socket, tune
from pync.net.resolve import resolve
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pync.config import Config
    from pync.events import Report
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

ATTEMPT_DELAY = 0.25  # seconds (RFC 8305 §5)
BUSY_DELAY = 0.01  # seconds until a unix listener whose backlog is full is tried again


def transport(config: Config) -> str:
    """The word for what carries the conversation: tcp, udp, sctp, unix or vsock."""
    if config.family in ("unix", "vsock"):
        return config.family
    return "sctp" if config.sctp else "udp" if config.datagram else "tcp"


def goal(config: Config, port: int | None) -> str:
    """What is attempted, in words."""
    return f"connect to {config.host}" + (f" port {port} ({transport(config)})" if port is not None else "")


async def dial(
    loop: Loop, config: Config, port: int | None, report: Report, without: Sequence[Any] = ()
) -> tuple[socket.socket, Any]:
    """A connected socket to the config's host, on this port (None: a unix path), and the name of its peer.

    The names in `without` are passed over. Raises AddressError, ConnectError, BindError, or TimedOut after
    `connect_timeout` seconds.
    """
    try:
        sock, name = await loop.within(config.connect_timeout, _reach(loop, config, port, report, without))
    except TimeoutError:
        raise TimedOut(goal(config, port), "timed out") from None
    except OSError as error:
        raise ConnectError(f"{goal(config, port)} failed", reason(error)) from None
    tune(sock)
    report(Connected(host=config.host or "", address=as_address(name), transport=transport(config)))
    return sock, name


async def _reach(
    loop: Loop, config: Config, port: int | None, report: Report, without: Sequence[Any]
) -> tuple[socket.socket, Any]:
    if port is None:
        name = unix_name(config.host or "")
        return await attempt(loop, config, socket.AF_UNIX, name, _own_unix_name(config))
    found = await resolve(loop, config.host, port, config.family, datagram=config.datagram, numeric=config.numeric)
    own = await own_names(loop, config)
    waiting = [(family, name, own) for family, name in take_turns(found) if name not in without]
    return await _race(loop, config, waiting, report)


def unix_name(path: str) -> str | bytes:
    """A unix path as the system wants it: `@name` is an abstract one (unix(7))."""
    return b"\0" + os.fsencode(path[1:]) if path.startswith("@") else path


def take_turns(found: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The families one by one, beginning with that of the first address (RFC 8305 §4)."""
    found = list(found)
    first = [item for item in found if item[0] == found[0][0]]
    other = [item for item in found if item[0] != found[0][0]]
    return [item for pair in zip_longest(first, other) for item in pair if item]


async def _race(
    loop: Loop, config: Config, waiting: list[tuple[int, Any, Any]], report: Report
) -> tuple[socket.socket, Any]:
    ended = Condition()
    running: dict[Task, Any] = {}
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    try:
        while waiting or running:
            if waiting:
                family, name, own = waiting.pop(0)
                running[loop.spawn(attempt(loop, config, family, name, own), ended)] = name
            await loop.wait(ended, loop.clock() + ATTEMPT_DELAY if waiting else None)
            for task in [task for task in running if task.done]:
                name = running.pop(task)
                if not isinstance(task.error, OSError):
                    return task.result()  # type: ignore[no-any-return]
                failure = task.error
                _tell(config, name, failure, report)
        raise failure
    finally:
        await _abandon(loop, running)


def _tell(config: Config, name: Any, failure: OSError, report: Report) -> None:
    host, why = config.host or "", reason(failure)
    report(ConnectFailed(host=host, address=as_address(name), transport=transport(config), why=why))


async def _abandon(loop: Loop, running: dict[Task, Any]) -> None:
    """End the attempts that did not win; one may just have got its connection."""
    await loop.cancel_and_wait(*running)
    for task in running:
        if task.error is None:
            task.result()[0].close()


async def attempt(loop: Loop, config: Config, family: int, name: Any, own: Any) -> tuple[socket.socket, Any]:
    """One connection to one address, from `own` if that is not None, and the name of its other end.

    Raises OSError, BindError, ConnectError.
    """
    sock = new_socket(family, config.socket, datagram=config.datagram, sctp=config.sctp)
    try:
        bind_own(sock, own)
        while (code := sock.connect_ex(name)) == errno.EAGAIN:  # unix: the listener's backlog is full
            await loop.sleep(BUSY_DELAY)
        if code == errno.EINPROGRESS:
            await loop.writable(sock.fileno())
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        peer = peer_name(sock, name)
        if code == 0 and family != socket.AF_UNIX and sock.getsockname() == peer:
            code = errno.ECONNREFUSED  # nobody was there: we met ourselves on an ephemeral port
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        loop.forget(sock.fileno())
        if config.datagram:
            from pync.endpoints.datagrams import remove_own_path

            remove_own_path(sock)
        sock.close()
        raise
    return sock, peer


def peer_name(sock: socket.socket, name: Any) -> Any:
    """What the other end is bound to; `name`, by which it was reached, if the connection is lost again already."""
    try:
        return sock.getpeername()
    except OSError:
        return name


def bind_own(sock: socket.socket, own: Any) -> None:
    """Bind to what `own_names` gave for this family, if anything. Raises BindError, OSError (EAFNOSUPPORT)."""
    if isinstance(own, dict):
        if sock.family not in own:
            raise OSError(errno.EAFNOSUPPORT, "the source address is of the other family")
        own = own[sock.family]
    if own is None:
        return
    if sock.type == socket.SOCK_STREAM:  # two addresses may be tried at a time, both from one port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(own)
    except OSError as error:
        raise BindError(f"bind to {as_address(own)}", reason(error)) from None


async def own_names(loop: Loop, config: Config) -> dict[int, Any] | None:
    """Our own end's address for each family, if one was asked for."""
    if config.source_host is None and config.source_port is None:
        return None
    port = config.source_port or 0
    found = await resolve(
        loop, config.source_host, port, config.family, datagram=config.datagram, numeric=config.numeric
    )
    own: dict[int, Any] = {}
    for family, name in found:
        own.setdefault(family, name)
    if not own:
        raise AddressError(f"host {config.source_host}", "no address")
    return own


def _own_unix_name(config: Config) -> Any:
    """For unix datagrams: our own end, to which answers come. Linux chooses an abstract name for an empty one."""
    if not config.datagram:
        return None
    return unix_name(config.source_host) if config.source_host else b""
