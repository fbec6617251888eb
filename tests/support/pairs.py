"""A pync and the socket at its other end, in both roles: what the process tests of TCP and unix streams are made of.

`client` and `listener` start pync, connect it with a socket of the test and give both. They must never decide
anything: the test itself says what is sent, closed and waited for.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING

from clients import drain as drain  # also for test modules that need nothing else of it
from clients import take as take
from harness import DEADLINE, PYNC, UNMEASURED, Running, announced, connect, pync, without_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO, Any

    Pair = tuple[Running, socket.socket]


@contextlib.contextmanager
def client(*options: str, path: Path | None = None, start: Callable[..., Running] = pync, **kw: Any) -> Iterator[Pair]:
    """A pync that has connected to the test, over a unix socket if there is a path."""
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
    """A pync that has accepted a connection of the test, over a unix socket if there is a path."""
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
    """Starts pync by a script of the shell that ends in `exec "$@"`.

    Where the script closes a descriptor, coverage would open its own file there, before pync begins.
    """
    env = UNMEASURED if "&-" in script else None
    return lambda *args, **kw: Running(["sh", "-c", script, "sh", *PYNC, *args], **{"env": env, **kw})


def complaints(process: Running) -> list[str]:
    """The error messages so far, without what -v adds."""
    return [line for line in without_ends(process.stderr).splitlines() if line.startswith("pync: ")]


def exchange(process: Running, peer: socket.socket) -> None:
    """Three lines, each waited for. By then pync has acted on everything that happened to it before."""
    for line in b"1\n", b"2\n", b"3\n":
        peer.sendall(line)
        assert process.read(2) == line


def nothing_from(peer: socket.socket, seconds: float = 0) -> bool:
    """Whether neither data nor an end-of-file arrives within `seconds`."""
    return not select.select([peer], [], [], seconds)[0]


def lives_on(pid: int, seconds: float) -> bool:
    """Whether the process is still there after `seconds`."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([pidfd], [], [], seconds)[0]
    finally:
        os.close(pidfd)


# -- What is full ------------------------------------------------------------------------------------------------

FULL = 0.3  # seconds for which a descriptor has refused more bytes when it counts as full


@contextlib.contextmanager
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Both ends of a pipe, unbuffered."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        yield reader, writer


@contextlib.contextmanager
def stuffed_pipe() -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """A pipe, and a function that fills it until pync takes no more from it, and returns the number of bytes.

    pync is given the pipe as its stdin, and a peer that receives nothing.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def fill() -> int:
        size = 0
        while select.select([], [writing], [], FULL)[1]:
            size += os.write(writing, bytes(1 << 16))
        return size

    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        yield stdin, fill


def flood(peer: socket.socket, block: bytes) -> bytes:
    """Send `block` again and again until pync receives no more, because its stdout is full; what was sent.

    How much that is depends on the kernel: a pipe of 1 MiB has held 6 MB, for it counts pages, and spliced ones are
    large.
    """
    sent = bytearray()
    peer.setblocking(False)
    while select.select([], [peer], [], FULL)[1]:
        sent += block[: peer.send(block)]
    peer.settimeout(DEADLINE)
    return bytes(sent)


@contextlib.contextmanager
def stuck_port() -> Iterator[int]:
    """A port that neither accepts nor refuses connections: its backlog is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        connected = True
        while connected:
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
            connected = bool(select.select([], [waiting], [], 0.2)[1])
        yield server.getsockname()[1]
