"""Sessions over UDP, as fast as nothing can be lost: one datagram at a time.

The loopback interface loses a datagram only when the queue of the receiving socket is full.
"""

import socket

from soak import Lost
from soak.place import Place
from soak.sessions import pync
from soak.wire import Chance, check, marked, payload

DEADLINE = 10.0  # seconds for the answer to a datagram
MOST = 30  # datagrams of a session


def echo(place: Place, name: str, chance: Chance) -> int:
    """Each datagram is answered with the same bytes."""
    server = place.servers[name]
    if chance.random() < 0.1:
        chance.way = "pync"
        data = payload(chance, chance.randint(1, 8192))
        check(pync(["-u", "-w", "1", "-q", "1", *server.operands], data), data)
        return 2 * len(data)
    total = 0
    with _connected(place, name) as sock:
        for _ in range(chance.randint(1, MOST)):
            data = payload(chance, chance.choice([1, 100, 1472, 9000, 65507]))
            sock.send(data)
            check(_answer(sock, len(data)), data)
            total += 2 * len(data)
    return total


def _answer(sock: socket.socket, count: int) -> bytes:
    """The answer to a datagram. A program may have written it in parts."""
    received = b""
    while len(received) < count:
        try:
            received += sock.recv(65536)
        except TimeoutError:
            raise Lost(f"{len(received)} bytes of {count} within {DEADLINE} s") from None
    return received


def sink(place: Place, name: str, chance: Chance) -> int:
    """What is sent comes to stdout; the next datagram is sent when the one before is there."""
    slot, total = place.slots[name].take(), 0
    try:
        with _connected(place, name) as sock:
            for _ in range(chance.randint(1, MOST)):
                data = marked(payload(chance, chance.choice([1, 100, 1472, 9000, 65507])), slot)
                sock.send(data)
                check(place.mixtures[name].take(slot, len(data)), data)
                total += len(data)
        return total
    finally:
        place.slots[name].release(slot)


def _connected(place: Place, name: str) -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.connect(place.servers[name].address)
    return sock
