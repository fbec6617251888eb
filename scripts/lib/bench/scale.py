"""How much is measured, and the files that are transferred.

The files lie in /dev/shm where that has room, so that no disk is measured: for a program, a file on tmpfs is a regular
file like any other.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 24
SHORT = 4321  # bytes beyond the last whole block
RAMDISK = Path("/dev/shm")
ORDINARY_SPEED = 2.5e9  # bytes per second over a loopback for which FULL is meant
LINE = b"the quick brown fox jumps over the lazy dog 0123456789 pack my\n"  # 63 bytes: no block ends with a line


class Scale(NamedTuple):
    """How much is measured. Sizes are in bytes."""

    bulk: int  # a transfer that is timed
    check: int  # one that is verified by checksum
    text: int  # through a filter
    trips: int  # there and back
    lines: int  # through a filter, one at a time
    connections: int
    clients: int  # that are connected at the same time
    readers: int  # that get a file at the same time
    portion: int  # of that file
    told: int  # lines by a hub, to all readers together
    datagrams: int
    flood: int  # milliseconds of datagrams
    ports: int  # the last one of the scan
    starts: int
    deadline: float  # seconds, of each trial


FULL = Scale(
    bulk=(512 << 20) + SHORT,
    check=(32 << 20) + SHORT,
    text=(64 << 20) + SHORT,
    trips=10_000,
    lines=1000,
    connections=500,
    clients=10_000,
    readers=1000,
    portion=1 << 20,
    told=8_000_000,
    datagrams=100_000,
    flood=500,
    ports=65535,
    starts=10,
    deadline=30,
)
QUICK = Scale(
    bulk=(4 << 20) + SHORT,
    check=(1 << 20) + SHORT,
    text=(1 << 20) + SHORT,
    trips=200,
    lines=20,
    connections=20,
    clients=50,
    readers=20,
    portion=100_000,
    told=100_000,
    datagrams=2000,
    flood=50,
    ports=2000,
    starts=1,
    deadline=10,
)


class Payload(NamedTuple):
    """A file to be transferred, and the SHA-256 of what must come of it."""

    path: Path
    size: int
    digest: bytes


class Files(NamedTuple):
    """The payloads of a run, and room for what arrives."""

    directory: Path
    bulk: Payload
    check: Payload
    text: Payload
    portion: Payload


def adapted(scale: Scale) -> Scale:
    """The scale with bulk that suits the speed of this machine and the room it has for files."""
    room = shutil.disk_usage(_place()).free // 4  # the file, its copy, and as much for others
    fit = min(1.0, _loopback_speed() / ORDINARY_SPEED, room / scale.bulk)
    return scale._replace(bulk=max(int(scale.bulk * fit), QUICK.bulk))


@contextmanager
def files(scale: Scale) -> Iterator[Files]:
    """Make the payloads; they are gone afterwards."""
    with TemporaryDirectory(prefix="pync-bench-", dir=_place()) as name:
        at = Path(name)
        noise = random.Random("pync").randbytes(BLOCK + 1)  # not a power of two: blocks that change places show
        yield Files(
            at,
            _written(at / "bulk", noise, scale.bulk),
            _written(at / "check", noise, scale.check),
            _written(at / "text", LINE, scale.text, upper=True),
            _written(at / "portion", noise, scale.portion),
        )


def _written(path: Path, pattern: bytes, size: int, *, upper: bool = False) -> Payload:
    block = pattern * max(1, BLOCK // len(pattern))
    expected = block.upper() if upper else block
    digest = sha256()
    with path.open("wb") as file:
        for at in range(0, size, len(block)):
            part = min(len(block), size - at)
            file.write(memoryview(block)[:part])
            digest.update(memoryview(expected)[:part])
    return Payload(path, size, digest.digest())


def _place() -> Path:
    """The directory for temporary files."""
    if os.access(RAMDISK, os.W_OK) and shutil.disk_usage(RAMDISK).free > 4 * FULL.bulk:
        return RAMDISK
    return Path(gettempdir())


def _loopback_speed() -> float:
    """Bytes per second of an ordinary copy over a loopback connection, from one thread to another."""
    size, block = 256 << 20, bytearray(1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver = listener.accept()[0]

    def send() -> None:
        for _ in range(size // len(block)):
            sender.sendall(block)

    with sender, receiver:
        thread = threading.Thread(target=send)
        began = time.perf_counter()
        thread.start()
        buffer, left = bytearray(len(block)), size
        while left:
            left -= receiver.recv_into(buffer)
        thread.join()
        return size / (time.perf_counter() - began)
