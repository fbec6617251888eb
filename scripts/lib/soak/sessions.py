"""The kinds of sessions with one client: an echo, a file, an upload, a download, through proxies and forwarders.

Each gets the place with all servers, the name of its server, and the chance that decides everything else. It returns
how many bytes it has accounted for, and raises Lost or OSError.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from soak import Lost
from soak.place import PAGE, Place
from soak.servers import HOST, PYNC, Server
from soak.wire import (
    CHUNK,
    DEADLINE,
    Chance,
    check,
    connect,
    exchange,
    marked,
    payload,
    probe,
    receive,
    reset,
    send,
    size,
)

Session = Callable[[Place, str, Chance], int]
RUDE = ("reset", "close", "leave")  # the ways of a client that ends before the server does


def pync(options: Sequence[str], data: bytes = b"") -> bytes:
    """What a pync that connects receives for its stdin. Raises Lost if it fails."""
    words = [PYNC, *options]
    try:
        ended = subprocess.run(words, input=data, capture_output=True, timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        raise Lost(f"{words} has not ended after {DEADLINE} s") from None
    if ended.returncode or ended.stderr:
        raise Lost(f"{words} has ended with {ended.returncode}: {ended.stderr.decode(errors='replace')[-1000:]}")
    return ended.stdout


def options_for(server: Server) -> list[str]:
    """What a pync needs to connect to it."""
    layers = [*(["--ssl", "--ssl-no-verify"] if server.tls else []), *(["--ws"] if server.websocket else [])]
    return [*layers, *server.operands]


def rude(sock: socket.socket, way: str, data: bytes) -> None:
    """Send some, read perhaps, and end too early: by a reset, by a close, or without having sent anything."""
    with suppress(OSError):
        if way != "leave":
            sock.settimeout(0.2)
            sock.send(data[:CHUNK])
            sock.recv(1)
        if way == "reset":
            reset(sock)
    sock.close()


def echo(place: Place, name: str, chance: Chance) -> int:
    """A server that returns what it is sent, whatever stands in between."""
    server, count = place.servers[name], size(chance)
    data = payload(chance, count)
    chance.way = way = chance.choice(["half-close", "half-close", "pync", *RUDE])
    if way == "pync":
        check(pync(options_for(server), data), data)
        return 2 * count
    with connect(server) as sock:
        if way in RUDE:
            rude(sock, way, data)
            return 0
        check(exchange(sock, data, count), data)
    return 2 * count


def on_terminal(place: Place, name: str, chance: Chance) -> int:
    """An echo by a program on a terminal, which writes a byte once its terminal changes no byte any more."""
    server, count = place.servers[name], size(chance)
    data = payload(chance, count)
    chance.way = way = chance.choice(["half-close", "half-close", *RUDE])
    with connect(server) as sock:
        if way in RUDE:
            rude(sock, way, data)
            return 0
        if sock.recv(1) != b"=":
            raise Lost("the terminal was not made ready")
        check(exchange(sock, data, count), data)
    return 2 * count


def proxied(place: Place, name: str, chance: Chance) -> int:
    """An echo through a proxy."""
    server, count = place.servers[name], size(chance)
    target, data = place.servers["exec"], payload(chance, count)
    chance.way = way = chance.choice(["half-close", "pync", "refused", "broken head", *RUDE])
    kind = "socks5" if name.startswith("socks") else "http"
    if way == "pync":
        check(pync(["-x", f"{HOST}:{server.port}", "-X", kind, *target.operands], data), data)
        return 2 * count
    with connect(server) as sock:
        if way == "broken head":
            sock.sendall(payload(chance, chance.randrange(1, 200)))
            sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                receive(sock)
            return 0
        port = 1 if way == "refused" else target.port
        granted = (_socks if kind == "socks5" else _http_connect)(sock, port)
        if granted == (way == "refused"):
            raise Lost(f"the proxy's reply is not right for port {port}")
        if way in RUDE:
            rude(sock, way, data)
        if way != "half-close":
            return 0
        check(exchange(sock, data, count), data)
    return 2 * count


def _socks(sock: socket.socket, port: int) -> bool:
    sock.sendall(b"\5\1\0")
    if _exactly(sock, 2) != b"\5\0":
        raise Lost("no method of SOCKS")
    sock.sendall(b"\5\1\0\1" + socket.inet_aton(HOST) + port.to_bytes(2))
    return _exactly(sock, 10)[1] == 0


def _http_connect(sock: socket.socket, port: int) -> bool:
    sock.sendall(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
    return b" 200 " in _head(sock)


def _exactly(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = sock.recv(count - len(received))
        if not part:
            raise Lost(f"{len(received)} bytes of a reply of {count}")
        received += part
    return received


def _head(sock: socket.socket) -> bytes:
    """The head of a response, byte by byte, so that nothing behind it is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _exactly(sock, 1)
    return head


