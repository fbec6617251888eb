"""How much is measured, and the files that are transferred: made, sent, received and compared.

They are sent by sendfile or splice and received without a copy. This costs so little that the tool under measurement
is what limits a transfer. The files lie in /dev/shm where that has room, so that no disk is measured. To a program, a
file on tmpfs is a regular file like any other.
"""

import math
import os
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import NamedTuple

from bench import Wrong

SLICE = 1 << 20  # bytes moved by one call
BLOCK = 1 << 24
SHORT = 4321  # bytes beyond the last whole block
RAMDISK = Path("/dev/shm")
ORDINARY_SPEED = 2.5e9  # bytes per second over a loopback for which FULL is meant
BLOCKS = 256  # of a slice each, sent to find the speed of this loopback
LINE = b"the quick brown fox jumps over the lazy dog 0123456789 pack my\n"  # 63 bytes: no block ends with a line


class Scale(NamedTuple):
    """How much is measured. Sizes are in bytes. The defaults are those of a full run."""

    bulk: int = (512 << 20) + SHORT  # a transfer that is timed
    check: int = (32 << 20) + SHORT  # a transfer that is verified by checksum
    text: int = (64 << 20) + SHORT  # a transfer through a filter
    trips: int = 10_000  # there and back
    lines: int = 1000  # through a filter, one at a time
    connections: int = 500
    clients: int = 10_000  # connected at the same time
    readers: int = 1000  # clients that receive a file at the same time
    portion: int = 1 << 20  # the size of that file
    hub_lines: int = 8_000_000  # sent by a hub, to all readers together
    datagrams: int = 100_000
    flood: int = 500  # milliseconds of datagrams
    ports: int = 65535  # the last port of the scan
    starts: int = 10
    deadline: float = 30  # seconds, of each trial


FULL = Scale()
QUICK = Scale(*(math.ceil(value / 50) for value in FULL))._replace(deadline=10)


class Payload(NamedTuple):
    """A file to be transferred, and the SHA-256 digest of the bytes that must arrive."""

    path: Path
    size: int
    digest: bytes

    def feed(self, writer: FileIO) -> None:
        """Write the file into a pipe, and close the pipe."""
        with writer, self.path.open("rb", buffering=0) as source:
            while os.splice(source.fileno(), writer.fileno(), SLICE):
                pass

    def pour(self, sock: socket.socket) -> None:
        """Send the file, and half-close."""
        with self.path.open("rb", buffering=0) as source:
            while os.sendfile(sock.fileno(), source.fileno(), None, SLICE):
                pass
        sock.shutdown(socket.SHUT_WR)

    def check_size(self, size: int) -> None:
        """Raises Wrong unless that is the size of the payload."""
        if size != self.size:
            raise Wrong(f"delivered {size:,} of {self.size:,} bytes")

    def check(self, blocks: Iterable[bytes]) -> None:
        """Read all blocks. Raises Wrong unless they are the payload."""
        digest, size = sha256(), 0
        for block in blocks:
            digest.update(block)
            size += len(block)
        self.check_size(size)
        if digest.digest() != self.digest:
            raise Wrong("delivered other bytes than were sent")


def blocks_of(source: socket.socket | FileIO) -> Iterable[bytes]:
    """Read to the end."""
    read = source.recv if isinstance(source, socket.socket) else source.read
    return iter(partial(read, SLICE), b"")


def discard(source: socket.socket | FileIO) -> int:
    """Read to the end without a copy (tcp(7): MSG_TRUNC; splice(2)), and count the bytes."""
    with open(os.devnull, "wb", buffering=0) as nowhere:
        if isinstance(source, socket.socket):
            take = partial(source.recv_into, bytearray(SLICE), SLICE, socket.MSG_TRUNC)
        else:
            take = partial(os.splice, source.fileno(), nowhere.fileno(), SLICE)
        return sum(iter(take, 0))


class Setting(NamedTuple):
    """What all trials of a run share: the payloads, and the directory for what arrives."""

    scale: Scale
    directory: Path
    bulk: Payload
    check: Payload
    text: Payload
    portion: Payload


def adapted(scale: Scale) -> Scale:
    """The scale with a bulk that suits the speed of this machine and its room for files."""
    room = shutil.disk_usage(_place()).free // 4  # the file, its copy, and as much for other programs
    fit = min(1.0, _loopback_speed() / ORDINARY_SPEED, room / scale.bulk)
    return scale._replace(bulk=max(int(scale.bulk * fit), QUICK.bulk))


@contextmanager
def prepared(scale: Scale) -> Iterator[Setting]:
    """Make the payloads, and remove them at the end."""
    with TemporaryDirectory(prefix="pync-bench-", dir=_place()) as name:
        at = Path(name)
        noise = random.Random("pync").randbytes(BLOCK + 1)  # not a power of two: blocks that change places show
        yield Setting(
            scale,
            at,
            bulk=_written(at / "bulk", noise, scale.bulk),
            check=_written(at / "check", noise, scale.check),
            text=_written(at / "text", LINE, scale.text, upper=True),
            portion=_written(at / "portion", noise, scale.portion),
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver = listener.accept()[0]
    with sender, receiver:
        thread = threading.Thread(target=sender.sendmsg, args=[[bytes(SLICE)] * BLOCKS])
        began = time.perf_counter()
        thread.start()
        buffer, left = bytearray(SLICE), SLICE * BLOCKS
        while left:
            left -= receiver.recv_into(buffer)
        thread.join()
        return SLICE * BLOCKS / (time.perf_counter() - began)
