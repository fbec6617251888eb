"""A netcat and the socket at its other end, in every role: what the cases of `tests/faults` are made of.

    with met(tool, Use("listener"), stdin=file) as (process, conn): …

The sockets have small buffers, so that a transfer of a few megabytes is not over before a fault happens to it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from harness import DEADLINE, DEVNULL, PAYLOAD, Running
from netcats import NeverMet, alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO, Any

    from netcats import Netcat, Use

    Meeting = tuple[Running, socket.socket]

BUFFER = 1 << 16  # bytes
PATIENCE = 20.0  # seconds for one operation on a socket

payload = functools.cache(PAYLOAD)


@contextlib.contextmanager
def met(tool: Netcat, use: Use, *, before: Sequence[str] = (), **popen: Any) -> Iterator[Meeting]:
    """A tool that is connected with the test. Its stdin is /dev/null unless it is given another."""
    popen = {"stdin": DEVNULL, **popen}
    if use.listens:
        with tool.start(use, before, **popen) as process, connection(process, use) as conn:
            yield process, conn
        return
    with listening(use.unix) as server:
        there = use if use.unix else use._replace(port=server.getsockname()[1])
        with tool.start(there, before, **popen) as process, accepted(server, process) as conn:
            yield process, conn


@contextlib.contextmanager
def listening(path: Path | None = None) -> Iterator[socket.socket]:
    """A listening socket of the test."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        server.bind(str(path) if path else ("127.0.0.1", 0))
        server.listen(128)
        server.settimeout(1)  # `accepted` has waited already
        yield server


def accepted(server: socket.socket, process: Running) -> socket.socket:
    """The connection of a tool that connects."""
    until = time.monotonic() + DEADLINE
    while not select.select([server], [], [], 0.05)[0] and time.monotonic() < until:
        if not alive(process):
            raise NeverMet(process)
    conn = server.accept()[0]
    conn.settimeout(PATIENCE)
    return conn


def connection(process: Running, use: Use) -> socket.socket:
    """A new connection to a tool that listens."""
    conn = socket.socket(socket.AF_UNIX if use.unix else socket.AF_INET)
    conn.settimeout(PATIENCE)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    try:
        conn.connect(str(use.unix) if use.unix else (use.host, process.port))
    except BaseException:
        conn.close()
        raise
    return conn


def received(conn: socket.socket, size: int = 1 << 40, pause: float = 0, chunk: int = 1 << 16) -> bytes:
    """The next `size` bytes, or what comes before the connection's end or break, with a pause after each read."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(data) < size and (piece := conn.recv(min(chunk, size - len(data)))):
            data += piece
            if pause:
                time.sleep(pause)  # the reader is slow: that is the fault
    return bytes(data)


@contextlib.contextmanager
def sending(conn: socket.socket, data: bytes, *, end: bool = True) -> Iterator[None]:
    """Sends in a thread, and then half-closes. A connection that breaks ends that, or the context, if it is stuck."""

    def send() -> None:
        with contextlib.suppress(OSError):
            conn.sendall(data)
            if end:
                conn.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(1)
        if thread.is_alive():
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


@contextlib.contextmanager
def file_of(folder: Path, data: bytes) -> Iterator[IO[bytes]]:
    """A file with these bytes, open for reading."""
    (folder / "stdin").write_bytes(data)
    with (folder / "stdin").open("rb") as file:
        yield file


@contextlib.contextmanager
def unread_pipe() -> Iterator[IO[bytes]]:
    """A pipe from which nothing is read, open for writing."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as stdout:
        yield stdout


def read_slowly(descriptor: int, size: int = 1 << 40, pause: float = 0.002, chunk: int = 1 << 14) -> bytes:
    """What comes from a pipe until its end, with a pause after each read."""
    data = bytearray()
    while len(data) < size and select.select([descriptor], [], [], PATIENCE)[0]:
        try:
            piece = os.read(descriptor, min(chunk, size - len(data)))
        except BlockingIOError:
            continue
        if not piece:
            break
        data += piece
        time.sleep(pause)  # the reader is slow: that is the fault
    return bytes(data)


def shell(script: str) -> list[str]:
    """Words that run a command after a script of the shell, which ends in `exec "$@"`."""
    return ["sh", "-c", script, "sh"]


def settled(condition: Callable[[], bool], seconds: float = DEADLINE) -> bool:
    """Whether a condition, of which no event informs, becomes true within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def program(folder: Path, script: str) -> Path:
    """An executable file with a script of the shell: a program without arguments, which no tool has to quote."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
