"""A session with an echo by WebSocket: messages of all sizes, in fragments, with pings between them."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from soak import Lost
from soak.place import Place
from soak.sessions import RUDE, rude
from soak.wire import CHUNK, DEADLINE, Chance, check, connect, payload, size, wait

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
PINGS = 0.1  # of the fragments are followed by a ping


def echo(place: Place, name: str, chance: Chance) -> int:
    """A server that returns the bytes that it is sent."""
    count = size(chance)
    data = payload(chance, count)
    chance.way = way = chance.choice(["messages", "messages", "half a frame", *RUDE])
    with connect(place.servers[name]) as sock:
        greeted(sock)
        client = Connection(ConnectionType.CLIENT)
        frames = list(_frames(client, data, chance))
        sent = b"".join(frames)
        if way != "messages":
            rude(sock, "close" if way == "half a frame" else way, sent[: -1 - chance.randrange(9)])
            return 0
        pings = sum(frame[0] & 15 == 9 for frame in frames)
        check(_exchange(sock, client, sent, count, pings), data)
        _close(sock, client)
    return 2 * count


def greeted(sock: socket.socket) -> None:
    """Ask for WebSocket, and read the answer byte by byte, so that nothing behind it is taken."""
    sock.sendall(REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise Lost(f"an answer to a handshake: {head!r}")
        head += byte
    if b" 101 " not in head:
        raise Lost(f"an answer to a handshake: {head!r}")


def _frames(client: Connection, data: bytes, chance: Chance) -> Iterator[bytes]:
    while data:
        part = int(2 ** chance.uniform(0, 20))
        piece, data = data[:part], data[part:]
        yield client.send(BytesMessage(data=piece, message_finished=not data or chance.random() < 0.5))
        if chance.random() < PINGS:
            yield client.send(Ping(payload=piece[:125]))


def _exchange(sock: socket.socket, client: Connection, sent: bytes, count: int, pings: int) -> bytes:
    """Send all, and return what comes back. Raises Lost if a ping is not answered."""
    sock.setblocking(False)
    rest, received, until = memoryview(sent), bytearray(), time.monotonic() + DEADLINE
    while rest or len(received) < count or pings:
        with suppress(*NOT_YET):
            rest = rest[sock.send(rest[:CHUNK]) :] if rest else rest
        with suppress(*NOT_YET):
            while part := sock.recv(CHUNK):
                client.receive_data(part)
                for event in client.events():
                    received += event.data if isinstance(event, BytesMessage) else b""
                    pings -= isinstance(event, Pong)
                until = time.monotonic() + DEADLINE
            raise Lost(f"the end after {len(received)} of {count} bytes, with {pings} pings unanswered")
        if rest or len(received) < count or pings:
            wait(sock, bool(rest), until, f"{len(received)} of {count} bytes have come, {pings} pings are unanswered")
    sock.settimeout(DEADLINE)
    return bytes(received)


def _close(sock: socket.socket, client: Connection) -> None:
    sock.sendall(client.send(CloseConnection(code=1000)))
    while part := sock.recv(CHUNK):
        client.receive_data(part)
        if any(isinstance(event, CloseConnection) for event in client.events()):
            return
    raise Lost("a Close is not answered")
