"""Clients that come, do one small thing and go, some at a time."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path

from soak import Lost
from soak.servers import HOST, Server
from soak.wire import SLOTS, Mixture, marked

from load import Load, Start, Starting
from load.clients import burst, connect, received

QUESTION = b"a small question\n"
ANSWER = b"a small answer\n"
SLOT = SLOTS[0]

Doing = Callable[[Server, int], None]  # what a client does; the number is the port of the target, if there is one


def quick(options: list[str], doing: Doing, *, target: bool = False) -> Start:
    """A server with these options, in which TO stands for a target that sends each client the answer."""

    @contextmanager
    def start(clients: int, folder: Path) -> Iterator[Load]:
        with ExitStack() as stack:
            stdin = stack.enter_context(_answer(folder))
            port = 0
            if target:
                behind = Server("target", folder, stdin=stdin)
                stack.callback(behind.end)
                port = behind.port
                stdin.seek(0)
            words = [f"{HOST}:{port}" if option == "TO" else option for option in options]
            server = Server("quick", folder, *words, stdin=stdin)
            stack.callback(server.end)
            one = partial(doing, server, port)
            yield Load(server, partial(_burst, clients, one), one, one)

    return start


def _answer(folder: Path) -> FileIO:
    path = folder / "answer"
    path.write_bytes(ANSWER)
    return FileIO(path)


@contextmanager
def _burst(clients: int, one: Callable[[], None]) -> Iterator[None]:
    burst(clients, one)
    yield


@contextmanager
def sink(clients: int, folder: Path) -> Starting:
    """Each client sends a byte, which comes to stdout."""
    reader, writer = os.pipe()
    mixture = Mixture(reader)
    try:
        server = Server("sink", folder, stdout=writer)
    finally:
        os.close(writer)
    try:
        yield Load(server, partial(_counted, server, mixture, clients), partial(_sends_one, server, mixture))
    finally:
        server.end()
        mixture.end()


@contextmanager
def _counted(server: Server, mixture: Mixture, clients: int) -> Iterator[None]:
    burst(clients, partial(_sends, server))
    came = len(mixture.take(SLOT, clients))
    if came != clients:
        raise Lost(f"{came} bytes came of {clients} clients with one each")
    yield


def _sends(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(marked(b"\0", SLOT))
        sock.shutdown(socket.SHUT_WR)
        received(sock, 1)


def _sends_one(server: Server, mixture: Mixture) -> None:
    _sends(server)
    if len(mixture.take(SLOT, 1)) != 1:
        raise Lost("its byte has not come to stdout")


# -- What the clients of the others do -------------------------------------------------------------------------------


def echo(server: Server, _: int) -> None:
    """Receive what was sent."""
    with connect(server) as sock:
        sock.sendall(QUESTION)
        sock.shutdown(socket.SHUT_WR)
        _expect(sock, QUESTION)


def answered(server: Server, _: int) -> None:
    """Receive the answer of the target."""
    with connect(server) as sock:
        _expect(sock, ANSWER)


def socks(server: Server, port: int) -> None:
    """The same through a SOCKS proxy."""
    with connect(server) as sock:
        sock.sendall(b"\5\1\0\5\1\0\1" + socket.inet_aton(HOST) + port.to_bytes(2))
        if received(sock, 12)[:4] != b"\5\0\5\0":
            raise Lost("the proxy refuses")
        _expect(sock, ANSWER)


def page(server: Server, _: int) -> None:
    """Get the page."""
    with connect(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = received(sock, 4096)
    if not response.endswith(b"\r\n\r\n" + ANSWER):
        raise Lost(f"the response is {response!r}")


def broker(server: Server, _: int) -> None:
    """Send a line to whatever members there are, and receive some of theirs, or nothing."""
    with connect(server) as sock:
        sock.sendall(QUESTION)
        sock.settimeout(0.001)
        with suppress(TimeoutError):
            sock.recv(4096)


def _expect(sock: socket.socket, expected: bytes) -> None:
    content = received(sock, len(expected) + 1)
    if content != expected:
        raise Lost(f"{content!r} came, not {expected!r}")
