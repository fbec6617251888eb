"""Small messages there and back, short connections, and a filter: every answer is compared, always."""

from __future__ import annotations

import select
import socket
import statistics
import time
from typing import TYPE_CHECKING

from bench.commands import HOST
from bench.outcomes import Unable, Wrong
from bench.scale import LINE

if TYPE_CHECKING:
    from bench.trial import Trial

MESSAGE = b"x\n"
PATIENCE = 1000  # ms after which a line that has not been answered is held back


def with_cat(trial: Trial) -> list[float]:
    """Round trips per second to a cat behind the tool."""
    _, port = trial.serve()
    conn = trial.connect(port)
    _trip(conn)  # it has started
    began = time.perf_counter()
    for _ in range(trial.scale.trips):
        _trip(conn)
    return [trial.scale.trips / (time.perf_counter() - began)]


def with_stdio(trial: Trial) -> list[float]:
    """Round trips per second: from the tool's stdin to the peer, and from there to its stdout."""
    listener, port = trial.listener()
    source, stdin = trial.pipe()
    stdout, target = trial.pipe()
    conn = trial.accept(listener, trial.start(port, source, target))
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    began = time.perf_counter()
    for _ in range(trial.scale.trips):
        stdin.write(MESSAGE)
        conn.send(conn.recv(64))
        compare(stdout.read(64) or b"", MESSAGE)
    return [trial.scale.trips / (time.perf_counter() - began)]


def connections_one_by_one(trial: Trial) -> list[float]:
    """Connections per second, each with a question and an answer, one at a time."""
    return _connections(trial, 1)


def connections_together(trial: Trial) -> list[float]:
    """The same, 50 at a time."""
    return _connections(trial, 50)


def through_filter(trial: Trial) -> list[float]:
    """MB/s of text through a filter, there and back, with all of the end."""
    _, port = trial.serve()
    conn = trial.connect(port)
    began = time.perf_counter()
    trial.spawn(trial.pour, conn, trial.files.text)
    trial.drain(conn, trial.files.text)
    return [trial.files.text.size / (time.perf_counter() - began) / 1e6]


def line_by_line(trial: Trial) -> list[float]:
    """Milliseconds from a line sent to its answer, the median."""
    _, port = trial.serve()
    conn = trial.connect(port)
    answer = LINE.upper()
    poll = select.poll()
    poll.register(conn, select.POLLIN)
    times = []
    for _ in range(trial.scale.lines):
        began = time.perf_counter()
        conn.sendall(LINE)
        came = b""
        while len(came) < len(answer):
            if not poll.poll(PATIENCE):
                raise Unable("a line is held back")
            came += conn.recv(len(answer)) or _ended()
        times.append(time.perf_counter() - began)
        compare(came, answer)
    return [statistics.median(times) * 1000]


def _connections(trial: Trial, together: int) -> list[float]:
    """Nothing here blocks: where a backlog is full, the kernel lets a connection wait for a second or more."""
    _, port = trial.serve()
    poll = select.epoll()
    current: dict[int, socket.socket] = {}
    left = trial.scale.connections
    began = time.perf_counter()
    while left or current:
        while left and len(current) < together:
            left -= 1
            conn = _begin(trial, port)
            poll.register(conn, select.EPOLLOUT)
            current[conn.fileno()] = conn
        for descriptor, happened in poll.poll():
            if happened == select.EPOLLOUT:
                current[descriptor].send(MESSAGE)
                poll.modify(descriptor, select.EPOLLIN)
            else:
                compare(current[descriptor].recv(64), MESSAGE)
                current.pop(descriptor).close()
    return [trial.scale.connections / (time.perf_counter() - began)]


def _begin(trial: Trial, port: int) -> socket.socket:
    conn = trial.keep(socket.socket())
    conn.setblocking(False)
    conn.connect_ex((HOST, port))
    return conn


def _trip(conn: socket.socket) -> None:
    conn.send(MESSAGE)
    compare(conn.recv(64), MESSAGE)


def compare(came: bytes, expected: bytes) -> None:
    """Raises Wrong if that is not the answer that was expected."""
    if came != expected:
        raise Wrong(f"answered {came!r} instead of {expected!r}")


def _ended() -> bytes:
    raise Wrong("ended instead of answering")
