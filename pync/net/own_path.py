"""The path of our own end of unix datagrams by a `Behaviour`: in a directory of its own, or one that is left behind.

Theory: the peer answers to this path. A directory that only we may enter needs no care for what may be at the path
already, and it is removed with the socket, whatever ends the run. A path that the user has named is taken over from a
dead socket alone, as that of a listener (`unix_path.py`). It is reported before anything can be sent to it.

A module of its own, because a client whose own end has no path, or one of pync's own choice, does not import it.
"""

from __future__ import annotations

import os

from pync.endpoints.datagrams import OwnPath
from pync.events import Address
from pync.listener_events import Listening
from pync.net.attempt import peer_name
from pync.net.bind import bind_unix
from pync.net.resolve import unix_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.behaviour import Behaviour
    from pync.config import Config
    from pync.context import Context
    from pync.net.attempt import Connection
    from pync.system import socket

NAME = "recv.sock"


async def connect_from_path(context: Context, behaviour: Behaviour) -> Connection:
    """A socket that is bound to our own path and connected to the config's. Raises BindError, OSError."""
    config = context.config
    path = config.source_host or os.path.join(_new_directory(), NAME)
    bound = await bind_unix(context.derive(config.but(host=path)))
    for place in bound.paths:
        place.leave()
    (sock,) = bound.sockets
    context.report(Listening(address=Address(host=path), transport="unix"))
    try:
        name = unix_name(config.host or "")
        sock.connect(name)
    except BaseException:
        if own := own_path(config, behaviour, sock):
            own.remove()
        sock.close()
        raise
    return sock, peer_name(sock, name)


def own_path(config: Config, behaviour: Behaviour, sock: socket.socket) -> OwnPath | None:
    """What is to be removed with the socket of a client: nothing, its path, or its directory, too."""
    if config.source_host and behaviour.leaves_paths:
        return None
    return OwnPath(sock) if config.source_host or not behaviour.temporary_path else TemporaryPath(sock)


class TemporaryPath(OwnPath):
    """A path in a directory that holds nothing else."""

    def remove(self) -> None:
        """Remove the path and its directory. Doing it again changes nothing."""
        super().remove()
        try:
            os.rmdir(os.path.dirname(self.name or ""))
        except OSError:
            pass


def _new_directory() -> str:
    """A new directory below /tmp into which no other user may look."""
    while True:
        path = f"/tmp/nc-{os.urandom(3).hex()}"
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        return path
