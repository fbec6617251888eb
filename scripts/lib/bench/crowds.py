"""Very many clients at the same time: of a listener, and of a hub.

A hub is measured in two ways. The first is how much it delivers from a client that sends as fast as the hub receives;
large reads serve it best. The second is how soon all readers have one line. There the sender waits until every reader
has received the line, and most of the time goes into one system call of the hub and one of ours for each reader.
"""

import resource
import select
import socket
import struct
import time
from collections.abc import Sequence

from bench import Unable, Wrong
from bench.process import Process, readable
from bench.setting import SLICE
from bench.trial import Trial

SPARE = 200  # descriptors beside those of the clients
DROPPED = 0.5  # seconds: only a connection that was dropped once takes longer
REST = 1.0  # seconds after which a server accepts no more clients
SILENCE = 5.0  # seconds after which a hub delivers no more
FEW = 100  # how many times fewer lines are sent one after another
NEWS = b"news\n"
ABORT = struct.pack("ii", 1, 0)  # struct linger: close() resets, and leaves no port behind in TIME_WAIT


class Crowd:
    """Clients of one server.

    Where the backlog is full, the kernel drops a connection and tries again after a second. Once that has happened,
    half as many clients as before it connect at once, and the next ones when the server has accepted those.
    """

    def __init__(self, trial: Trial, server: Process, wanted: int) -> None:
        """Connect that many clients, or as many as the server allows before it ends."""
        self._server = server
        self._idle = server.descriptors()
        self.clients: list[socket.socket] = []
        room, waiting = wanted, 0
        while len(self.clients) < wanted:
            began = time.perf_counter()
            try:
                client = trial.connect(server)
            except OSError:  # the server has ended
                break
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            self.clients.append(client)
            waiting += 1
            if time.perf_counter() - began > DROPPED:
                room = max(1, waiting // 2)
            if waiting >= room:
                waiting = len(self.clients) - self.accepted()

    def accepted(self) -> int:
        """Wait until the server has accepted all clients, or accepts no more; how many it has accepted.

        If it has ended meanwhile, the number of all that had connected: a few of them it had not accepted yet.
        """
        most, since = 0, time.perf_counter()
        while most < len(self.clients) and time.perf_counter() - since < REST:
            if readable(self._server, seconds=0.002):
                return len(self.clients)
            now = self._server.descriptors() - self._idle
            if now > most:
                most, since = now, time.perf_counter()
        return most


def allow(clients: int) -> None:
    """Let us and the programs that we start have a descriptor for each client. Raises Unable."""
    needed = clients + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    except ValueError:  # above the hard limit
        raise Unable(f"needs {needed:,} open files, and {hard:,} are allowed (ulimit -Hn)") from None


def held(trial: Trial) -> list[float]:
    """How many silent clients a server holds, how fast it accepts them (1/s), and by how much its memory grows (MB).

    The check is that a line from its stdin reaches them all.
    """
    wanted = trial.scale.clients
    allow(wanted)
    source, stdin = trial.pipe()
    server = trial.serve(stdin=source)
    memory, began = server.memory("VmRSS"), time.perf_counter()
    crowd = Crowd(trial, server, wanted)
    most = crowd.accepted()
    speed = wanted / (time.perf_counter() - began)
    if most < wanted:
        died = " and died" if readable(server, seconds=0) else ""
        raise Unable(f"took {most:,} of {wanted:,} clients{died}", most)
    grown = server.memory("VmRSS") - memory
    stdin.write(NEWS)
    if lacking := sum(client.recv(64) != NEWS for client in crowd.clients):
        raise Wrong(f"{lacking} of {wanted} clients did not receive what the server sent")
    return [wanted, speed, grown]


def portions(trial: Trial) -> list[float]:
    """MB/s of one file to many clients at the same time, all together, and the peak memory of the server in MB."""
    wanted, portion = trial.scale.readers, trial.setting.portion
    allow(wanted)
    server = trial.serve(stdin=trial.open(portion.path))
    began = time.perf_counter()
    sizes = _received(Crowd(trial, server, wanted).clients)
    seconds = time.perf_counter() - began
    if lacking := wanted - sizes.count(portion.size):
        raise Wrong(f"{lacking} of {wanted} clients did not receive exactly the file")
    return [wanted * portion.size / seconds / 1e6, server.memory("VmHWM")]


def _received(clients: Sequence[socket.socket]) -> list[int]:
    """Read from all clients to the end; how many bytes each of them has received."""
    reading = {client.fileno(): client for client in clients}
    sizes = dict.fromkeys(reading, 0)
    poll, buffer = _poll(clients), bytearray(SLICE)
    while reading:
        for descriptor, _ in poll.poll():
            size = reading[descriptor].recv_into(buffer, SLICE, socket.MSG_TRUNC)
            sizes[descriptor] += size
            if not size:
                poll.unregister(reading.pop(descriptor))
    return list(sizes.values())


def _poll(clients: Sequence[socket.socket]) -> select.epoll:
    poll = select.epoll()
    for client in clients:
        poll.register(client, select.EPOLLIN)
    return poll


def hub(trial: Trial, count: int) -> list[float]:
    """Thousands of lines per second to `count` readers, all together: as fast as possible, and one after another."""
    allow(1 + count)
    crowd = Crowd(trial, trial.serve(), 1 + count)
    if (most := crowd.accepted()) < 1 + count:
        raise Wrong(f"took {most} of {1 + count} clients")
    sender, *sockets = crowd.clients
    readers = Readers(sockets, comparing=trial.verifying)
    lines = [b"%063d\n" % number for number in range(trial.scale.hub_lines // count)]
    few = lines[::FEW]
    began = time.perf_counter()
    for line in few:
        sender.send(line)
        readers.receive(line)
    singly = time.perf_counter() - began
    text = b"".join(lines)
    began = time.perf_counter()
    trial.spawn(sender.sendall, text)
    readers.receive(text)
    together = time.perf_counter() - began
    return [count * len(lines) / together / 1000, count * len(few) / singly / 1000]


class Readers:
    """The readers of a hub, in one thread."""

    def __init__(self, readers: Sequence[socket.socket], *, comparing: bool) -> None:
        """`comparing`: every byte is compared, and not only counted."""
        self._readers = {reader.fileno(): reader for reader in readers}
        self._comparing = comparing
        self._buffer = bytearray(SLICE)
        self._poll = _poll(readers)

    def receive(self, text: bytes) -> None:
        """Read until each reader has received the text. Raises Wrong unless it is exactly that."""
        left = dict.fromkeys(self._readers, len(text))
        missing = len(text) * len(left)
        while missing > 0:
            ready = self._poll.poll(SILENCE)
            for descriptor, _ in ready:
                size = self._read(descriptor, text, len(text) - left[descriptor])
                left[descriptor] -= size
                missing -= size
            if not ready:
                break
        if lacking := sum(map(bool, left.values())):
            raise Wrong(f"{lacking} of {len(left)} readers did not receive exactly what was sent")

    def _read(self, descriptor: int, text: bytes, at: int) -> int:
        """How many bytes one reader receives. `at`: how many bytes of the text it had before."""
        reader = self._readers[descriptor]
        if not self._comparing:
            size = reader.recv_into(self._buffer, SLICE, socket.MSG_TRUNC)
        else:
            data = reader.recv(SLICE)
            if not text.startswith(data, at):
                raise Wrong("delivered other bytes than it received")
            size = len(data)
        if not size:
            raise Wrong("cut a reader off")
        return size
