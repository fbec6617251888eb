"""Clients that begin a dialogue and do not go on: a handshake, a head, the greeting of a proxy."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from soak import Lost
from soak.servers import HOST, Server
from soak.websocket import greeted
from soak.wire import connect as encrypted
from soak.wire import exchange

from load import Load, Start
from load.clients import connect, received
from load.crowds import held
from load.quick import QUESTION, page


def silent(options: list[str], first: bytes, next_client: Callable[[Server], None]) -> Start:
    """A server with these options, and clients that send nothing after their first bytes."""

    @contextmanager
    def start(clients: int, folder: Path) -> Iterator[Load]:
        path = folder / "answer"
        path.write_bytes(b"a small answer\n")
        with path.open("rb") as stdin:
            server = Server("silent", folder, *options, stdin=stdin)
        try:
            yield Load(server, partial(held, server, clients, first), partial(next_client, server))
        finally:
            server.end()

    return start


def shakes_hands(server: Server) -> None:
    """A TLS client, whose bytes come back."""
    with encrypted(server) as sock:
        if exchange(sock, QUESTION, len(QUESTION)) != QUESTION:
            raise Lost("not the bytes that were sent")


def is_named(server: Server) -> None:
    """A client behind a load balancer, whose bytes come back."""
    with connect(server) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.7 1 2\r\n" + QUESTION)
        if received(sock, len(QUESTION)) != QUESTION:
            raise Lost("not the bytes that were sent")


def gets_a_message(server: Server) -> None:
    """A client by WebSocket, which gets the answer as a message."""
    with connect(server) as sock:
        greeted(sock)
        if received(sock, 17) != b"\x82\x0fa small answer\n":
            raise Lost("not the message")


def asks(server: Server) -> None:
    """A client that gets the page."""
    page(server, 0)


def goes_through_socks(server: Server) -> None:
    """A client that gets a connection to a socket of this process."""
    _through(server, b"\5\1\0\5\1\0\1\x7f\0\0\1%b", b"\5\0\5\0")


def goes_through_http(server: Server) -> None:
    """Likewise."""
    _through(server, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 ")


def _through(server: Server, request: bytes, reply: bytes) -> None:
    with socket.create_server((HOST, 0)) as target, connect(server) as sock:
        port: int = target.getsockname()[1]
        sock.sendall(request % (port.to_bytes(2) if b"%b" in request else port))
        if (came := received(sock, len(reply))) != reply:
            raise Lost(f"the proxy answers {came!r}")
