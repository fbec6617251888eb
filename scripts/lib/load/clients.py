"""Connections to a server under load, from many addresses, so that no port runs short."""

import itertools
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from soak import Lost
from soak.servers import LOOK, Server
from soak.wire import RESET

DEADLINE = 30.0  # seconds for a client to get on
THREADS = 16  # clients of a burst at a time
NO_PORT_YET = 24  # IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect, and need not be unique
SPARE = 100  # descriptors of this process that are no clients
_sources = itertools.cycle(f"127.0.1.{last}" for last in range(1, 255))


def connect(server: Server, receive_buffer: int = 0) -> socket.socket:
    """A connection that has sent nothing."""
    sock = socket.socket()
    try:
        sock.settimeout(DEADLINE)
        sock.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((next(_sources), 0))
        sock.connect(server.address)
    except BaseException:
        sock.close()
        raise
    return sock


def received(sock: socket.socket, count: int) -> bytes:
    """The next `count` bytes, or as many as come before the end."""
    parts = []
    while count and (part := sock.recv(min(count, 1 << 16))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


@contextmanager
def holding(server: Server, count: int, first: bytes = b"", receive_buffer: int = 0) -> Iterator[list[socket.socket]]:
    """So many clients, each of which has sent these bytes. Half of them leave by a reset, the others by a close.

    All are accepted: at least one descriptor is there for each. Raises Lost if they are not.
    """
    socks: list[socket.socket] = []
    before = server.usage().descriptors
    try:
        for _ in range(count):
            sock = connect(server, receive_buffer)
            socks.append(sock)
            if first:
                sock.sendall(first)
        until = time.monotonic() + DEADLINE
        while (accepted := server.usage().descriptors - before) < count:
            if time.monotonic() > until:
                raise Lost(f"only {accepted} of {count} clients are accepted after {DEADLINE} s")
            time.sleep(LOOK)
        yield socks
    finally:
        for number, sock in enumerate(socks):
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()


def burst(count: int, one: Callable[[], None]) -> None:
    """Clients that come and go, some at a time. Raises what one of them has raised."""
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(one) for _ in range(count)]:
            done.result()


def raise_limit(needed: int) -> int:
    """Allow this process and its servers as many descriptors as they need, or may have; how many these are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, needed), max(hard, needed)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
