"""The sockets that were passed to this process: by systemd or podman (sd_listen_fds(3)), or by inetd(8) as stdin.

Theory: a listening socket is used as if we had bound it, but it stays open in the process that has passed it. So a
socket for datagrams must not be connected to its first sender: all later ones would be kept out. A socket that is
connected is the only client of this run (Accept=yes, or inetd's "nowait").

If stdin is the socket, stdout and stderr often are as well. They become /dev/null, because what is printed there would
be sent to the client.
"""

from __future__ import annotations

import os

from pync.errors import BindError, UsageError, reason
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config

FIRST = 3  # SD_LISTEN_FDS_START
FAMILIES = {
    "any": (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX),
    "ipv4": (socket.AF_INET,),
    "ipv6": (socket.AF_INET6,),
    "unix": (socket.AF_UNIX,),
}


def inherited(config: Config) -> tuple[list[socket.socket], socket.socket | None]:
    """The listening sockets that were passed to us, or the connection of the only client, as the config asks for them.

    Raises BindError, UsageError.
    """
    passed = _from_manager(config.inherited or ()) if has_manager() else [("stdin", _from_stdin(config))]
    sockets: list[socket.socket] = []
    client = None
    for name, sock in passed:
        sock.setblocking(False)
        if _is_client(config, f"use socket {name}", sock):
            client = sock
        else:
            sockets.append(sock)
    if client and (len(passed) > 1 or config.also or config.keep_open):
        raise UsageError("-l with a connection that was passed to pync", "it is the only client, without -k")
    return sockets, client


def has_manager() -> bool:
    """Whether a service manager has passed sockets to this very process."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"


def stdin_is_a_client() -> bool:
    """Whether stdin is a socket with a name, as inetd passes it."""
    try:
        stdin = socket.socket(fileno=os.dup(0))
    except OSError:
        return False
    try:
        return bool(stdin.getsockname())
    except OSError:
        return False
    finally:
        stdin.close()


def keep_messages_from_client() -> None:
    """Make stderr /dev/null if it is the same socket as stdin. To be called before anything is written there."""
    if os.path.samestat(os.fstat(0), os.fstat(2)):
        _become_null(2)


def _become_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)


def _from_manager(names: tuple[str, ...]) -> list[tuple[str, socket.socket]]:
    """The sockets that the environment describes, with their names. Those that are not asked for are closed."""
    count = os.environ.pop("LISTEN_FDS")
    given = os.environ.pop("LISTEN_FDNAMES", "")
    os.environ.pop("LISTEN_PID", None)
    if not (count.isascii() and count.isdigit()):
        raise BindError("use the sockets that were passed to pync", f"LISTEN_FDS is {count}")
    labels = given.split(":") if given else []
    found: list[tuple[str, socket.socket]] = []
    for place in range(min(int(count), os.sysconf("SC_OPEN_MAX"))):
        label = labels[place] if place < len(labels) else str(FIRST + place)
        sock = _socket(f"use descriptor {FIRST + place} ({label})", FIRST + place)
        if names and label not in names:
            sock.close()
        else:
            found.append((label, sock))
    if missing := [name for name in names if name not in labels]:
        raise BindError(f"use socket {missing[0]}", f"the sockets that were passed to pync are {given or 'nameless'}")
    return found


def _socket(what: str, fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        return socket.socket(fileno=fd)
    except OSError as error:
        raise BindError(what, reason(error)) from None


def _from_stdin(config: Config) -> socket.socket:
    """stdin, which is /dev/null from now on, and so is stdout if that is the same socket."""
    has_stdout = not os.path.samestat(os.fstat(0), os.fstat(1))
    if not (has_stdout or config.program or config.target or config.serve_proxy):
        raise UsageError("-l with the client as stdin", "name a program (-e, -c, --filter), or a target (--to)")
    sock = _socket("use stdin", os.dup(0))
    _become_null(0)
    if not has_stdout:
        _become_null(1)
    return sock


def _is_client(config: Config, what: str, sock: socket.socket) -> bool:
    """Whether the socket is the connection of a client. Raises BindError if it is not one that the options are for."""
    if sock.type == socket.SOCK_DGRAM and not config.datagram:
        raise BindError(what, "it is for datagrams, which need -u")
    if sock.type != (socket.SOCK_DGRAM if config.datagram else socket.SOCK_STREAM):
        raise BindError(what, "it is not for datagrams; leave out -u" if config.datagram else "it is no stream")
    if sock.family not in FAMILIES[config.family]:
        raise BindError(what, f"its address is not of the family that was asked for ({config.family})")
    if config.datagram:
        if not config.keep_open:
            raise UsageError("-lu with a socket that was passed to pync", "its other owner keeps it open: add -k")
        return False
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    try:
        sock.getpeername()
    except OSError as error:
        raise BindError(what, f"it does not listen, and has no client: {reason(error)}") from None
    return True
