"""Frames of WebSocket made and read by hand, and the handshake of both roles over a plain socket (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from clients import take
from harness import connect

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the answer to that key: RFC 6455, section 1.3
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, FIN = 0, 1, 2, 8, 9, 10, 128
MASK = b"\x12\x34\x56\x78"


def frame(first: int, data: bytes = b"", *, masked: bool = True) -> bytes:
    """A frame that begins with this byte; those of a client are masked (section 5.2)."""
    size = len(data)
    head = bytes([first]) + length(size, 128 * masked)
    return head + MASK + masking(data) if masked else head + data


def length(size: int, mask_bit: int) -> bytes:
    """The shortest field for a payload's length."""
    if size < 126:
        return bytes([size | mask_bit])
    few = size < 1 << 16
    return bytes([(126 if few else 127) | mask_bit]) + size.to_bytes(2 if few else 8, "big")


def masking(data: bytes) -> bytes:
    """The data, masked or unmasked."""
    mask = (MASK * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")


def closing(code: int, reason: bytes = b"", *, masked: bool = True) -> bytes:
    """A Close."""
    return frame(FIN | CLOSE, code.to_bytes(2, "big") + reason, masked=masked)


class Frame(NamedTuple):
    """A frame that was received."""

    first: int
    data: bytes


def next_frame(conn: socket.socket) -> Frame:
    """The next frame, unmasked."""
    first, second = take(conn, 2)
    size, masked = second & 127, second & 128
    if size > 125:
        size = int.from_bytes(take(conn, 2 if size == 126 else 8), "big")
    mask = take(conn, 4) if masked else b""
    data = take(conn, size)
    if mask:
        data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return Frame(first, data)


def messages(conn: socket.socket, size: int) -> bytes:
    """`size` bytes of messages."""
    data = b""
    while len(data) < size:
        first, more = next_frame(conn)
        assert first in (FIN | TEXT, FIN | BINARY), f"frame {first}, {more!r}"
        data += more
    return data


def close_code(conn: socket.socket) -> int:
    """The code of the Close that is the next frame."""
    first, data = next_frame(conn)
    assert first == FIN | CLOSE, f"frame {first}, {data!r}"
    return int.from_bytes(data[:2], "big")


def head_of(conn: socket.socket) -> bytes:
    """A head of HTTP, read byte by byte, so that nothing after it is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := conn.recv(1)):
        head += byte
    return head


@contextmanager
def asked(port: int, header: str = "") -> Iterator[tuple[socket.socket, bytes]]:
    """A client that has asked for WebSocket, and the head of the answer."""
    with connect(port) as conn:
        conn.sendall((REQUEST % header).encode())
        yield conn, head_of(conn)


def answered(conn: socket.socket, header: str = "") -> bytes:
    """Answer a client's request with 101, and return its head."""
    head = head_of(conn)
    fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:] if line)
    assert fields[b"upgrade"] == b"websocket"
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")).split()[1]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    status = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    conn.sendall(f"{status}Sec-WebSocket-Accept: {accept}\r\n{header}\r\n".encode())
    return head
