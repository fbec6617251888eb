"""What plain sockets say and hear in the process tests, and how to wait for what nothing tells of.

The sockets are those of `harness.connect` or like them: every operation has its time limit. Nothing here knows pync.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING

from harness import DEADLINE, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def exactly(conn: socket.socket, size: int) -> bytes:
    """The next `size` bytes; fewer only at the end."""
    data = b""
    while len(data) < size and (chunk := conn.recv(size - len(data))):
        data += chunk
    return data


def line(conn: socket.socket) -> bytes:
    """The next line, byte by byte: nothing of what follows is taken."""
    data = b""
    while not data.endswith(b"\n") and (byte := conn.recv(1)):
        data += byte
    return data


def everything(conn: socket.socket) -> bytes:
    """All that comes until the end-of-file."""
    data = bytearray()
    while chunk := conn.recv(1 << 16):
        data += chunk
    return bytes(data)


def ask(port: int, question: bytes = b"", host: str = "127.0.0.1") -> bytes:
    """Send a question and its end, and read the whole answer."""
    with connect(port, host) as conn:
        conn.sendall(question)
        conn.shutdown(socket.SHUT_WR)
        return everything(conn)


def datagrams(port: int) -> socket.socket:
    """A UDP socket that talks to the port, and to nobody else."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.connect(("127.0.0.1", port))
    return sock


def reset(conn: socket.socket) -> None:
    """Break the connection: the peer gets a reset instead of an end-of-file."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def pour(conn: socket.socket) -> None:
    """Send without end, until the connection breaks or takes no more."""
    with contextlib.suppress(OSError):
        while True:
            conn.sendall(bytes(1 << 16))


def is_true(condition: Callable[[], bool], what: str) -> None:
    """Wait until what nothing tells of is so: the end of a process that is not our child."""
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, f"not so after {DEADLINE} s: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Callable[[], None]]:
    """Inside, call what is given to wait until this process, which is not our child, has ended; kills it at last."""
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
