"""Payloads on their way: poured by sendfile or splice, drained without a copy. What limits a transfer is the tool."""

from __future__ import annotations

import os
import socket
from hashlib import sha256
from typing import TYPE_CHECKING

from bench.outcomes import Wrong

if TYPE_CHECKING:
    from io import FileIO

    from bench.scale import Payload

SLICE = 1 << 20  # bytes moved by one call


def feed(writer: FileIO, payload: Payload) -> None:
    """Put the payload into a pipe, and close it."""
    with writer, payload.path.open("rb", buffering=0) as source:
        while os.splice(source.fileno(), writer.fileno(), SLICE):
            pass


def pour(sock: socket.socket, payload: Payload) -> None:
    """Send the payload, and half-close."""
    with payload.path.open("rb", buffering=0) as source:
        while os.sendfile(sock.fileno(), source.fileno(), None, SLICE):
            pass
    sock.shutdown(socket.SHUT_WR)


def discard(source: socket.socket | FileIO) -> int:
    """Read to the end without a copy, and count the bytes."""
    return _discard_stream(source) if isinstance(source, socket.socket) else _discard_pipe(source)


def verify(source: socket.socket | FileIO, payload: Payload) -> None:
    """Read to the end. Raises Wrong if that is not the payload."""
    read = source.recv_into if isinstance(source, socket.socket) else source.readinto
    buffer, digest, count = bytearray(SLICE), sha256(), 0
    while size := read(buffer):
        digest.update(memoryview(buffer)[:size])
        count += size
    counted(count, payload)
    matched(digest.digest(), payload)


def counted(count: int, payload: Payload) -> None:
    """Raises Wrong if that is not the size of the payload."""
    if count != payload.size:
        raise Wrong(f"delivered {count:,} of {payload.size:,} bytes")


def matched(digest: bytes, payload: Payload) -> None:
    """Raises Wrong if that is not the digest of the payload."""
    if digest != payload.digest:
        raise Wrong("delivered other bytes than were sent")


def _discard_stream(sock: socket.socket) -> int:
    """Read to the end without a copy (tcp(7): MSG_TRUNC), and count the bytes."""
    buffer, count = bytearray(SLICE), 0
    while size := sock.recv_into(buffer, SLICE, socket.MSG_TRUNC):
        count += size
    return count


def _discard_pipe(pipe: FileIO) -> int:
    """Read to the end without a copy, and count the bytes."""
    count = 0
    with open(os.devnull, "wb", buffering=0) as nowhere:
        while size := os.splice(pipe.fileno(), nowhere.fileno(), SLICE):
            count += size
    return count
