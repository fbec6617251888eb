"""Datagrams of 64 bytes.

A pipe in packet mode (pipe(2): O_DIRECT) keeps apart what was written by separate calls: each read of the tool is one
datagram. A tool is verified with numbered datagrams, which must arrive whole and in order. After that it is given more
datagrams than it can take, by processes of their own: bare.py.
"""

import fcntl
import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

from bench import Wrong
from bench.commands import HOST, argv
from bench.process import Process, port_of, readable, sockets
from bench.setting import SLICE
from bench.trial import Trial

SIZE = 64
FEW = 100  # datagrams for the check: a receive buffer has room for all of them
NUMBERED = [b"%0*d\n" % (SIZE - 1, number) for number in range(FEW)]
UDP_GRO = 104  # linux/udp.h: one receive can be many datagrams
SO_RCVBUFFORCE = 33  # asm/socket.h
ROOM = 64 << 20  # bytes for what we have not received yet, if the system allows it
SILENCE = 1  # seconds after which no more will come
LULL = 0.05  # seconds without a write after which a file has its size


def send(trial: Trial) -> list[float]:
    """Thousands of datagrams per second that a tool sends, from the first to the last.

    Those that our own receive buffer had no room for count, too: they had been sent.
    """
    receiver = trial.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind((HOST, 0))
    source, writer = trial.pipe(os.O_DIRECT)
    with suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SLICE)
    process = trial.start(port_of(receiver), stdin=source)
    if trial.verifying:
        for datagram in NUMBERED:
            writer.write(datagram)
        _check_sent(receiver)
        return []
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    with suppress(PermissionError):
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    receiver.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    count = trial.scale.datagrams
    trial.run(argv(f"bare packets {count}"), stdout=writer)
    return [count / _arrival(receiver, count, process) / 1000]


def receive(trial: Trial) -> list[float]:
    """Thousands of datagrams per second that a tool receives and writes to a file while it is flooded."""
    source, _ = trial.pipe()
    server = trial.serve(stdin=source, stdout=trial.open("datagrams", "wb"), protocol="udp")
    sender = trial.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender.connect((HOST, server.port))
    written = trial.directory / "datagrams"
    if trial.verifying:
        _check_received(sender, written)
        return []
    sender.send(bytes(SIZE))
    _await_size(written, SIZE)
    trial.run(argv(f"bare flood {trial.scale.flood}"), stdin=sender.fileno()).wait()
    return [_settled(written) / SIZE / trial.scale.flood]


def _check_sent(receiver: socket.socket) -> None:
    for number, expected in enumerate(NUMBERED):
        if not readable(receiver, seconds=SILENCE):
            raise Wrong(f"sent {number} of {FEW} datagrams")
        datagram = receiver.recv(1 << 16)
        if len(datagram) != SIZE:
            raise Wrong(f"sent {len(datagram)} bytes at once, not {SIZE}")
        if datagram != expected:
            raise Wrong(f"sent {datagram!r} as datagram {number}")


def _arrival(receiver: socket.socket, count: int, process: Process) -> float:
    """Seconds from the first datagram to the last."""
    readable(receiver, process)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE, 0))
    began = last = time.perf_counter()
    buffer, size = bytearray(1 << 16), 0
    with suppress(BlockingIOError):
        while size < count * SIZE:
            size += receiver.recv_into(buffer)
            last = time.perf_counter()
    size += sum(int(drops) for port, _, drops in sockets("udp") if port == port_of(receiver)) * SIZE
    if size != count * SIZE:
        raise Wrong(f"sent {size // SIZE:,} of {count:,} datagrams")
    return last - began


def _check_received(sender: socket.socket, written: Path) -> None:
    """One datagram at a time, so that none is dropped."""
    for number, datagram in enumerate(NUMBERED, 1):
        sender.send(datagram)
        _await_size(written, number * SIZE)
    if written.read_bytes() != b"".join(NUMBERED):
        raise Wrong("wrote other datagrams than were sent")


def _await_size(path: Path, size: int) -> None:
    until = time.monotonic() + SILENCE
    while path.stat().st_size < size:
        if time.monotonic() > until:
            raise Wrong("did not write a datagram, though it was the only one")
        os.sched_yield()


def _settled(path: Path) -> int:
    """The size of the file when it no longer grows."""
    size = -1
    while size != (size := path.stat().st_size):
        time.sleep(LULL)
    return size
