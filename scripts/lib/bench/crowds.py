"""Very many clients at the same time."""

from __future__ import annotations

import resource
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from bench.moving import SLICE
from bench.outcomes import Short, Unable, Wrong

if TYPE_CHECKING:
    from bench.process import Process
    from bench.trial import Trial

SPARE = 200  # descriptors beside those of the clients
DROPPED = 0.5  # seconds that only a connection takes which was dropped once
REST = 1.0  # seconds after which a server takes no more clients
NEWS = b"news\n"
ABORT = struct.pack("ii", 1, 0)  # struct linger: close() resets, and leaves no port behind in TIME_WAIT


def held(trial: Trial) -> list[float]:
    """How many silent clients a server holds, how fast it takes them (1/s), and by how much its memory grows (MB).

    In the end a line from its stdin has to reach them all.
    """
    wanted = trial.scale.clients
    allow(wanted + SPARE)
    source, stdin = trial.pipe()
    server, port = trial.serve(stdin=source)
    memory, before = server.memory("VmRSS"), server.descriptors()
    began = time.perf_counter()
    clients = connect(trial, server, port, wanted)
    most = taken(server, before, clients)
    speed = wanted / (time.perf_counter() - began)
    if most < wanted:
        raise Short(most, f"took {most:,} of {wanted:,} clients{' and died' if server.ended(0) else ''}")
    grown = server.memory("VmRSS") - memory
    stdin.write(NEWS)
    _hear(clients)
    return [wanted, speed, grown]


def portions(trial: Trial) -> list[float]:
    """MB/s of one file to many clients at the same time, all together, and the peak memory of the server in MB."""
    wanted, portion = trial.scale.readers, trial.files.portion
    allow(wanted + SPARE)
    server, port = trial.serve(stdin=trial.open(portion.path))
    began = time.perf_counter()
    clients = connect(trial, server, port, wanted)
    left = dict.fromkeys((client.fileno() for client in clients), portion.size)
    _swallow(clients, left)
    seconds = time.perf_counter() - began
    if any(left.values()):
        raise Wrong(f"{sum(map(bool, left.values()))} of {wanted} clients did not get exactly the file")
    return [wanted * portion.size / seconds / 1e6, server.memory("VmHWM")]


def allow(descriptors: int) -> None:
    """Let us, and those that we start, have so many descriptors. Raises Unable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        raise Unable(f"needs {descriptors:,} open files, and {hard:,} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


def connect(trial: Trial, server: Process, port: int, wanted: int) -> list[socket.socket]:
    """Connect so many times, as far as that is possible.

    Where the backlog is full, the kernel drops a connection and tries again after a second. Once that has happened,
    half as many as did it connect at once, and the next ones when the server has taken those.
    """
    clients: list[socket.socket] = []
    before, room, waiting = server.descriptors(), wanted, 0
    while len(clients) < wanted:
        began = time.perf_counter()
        try:
            client = trial.connect(port)
        except OSError:  # the server has gone
            break
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        clients.append(client)
        waiting += 1
        if time.perf_counter() - began > DROPPED:
            room = max(1, waiting // 2)
        if waiting >= room:
            waiting = len(clients) - taken(server, before, clients)
    return clients


def taken(server: Process, before: int, clients: list[socket.socket]) -> int:
    """Wait until the server has taken them all, or as many as it wants; how many those are.

    If it has died meanwhile, those are all that had connected: a few of them it had not taken yet.
    """
    most, since = 0, time.perf_counter()
    while most < len(clients) and time.perf_counter() - since < REST:
        if server.ended(0.002):
            return len(clients)
        now = server.descriptors() - before
        if now > most:
            most, since = now, time.perf_counter()
    return most


def _hear(clients: list[socket.socket]) -> None:
    deaf = sum(client.recv(64) != NEWS for client in clients)
    if deaf:
        raise Wrong(f"{deaf} of {len(clients)} clients have not got what the server said")


def _swallow(clients: list[socket.socket], left: dict[int, int]) -> None:
    """Read from all of them to the end, and count down what is left for each."""
    poll = select.epoll()
    for client in clients:
        poll.register(client, select.EPOLLIN)
    reading = {client.fileno(): client for client in clients}
    buffer = bytearray(SLICE)
    while reading:
        for descriptor, _ in poll.poll():
            size = reading[descriptor].recv_into(buffer, SLICE, socket.MSG_TRUNC)
            left[descriptor] -= size
            if not size:
                poll.unregister(reading.pop(descriptor))
