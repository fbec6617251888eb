"""A pync and the socket at its other end, in both roles: what the process tests of TCP and unix streams are made of.

`client` and `listener` start pync, connect it with a socket of the test and give both. They must never decide
anything: what is sent, closed or waited for stands in the test.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

from harness import DEADLINE, PYNC, Running, announced, connect, pync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    Pair = tuple[Running, socket.socket]


@contextlib.contextmanager
def client(*options: str, path: Path | None = None, start: Callable[..., Running] = pync, **kw: Any) -> Iterator[Pair]:
    """A pync that has connected to us; over a unix socket if there is a path."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as server:
        server.bind(str(path) if path else ("127.0.0.1", 0))
        server.listen()
        server.settimeout(DEADLINE)
        goal = ["-U", str(path)] if path else ["127.0.0.1", str(server.getsockname()[1])]
        with start(*options, *goal, **kw) as process, server.accept()[0] as peer:
            peer.settimeout(DEADLINE)
            yield process, peer


@contextlib.contextmanager
def listener(
    *options: str, path: Path | None = None, start: Callable[..., Running] = pync, **kw: Any
) -> Iterator[Pair]:
    """A pync that has accepted us; over a unix socket if there is a path."""
    where = ["-U", str(path)] if path else ["127.0.0.1", "0"]
    with announced(start("-v", "-l", *options, *where, **kw)) as process, _connect(process.port, path) as peer:
        process.expect("^Connection received")
        yield process, peer


def _connect(port: int, path: Path | None) -> socket.socket:
    if path is None:
        return connect(port)
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(DEADLINE)
    peer.connect(str(path))
    return peer


def through(script: str) -> Callable[..., Running]:
    """Starts pync by a script of the shell that ends in `exec "$@"`."""
    return lambda *args, **kw: Running(["sh", "-c", script, "sh", *PYNC, *args], **kw)


def complaints(process: Running) -> list[str]:
    """The error messages so far, without what -v tells."""
    return [line for line in process.stderr.splitlines() if line.startswith("pync: ")]


def drain(peer: socket.socket) -> bytes:
    """All that comes until the end-of-file."""
    return b"".join(iter(lambda: peer.recv(1 << 16), b""))


def take(peer: socket.socket, size: int) -> bytes:
    """So many bytes, or what comes until the end-of-file if that is less."""
    data = bytearray()
    while len(data) < size and (chunk := peer.recv(min(size - len(data), 1 << 20))):
        data += chunk
    return bytes(data)


def reset(peer: socket.socket) -> None:
    """Close a TCP connection by a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def exchange(process: Running, peer: socket.socket) -> None:
    """Three lines, each waited for: what happened to pync before has been acted on by then."""
    for line in b"1\n", b"2\n", b"3\n":
        peer.sendall(line)
        assert process.read(2) == line


def nothing_from(peer: socket.socket, seconds: float = 0) -> bool:
    """Whether neither data nor an end-of-file comes within so many seconds."""
    return not select.select([peer], [], [], seconds)[0]


def lives_on(pid: int, seconds: float) -> bool:
    """Whether the process is still there after so many seconds."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([pidfd], [], [], seconds)[0]
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def stuck_port() -> Iterator[int]:
    """A port that neither accepts nor refuses: its backlog is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        connected = True
        while connected:
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
            connected = bool(select.select([], [waiting], [], 0.2)[1])
        yield server.getsockname()[1]
