"""The end-of-file on a stdout that is a socket: under inetd, systemd and `--exec` stdin is the same socket.

Theory: closing one descriptor of a socket tells the other side nothing while another one is open, such as stdin. So the
end-of-file is a shutdown(2), because the other side may wait for it before it ends. But a shutdown is for every process
that has the socket, and commands that run after pync may still want to write. So it is left out where the other side
has ended: then stdin ends without it, and pync too. (The pipes of ksh are sockets whose other side never writes.)

A module of its own, because few runs have such a stdout.
"""

from __future__ import annotations

from pync.system import socket
from pync.system.looks import has_ended


def end(sock: socket.socket) -> None:
    """Half-close the socket, unless its other side has ended, and close this descriptor of it."""
    if not has_ended(sock.fileno()):
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the connection is broken, and needs no end
            pass
    sock.close()