def download(place: Place, name: str, chance: Chance) -> int:
    """A server that sends each client its stdin, a file."""
    server = place.servers[name]
    chance.way = way = chance.choice([*(["whole"] if not server.websocket else []), "pync", *RUDE])
    if way == "pync":
        check(pync(options_for(server)), PAGE)
        return len(PAGE)
    with connect(server) as sock:
        if way in RUDE:
            rude(sock, way, b"x")
            return 0
        if not server.tls:
            sock.shutdown(socket.SHUT_WR)
        check(receive(sock), PAGE)
    return len(PAGE)


def page(place: Place, name: str, chance: Chance) -> int:
    """`--http` with a file: the whole of it, a part, only the head, or a bad request."""
    chance.way = way = chance.choice(["GET", "range", "HEAD", "bad", *RUDE])
    with connect(place.servers[name]) as sock:
        if way in RUDE:
            rude(sock, way, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return 0
        first = chance.randrange(len(PAGE))
        method, more = ("HEAD" if way == "HEAD" else "GET"), (f"Range: bytes={first}-\r\n" if way == "range" else "")
        sock.sendall(b"\0\r\n\r\n" if way == "bad" else f"{method} / HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode())
        head, _, body = receive(sock).partition(b"\r\n\r\n")
    status = {"range": b" 206 ", "bad": b" 400 "}.get(way, b" 200 ")
    if status not in head:
        raise Lost(f"another status than{status.decode()}: {head[:200]!r}")
    expected = {"range": PAGE[first:], "HEAD": b"", "bad": body}.get(way, PAGE)
    check(body, expected)
    return len(expected)


def sink(place: Place, name: str, chance: Chance) -> int:
    """A server that writes what all clients send to its stdout."""
    server, slot = place.servers[name], place.slots[name].take()
    try:
        data = marked(payload(chance, size(chance)), slot)
        chance.way = way = chance.choice([*(["half-close"] * 2 if not server.websocket else []), "pync", *RUDE])
        if way == "pync":
            pync(options_for(server), data)
        else:
            with connect(server) as sock:
                if way in RUDE:
                    rude(sock, way, probe(slot) * 1000)
                    return 0
                send(sock, data)
                receive(sock)
        check(place.mixtures[name].take(slot, len(data)), data)
        return len(data)
    finally:
        place.slots[name].release(slot)


def upload(place: Place, name: str, chance: Chance) -> int:
    """`--http` without stdin: the body of a request comes to stdout."""
    server, slot = place.servers[name], place.slots[name].take()
    try:
        data = marked(payload(chance, size(chance)), slot)
        chance.way = way = chance.choice(["length", "chunks", *RUDE])
        with connect(server) as sock:
            if way in RUDE:
                rude(sock, way, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
                return 0
            body, field = data, f"Content-Length: {len(data)}"
            if way == "chunks":
                step = chance.randrange(1 + len(data) // 50, 2 + len(data))
                parts = [data[at : at + step] for at in range(0, len(data), step)]
                body = b"".join([*(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"])
                field = "Transfer-Encoding: chunked"
            sock.sendall(f"POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n".encode() + body)
            head = receive(sock)
        if b" 200 " not in head:
            raise Lost(f"an upload is answered with {head[:200]!r}")
        check(place.mixtures[name].take(slot, len(data)), data)
        return len(data)
    finally:
        place.slots[name].release(slot)


def digesting(place: Place, name: str, chance: Chance) -> int:
    """A program that answers only after the end of its stdin."""
    from hashlib import sha256

    server, count = place.servers[name], size(chance)
    data = payload(chance, count)
    expected = sha256(data).hexdigest().encode() + b"  -" + os.linesep.encode()
    chance.way = chance.choice(["pync", "half-close"])
    if chance.way == "pync":
        check(pync(options_for(server), data), expected)
        return count + len(expected)
    with connect(server) as sock:
        check(exchange(sock, data, len(expected)), expected)
    return count + len(expected)
