"""Clients that stay: they send nothing, receive what one of them sends, or are slow to take a file."""

import os
import random
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from soak import Lost
from soak.servers import Server

from load import Load, Starting
from load.clients import DEADLINE, THREADS, connect, holding, received

FILE = random.Random(3).randbytes(200_000)  # more than the buffers of a connection take, with the clients' small ones
PROBE_EVERY = 0.3  # seconds; each probe is sent to all members
SMALL = 4096  # bytes of a client's receive buffer
LINE = b"a line\n"
MESSAGE = b"a message to all of them, which is as long as a line of a log or of a chat often is, perhaps longer\n"


@contextmanager
def idle(clients: int, folder: Path) -> Starting:
    """Neither the clients nor the server send anything; the line of one more comes to stdout."""
    (stdin, keep), (stdout, writer) = os.pipe(), os.pipe()
    try:
        server = Server("idle", folder, stdin=stdin, stdout=writer)
        try:
            yield Load(
                server, partial(held, server, clients), partial(_sends, server, stdout), partial(os.write, keep, LINE)
            )
        finally:
            server.end()
    finally:
        for descriptor in stdin, keep, stdout, writer:
            os.close(descriptor)


@contextmanager
def held(server: Server, clients: int, first: bytes = b"") -> Iterator[None]:
    """Clients that are there, and have sent no more than their first bytes."""
    with holding(server, clients, first):
        yield


def _sends(server: Server, stdout: int) -> None:
    with connect(server) as sock:
        sock.sendall(LINE)
        came = os.read(stdout, len(LINE)) if select.select([stdout], [], [], DEADLINE)[0] else b""
        if came != LINE:
            raise Lost(f"{came!r} has come to stdout, not its line")


@contextmanager
def broker(clients: int, folder: Path) -> Starting:
    """Each client receives what one of them sends; so does one more."""
    server = Server("broker", folder, "--broker")
    try:
        hears = partial(_hears, server)
        yield Load(server, partial(_addressed, server, clients), hears, hears)
    finally:
        server.end()


@contextmanager
def _addressed(server: Server, clients: int) -> Iterator[None]:
    with holding(server, clients) as socks:
        socks[0].sendall(MESSAGE)
        for number, sock in enumerate(socks[1:], 2):
            if received(sock, len(MESSAGE)) != MESSAGE:
                raise Lost(f"client {number} of {clients} has not received the message")
        yield


def _hears(server: Server) -> None:
    """A new client receives what another new one sends (the second sends until the first is a member)."""
    with connect(server) as reader, connect(server) as writer:
        reader.settimeout(PROBE_EVERY)
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            writer.sendall(b"x")
            try:
                if reader.recv(1):
                    return
            except TimeoutError:
                pass
    raise Lost("a new member receives nothing")


@contextmanager
def file(clients: int, folder: Path) -> Starting:
    """Each client gets a file, and takes nothing until all are there; one more gets all of it meanwhile."""
    path = folder / "content"
    path.write_bytes(FILE)
    with path.open("rb") as stdin:
        server = Server("file", folder, stdin=stdin)
    try:
        yield Load(server, partial(_slow, server, clients), partial(_gets_file, server))
    finally:
        server.end()


@contextmanager
def _slow(server: Server, clients: int) -> Iterator[None]:
    with holding(server, clients, receive_buffer=SMALL) as socks:
        yield
        with ThreadPoolExecutor(THREADS) as pool:
            deque(pool.map(_check_file, socks, range(1, clients + 1)), maxlen=0)


def _check_file(sock: socket.socket, number: int) -> None:
    content = received(sock, len(FILE) + 1)
    if content != FILE:
        raise Lost(f"client {number} has received {len(content)} bytes of {len(FILE)}")


def _gets_file(server: Server) -> None:
    with connect(server) as sock:
        _check_file(sock, 0)
