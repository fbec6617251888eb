"""What plain sockets do in the process tests, and how to wait for what no message announces.

The sockets are those of `harness.connect` or like them: every operation has its time limit. Nothing here knows pync.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from harness import DEADLINE, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORK = 30.0  # seconds for the work of `meanwhile`


def unix_client(path: Path) -> socket.socket:
    """A client of a unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    sock.connect(str(path))
    return sock


def take(conn: socket.socket, size: int) -> bytes:
    """The next `size` bytes, or all until the end-of-file if those are fewer."""
    data = bytearray()
    while len(data) < size and (chunk := conn.recv(min(size - len(data), 1 << 20))):
        data += chunk
    return bytes(data)


def drain(conn: socket.socket) -> bytes:
    """All bytes until the end-of-file."""
    return b"".join(iter(lambda: conn.recv(1 << 16), b""))


def line(conn: socket.socket) -> bytes:
    """The next line. It is received byte by byte, so that nothing after it is taken."""
    data = b""
    while not data.endswith(b"\n") and (byte := conn.recv(1)):
        data += byte
    return data


def ask(port: int, question: bytes = b"", host: str = "127.0.0.1") -> bytes:
    """Send a question and its end, and read the whole answer."""
    with connect(port, host) as conn:
        conn.sendall(question)
        conn.shutdown(socket.SHUT_WR)
        return drain(conn)


def datagrams(port: int) -> socket.socket:
    """A UDP socket that exchanges datagrams with this port only."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.connect(("127.0.0.1", port))
    return sock


def reset(conn: socket.socket) -> None:
    """Close a TCP connection by a reset."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def pour(conn: socket.socket) -> None:
    """Send without end, until the connection breaks or takes no more."""
    with contextlib.suppress(OSError):
        while True:
            conn.sendall(bytes(1 << 16))


@contextlib.contextmanager
def meanwhile(work: Callable[..., object], *args: object) -> Iterator[None]:
    """Run `work(*args)` in a thread. It must have returned at the end; what it raised is then raised here."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    yield
    thread.join(WORK)
    assert not thread.is_alive(), f"{work} has not returned after {WORK} s"
    if failures:
        raise failures[0]


def is_true(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true of which no event informs, such as the end of a process that is not our child."""
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, f"not so after {DEADLINE} s: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Callable[[], None]]:
    """Gives a function that waits until a process that is not our child has ended. The process is killed on leaving."""
    descriptor = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)

    def wait() -> None:
        assert poll.poll(DEADLINE * 1000), f"process {pid} is there {DEADLINE} s later"

    try:
        yield wait
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
