"""Datagrams of 64 bytes.

A pipe in packet mode (pipe(2): O_DIRECT) keeps what was written at once together: each read of the tool is one
datagram. Verified are numbered datagrams, which have to arrive whole and in order. After that the tools are given more
than they can take, by processes of their own: bare.py.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING

from bench.commands import BARE, HOST, argv
from bench.moving import SLICE
from bench.outcomes import Wrong

if TYPE_CHECKING:
    from io import FileIO

    from bench.process import Process
    from bench.trial import Trial

SIZE = 64
FEW = 100  # are verified: all of them have room in a receive buffer
UDP_GRO = 104  # linux/udp.h: one receive can be many datagrams
SO_RCVBUFFORCE = 33  # asm/socket.h
ROOM = 64 << 20  # bytes for what we have not received yet, if we may
SILENCE = 1000  # ms after which nothing more will come
LULL = 0.05  # seconds, for the size of a file


def sent(trial: Trial) -> list[float]:
    """Thousands of datagrams per second that a tool sends, from the first to the last.

    Those that our own receive buffer had no room for count, too: they had been sent.
    """
    receiver = trial.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind((HOST, 0))
    port = receiver.getsockname()[1]
    source, writer = trial.pipe(os.O_DIRECT)
    with suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SLICE)
    process = trial.start(port, stdin=source)
    if trial.verifying:
        trial.spawn(_number, writer)
        _verify_sent(receiver)
        return []
    _make_room(receiver)
    count = trial.scale.datagrams
    _bare(trial, f"packets {count}", stdout=writer)
    seconds = _arrive(receiver, port, count, process)
    return [count / seconds / 1000]


def received(trial: Trial) -> list[float]:
    """Thousands of datagrams per second that a tool receives and writes to a file while it is flooded."""
    source, _ = trial.pipe()
    _, port = trial.serve(stdin=source, stdout=trial.open("datagrams", "wb"), kind=socket.SOCK_DGRAM)
    sender = trial.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender.connect((HOST, port))
    written = trial.files.directory / "datagrams"
    if trial.verifying:
        _verify_received(sender, written)
        return []
    sender.send(bytes(SIZE))
    _await_size(written, SIZE)
    _bare(trial, f"flood {trial.scale.flood}", stdin=sender.fileno()).wait()
    return [_settled(written) / SIZE / trial.scale.flood]


def _bare(trial: Trial, words: str, stdin: int = DEVNULL, stdout: FileIO | int = DEVNULL) -> Process:
    return trial.run(argv({BARE: f"bare {words}"}, BARE, 0), stdin, stdout)


def _numbered(number: int) -> bytes:
    return b"%0*d\n" % (SIZE - 1, number)


def _number(writer: FileIO) -> None:
    with writer:
        for number in range(FEW):
            writer.write(_numbered(number))


# -- What a tool sends


def _make_room(receiver: socket.socket) -> None:
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    with suppress(PermissionError):
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    receiver.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)


def _verify_sent(receiver: socket.socket) -> None:
    for number in range(FEW):
        if not _readable(receiver):
            raise Wrong(f"sent {number} of {FEW} datagrams")
        came = receiver.recv(1 << 16)
        if len(came) != SIZE:
            raise Wrong(f"sent {len(came)} bytes at once, not {SIZE}")
        if came != _numbered(number):
            raise Wrong(f"sent {came!r} as datagram {number}")


def _arrive(receiver: socket.socket, port: int, count: int, process: Process) -> float:
    """Seconds from the first to the last."""
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    poll.register(process, select.POLLIN)
    poll.poll()
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE // 1000, 0))
    began = last = time.perf_counter()
    buffer, size = bytearray(1 << 16), 0
    with suppress(BlockingIOError):
        while size < count * SIZE:
            size += receiver.recv_into(buffer)
            last = time.perf_counter()
    size += _dropped(port) * SIZE
    if size != count * SIZE:
        raise Wrong(f"sent {size // SIZE:,} of {count:,} datagrams")
    return last - began


def _dropped(port: int) -> int:
    """What the kernel had no room for on that port: the last column of /proc/net/udp (proc(5))."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        _, local, *_, drops = line.split()
        if int(local.rpartition(":")[2], 16) == port:
            return int(drops)
    return 0


def _readable(receiver: socket.socket) -> bool:
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    return bool(poll.poll(SILENCE))


# -- What a tool receives


def _verify_received(sender: socket.socket, written: Path) -> None:
    """One at a time, so that none is lost."""
    expected = b""
    for number in range(FEW):
        sender.send(_numbered(number))
        expected += _numbered(number)
        _await_size(written, len(expected))
    if written.read_bytes() != expected:
        raise Wrong("wrote other datagrams than were sent")


def _await_size(path: Path, size: int) -> None:
    until = time.monotonic() + SILENCE / 1000
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
