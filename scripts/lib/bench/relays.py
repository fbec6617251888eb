"""Connections that a tool passes on to others: a forwarder and a proxy, between two ends of our own."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from bench.commands import HOST
from bench.exchanges import MESSAGE, compare
from bench.outcomes import Wrong

if TYPE_CHECKING:
    from bench.trial import Trial


def forward(trial: Trial) -> list[float]:
    """MB/s from a connection to the one that the tool makes for it."""
    conn, onward = _forwarded(trial)
    return [_speed(trial, conn, onward)]


def trips(trial: Trial) -> list[float]:
    """Round trips per second of small messages through the tool."""
    conn, onward = _forwarded(trial)
    began = time.perf_counter()
    for _ in range(trial.scale.trips):
        _trip(conn, onward)
    return [trial.scale.trips / (time.perf_counter() - began)]


def connections(trial: Trial) -> list[float]:
    """Connections per second through the tool, each with a question and an answer, one at a time."""
    listener, target = trial.listener()
    _, port = trial.serve(target=target)
    began = time.perf_counter()
    for _ in range(trial.scale.connections):
        with trial.connect(port) as conn, trial.keep(listener.accept()[0]) as onward:
            _trip(conn, onward)
    return [trial.scale.connections / (time.perf_counter() - began)]


def tunnel(trial: Trial) -> list[float]:
    """MB/s through a proxy, once it has connected us (RFC 9110 §9.3.6)."""
    listener, target = trial.listener()
    server, port = trial.serve()
    conn = trial.connect(port)
    conn.sendall(f"CONNECT {HOST}:{target} HTTP/1.1\r\nHost: {HOST}:{target}\r\n\r\n".encode())
    reply = b""
    while not reply.endswith(b"\r\n\r\n"):
        reply += conn.recv(1) or _hung_up()
    if reply.split()[1:2] != [b"200"]:
        raise Wrong(f"answered {reply!r}")
    return [_speed(trial, conn, trial.accept(listener, server))]


def _forwarded(trial: Trial) -> tuple[socket.socket, socket.socket]:
    """A connection to the tool, and the one that it has made."""
    listener, target = trial.listener()
    server, port = trial.serve(target=target)
    conn = trial.connect(port)
    onward = trial.accept(listener, server)
    onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn, onward


def _speed(trial: Trial, conn: socket.socket, onward: socket.socket) -> float:
    began = time.perf_counter()
    trial.spawn(trial.pour, conn)
    trial.drain(onward)
    return trial.payload.size / (time.perf_counter() - began) / 1e6


def _trip(conn: socket.socket, onward: socket.socket) -> None:
    conn.send(MESSAGE)
    onward.send(onward.recv(64))
    compare(conn.recv(64), MESSAGE)


def _hung_up() -> bytes:
    raise Wrong("hung up instead of answering")
