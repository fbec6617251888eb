"""Sessions in which many clients share a stream: the broker, the chat, a stdin that all clients get."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TextIO

from soak import Lost
from soak.place import Place
from soak.servers import Server
from soak.wire import CHUNK, DEADLINE, Chance, check, connect, content, marked, payload, probe, reset, size

PROBE_EVERY = 0.05  # seconds
RECEIVERS = 3  # at most


def broker(place: Place, name: str, chance: Chance) -> int:
    """One client sends, some receive; the other sessions of the broker at the time are in the same stream."""
    server, slot = place.servers[name], place.slots[name].take()
    try:
        data = marked(payload(chance, size(chance)), slot)
        receivers = chance.randint(1, RECEIVERS)
        chance.way = f"{receivers} receive {len(data)} bytes"
        with ExitStack() as stack:
            ears = [Ear(stack.enter_context(connect(server)), slot) for _ in range(receivers)]
            sender = stack.enter_context(connect(server))
            with _drained(sender), _listening(ears):
                _probe(sender, probe(slot), ears)
                sender.sendall(data)
                for ear in ears:
                    check(ear.take(len(data)), data)
            if chance.random() < 0.3:
                reset(sender)
        return (1 + receivers) * len(data)
    finally:
        place.slots[name].release(slot)


class Ear:
    """A client of a broker that receives: a thread takes the content of one slot out of what comes."""

    def __init__(self, sock: socket.socket, slot: int) -> None:
        self.sock, self.slot = sock, slot
        self.probed = threading.Event()
        self._held = bytearray()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        mark = probe(self.slot)
        while mixed := _received(self.sock):
            if mark in mixed:
                self.probed.set()
            with self._news:
                self._held += content(mixed, self.slot)
                self._news.notify()

    def take(self, count: int) -> bytes:
        """The content, once so many bytes have come, or none more come in time."""
        with self._news:
            while len(self._held) < count:
                before = len(self._held)
                if not self._news.wait_for(lambda before=before: len(self._held) > before, DEADLINE):  # type: ignore[misc]
                    break
            return bytes(self._held)

    def end(self) -> None:
        """End the connection and the thread."""
        _cut(self.sock)
        self._thread.join()


@contextmanager
def _listening(ears: list[Ear]) -> Iterator[None]:
    try:
        yield
    finally:
        for ear in ears:
            ear.end()


@contextmanager
def _drained(sock: socket.socket) -> Iterator[None]:
    """A thread takes what a connection receives."""

    def take() -> None:
        while _received(sock):
            pass

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        _cut(sock)
        thread.join()


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(CHUNK)
    except (OSError, ValueError):
        return b""


def _cut(sock: socket.socket) -> None:
    """Wake the thread that receives. Nothing of this is sent."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RD)


def _probe(sender: socket.socket, mark: bytes, ears: list[Ear]) -> None:
    """Send probes until each of the others has received one: then all are members."""
    until = time.monotonic() + DEADLINE
    while not all(ear.probed.is_set() for ear in ears):
        if time.monotonic() > until:
            raise Lost(f"no probe has come within {DEADLINE} s")
        sender.sendall(mark)
        ears[-1].probed.wait(PROBE_EVERY)


def nudge(server: Server) -> None:
    """Have a broker send something: only then it learns which clients have left after a half-close."""
    for _ in range(2):  # the first bytes are answered by a reset, which the next attempt to send finds
        with connect(server) as sock:
            sock.sendall(b"\n")
            reset(sock)


def chat(place: Place, name: str, chance: Chance) -> int:
    """One client writes lines, another one reads them between those of others."""
    server, token = place.servers[name], f"{chance.getrandbits(64):016x}"
    lines = [f"{token} {number} {'x' * int(2 ** chance.uniform(0, 12))}" for number in range(chance.randint(0, 50))]
    chance.way = f"{len(lines)} lines"
    with connect(server) as reader, connect(server) as writer, _drained(writer):
        stream = reader.makefile("r", encoding="utf-8", errors="replace", newline="\n")
        ready = threading.Event()
        found: list[str] = []
        thread = threading.Thread(target=_read_lines, args=(stream, token, len(lines), ready, found))
        thread.start()
        try:
            until = time.monotonic() + DEADLINE
            while not ready.wait(PROBE_EVERY) and time.monotonic() < until:
                writer.sendall(f"{token} probe\n".encode())
            writer.sendall("".join(f"{line}\n" for line in lines).encode())
            thread.join(DEADLINE)
        finally:
            _cut(reader)
            thread.join()
    if found != lines:
        raise Lost(f"{len(found)} lines of {len(lines)} came")
    return 2 * sum(map(len, lines))


def _read_lines(stream: TextIO, token: str, count: int, ready: threading.Event, found: list[str]) -> None:
    """The lines with the token behind the name, until all have come."""
    try:
        for line in stream:
            said = line.rstrip("\n").partition("> ")[2]
            if said == f"{token} probe":
                ready.set()
            elif said.startswith(token):
                found.append(said)
            if ready.is_set() and len(found) == count:
                return
    except (OSError, ValueError):
        pass


def follow(place: Place, name: str, chance: Chance) -> int:
    """A client of a stdin that all share: the lines that it gets are all from some number on."""
    wanted = int(2 ** chance.uniform(5, 19))
    chance.way = f"{wanted} bytes"
    received = bytearray()
    with connect(place.servers[name]) as sock:
        while len(received) < wanted:
            part = sock.recv(CHUNK)
            if not part:
                raise Lost(f"the stream ended after {len(received)} bytes")
            received += part
        if chance.random() < 0.5:
            reset(sock)
    _, *lines, _ = received.split(b"\n")
    first = int(lines[0]) if lines else 0
    if lines != [b"%015d" % number for number in range(first, first + len(lines))]:
        raise Lost(f"there are gaps in {len(received)} bytes")
    return len(received)
