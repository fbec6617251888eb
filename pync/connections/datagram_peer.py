"""The peer at the other end of a datagram socket that was connected: one host, or a group of them.

A module of its own, because a connection over a stream does not import it. Connecting has found out whether there is a
route to the group, and our own address on it; to be answered by its members the socket must not be connected.
"""

from __future__ import annotations

from pync.endpoints.datagrams import DatagramSocket
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.context import Context


def datagram_peer(context: Context, sock: socket.socket, name: Any) -> DatagramSocket:
    """The peer; `name` is its address as the system gives it. Raises ConnectError, BindError."""
    from pync.net.groups import disconnected, is_group

    try:
        # Other netcats connect the socket, and so only the group's own address could answer.
        if context.config.behaviour or not is_group(context.config, sock.family, name):
            peer = DatagramSocket(context.loop, sock, name)
            if sock.family == socket.AF_UNIX and (behaviour := context.config.behaviour):
                from pync.net.own_path import own_path

                peer.own_path = own_path(context.config, behaviour, sock)
            return peer
    except BaseException:
        sock.close()
        raise
    from pync.endpoints.groups import GroupSocket

    return GroupSocket(context.loop, disconnected(context.config, sock), name)
