"""The client's end of a connection in this process: what is sent, how it is checked, and how it ends."""

import random
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress

from soak import Lost
from soak.servers import Server

DEADLINE = 30.0  # seconds for a session to get on
CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends a reset
SLOTS = range(8, 16)  # no byte of a slot is ASCII

_NOISE = random.Random(1).randbytes(8 << 20)
_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


class Chance(random.Random):
    """What decides how a session goes, and the words for what it has decided."""

    way = ""
    count = -1  # bytes that are sent


def size(chance: Chance) -> int:
    """How many bytes a session sends: from none to some millions, small ones and borders more often."""
    borders = [0, 1, 2, 4095, 4096, 65535, 65536, 65537, 262144]
    chance.count = chance.choice(borders) if chance.random() < 0.3 else int(2 ** chance.uniform(0, 22))
    return chance.count


def payload(chance: Chance, count: int) -> bytes:
    """So many bytes."""
    start = chance.randrange(len(_NOISE) - count)
    return _NOISE[start : start + count]


def connect(server: Server) -> socket.socket:
    """A connection to a server, with TLS if the server has it."""
    sock = socket.socket(socket.AF_UNIX if server.path else socket.AF_INET)
    sock.settimeout(DEADLINE)
    try:
        sock.connect(server.address)
        return _UNVERIFIED.wrap_socket(sock) if server.tls else sock
    except BaseException:
        sock.close()
        raise


def exchange(sock: socket.socket, data: bytes, expected: int) -> bytes:
    """Send all, half-close, and return what is received: to its end, or with TLS as much as is expected.

    Python cannot half-close a TLS connection and go on to receive.
    """
    encrypted = isinstance(sock, ssl.SSLSocket)
    sock.setblocking(False)
    rest, received, until = memoryview(data), bytearray(), time.monotonic() + DEADLINE
    if not rest and not encrypted:
        sock.shutdown(socket.SHUT_WR)
    while expected or not encrypted:
        if rest:
            with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                rest = rest[sock.send(rest[:CHUNK]) :]
                if not rest and not encrypted:
                    sock.shutdown(socket.SHUT_WR)
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while part := sock.recv(CHUNK):
                received += part
                until = time.monotonic() + DEADLINE
            break
        if encrypted and len(received) >= expected:
            break
        wait(sock, bool(rest), until, f"{len(received)} of {expected} bytes have come")
    sock.settimeout(DEADLINE)
    if isinstance(sock, ssl.SSLSocket):
        while rest:
            rest = rest[sock.send(rest[:CHUNK]) :]
        with suppress(OSError):  # the peer may close without waiting for our close_notify
            sock.unwrap()
    return bytes(received)


def wait(sock: socket.socket, writing: bool, until: float, otherwise: str) -> None:
    """Wait until there is something to read, or room to write. Raises Lost at the moment `until`."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | (select.POLLOUT if writing else 0))
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise Lost(f"silence for {DEADLINE} s: {otherwise}")


def send(sock: socket.socket, data: bytes) -> None:
    """Send all to a server that answers nothing, and half-close."""
    sock.settimeout(DEADLINE)
    sock.sendall(data)
    if isinstance(sock, ssl.SSLSocket):
        sock.unwrap()
    else:
        sock.shutdown(socket.SHUT_WR)


def receive(sock: socket.socket) -> bytes:
    """All to the end."""
    parts = []
    while part := sock.recv(CHUNK):
        parts.append(part)
    return b"".join(parts)


def reset(sock: socket.socket) -> None:
    """End a connection by a reset (a unix socket knows none: it is closed)."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def check(received: bytes, sent: bytes) -> None:
    """Raise Lost if what was received is not what was sent."""
    if received != sent:
        same = next((at for at, pair in enumerate(zip(received, sent, strict=False)) if pair[0] != pair[1]), None)
        where = f"the first {min(len(received), len(sent)) if same is None else same} are right"
        raise Lost(f"{len(received)} bytes came of {len(sent)}; {where}")


# -- Several senders in one stream -------------------------------------------------------------------------------------


class Slots:
    """The senders of a stream that mixes them: each byte shows whose it is, so each sender's bytes can be taken out.

    The upper half of a byte is the number of the slot. The lower half is the content; 0 is a probe, which is no part
    of it.
    """

    def __init__(self) -> None:
        self._free = list(SLOTS)
        self._released = threading.Condition()

    def take(self) -> int:
        """A slot that no other session has. It waits for one."""
        with self._released:
            self._released.wait_for(lambda: self._free)
            return self._free.pop(0)

    def release(self, slot: int) -> None:
        """Give a slot back."""
        with self._released:
            self._free.append(slot)
            self._released.notify()


def marked(data: bytes, slot: int) -> bytes:
    """Data as the content of a slot."""
    return data.translate(bytes(slot << 4 | 1 + byte % 15 for byte in range(256)))


def probe(slot: int) -> bytes:
    """A byte of the slot that is no content."""
    return bytes((slot << 4,))


def content(mixed: bytes, slot: int) -> bytes:
    """What of a mixed stream is the content of a slot."""
    return mixed.translate(None, delete=bytes(byte for byte in range(256) if byte >> 4 != slot or not byte & 15))


class Mixture:
    """The stdout of a server, read by a thread: what has come of each slot."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self._news = threading.Condition()
        self._contents = {slot: bytearray() for slot in SLOTS}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with open(self._reader, "rb", buffering=0) as stream:
            while mixed := stream.read(CHUNK):
                with self._news:
                    for slot, held in self._contents.items():
                        held += content(mixed, slot)
                    self._news.notify_all()

    def take(self, slot: int, count: int) -> bytes:
        """The content of a slot, once so many bytes have come. Raises Lost if they have not, or if there are more."""
        held = self._contents[slot]
        with self._news:
            until = time.monotonic() + DEADLINE
            while len(held) < count:
                before = len(held)
                if not self._news.wait(max(0.0, until - time.monotonic())):
                    break
                until = time.monotonic() + DEADLINE if len(held) > before else until
            taken = bytes(held)
            held.clear()
            return taken

    def end(self) -> None:
        """Wait until the stream has ended."""
        self._thread.join()
