"""The other side of a scene: our ends of connections, and the sockets at which they are accepted.

An end keeps what has arrived until a step of the script takes it. So the order in which a transcript tells things is
the order of the script.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pump import Pump

RANDOM = 8192  # from here on a port is one that nobody has chosen
FAMILIES = {"tcp": socket.SOCK_STREAM, "unix": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
FAMILIES["unixgram"] = socket.SOCK_DGRAM

# Held while a program is started. Until it runs it has a copy of every descriptor of this process, of other scenes
# too: a socket that is closed meanwhile would stay open there, and refuse nothing.
STARTING = threading.Lock()


class End:
    """Our end of one connection, or our socket for datagrams."""

    def __init__(self, pump: Pump, sock: socket.socket) -> None:
        self.sock = sock
        self.datagrams = sock.type == socket.SOCK_DGRAM
        self.inbox: list[tuple[bytes, str]] = []  # what has arrived, and for datagrams from which address
        self.ended = ""  # "FIN" or "RST", once it has
        self.sender: Any = None  # the address of the last datagram
        self._told = False
        self._pump = pump
        sock.setblocking(False)
        pump.watch(sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            data, sender = self.sock.recvfrom(1 << 17)
        except BlockingIOError:
            return
        except ConnectionError as error:
            if not self.datagrams:
                self._end("RST")
            else:
                self.inbox.append((b"", f"nowhere: {error.strerror}"))
            return
        if self.datagrams:
            self.sender = sender or None
            self.inbox.append((data, written(sender)))
        elif data:
            self.inbox[:] = [(b"".join([*(each for each, _ in self.inbox), data]), "")]
        else:
            self._end("FIN")

    def _end(self, how: str) -> None:
        self.ended = how
        self._pump.forget(self.sock.fileno())

    @property
    def received(self) -> bytes:
        """What has arrived and has not been taken."""
        return b"".join(data for data, _ in self.inbox)

    def taken(self) -> list[str]:
        """A line for each thing that has arrived since the last time."""
        lines = [f"received {shown(data)}" + (f" from {sender}" if sender else "") for data, sender in self.inbox]
        self.inbox.clear()
        if self.ended and not self._told:
            self._told = True
            lines.append(self.ended)
        return lines

    def send(self, data: bytes) -> None:
        """Send all of it; what an end that has closed does not take is dropped."""
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            if self.datagrams and self.sender:
                self.sock.sendto(data, self.sender)
                return
            rest = memoryview(data)
            while rest or self.datagrams:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self.sock.send(rest) :]
                    if self.datagrams:
                        return
                self._pump.wait(lambda: bool(self.ended), 0.01)
                if self.ended == "RST":
                    return

    def half_close(self) -> None:
        """Send the end-of-file."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Close it, or reset it. What had arrived and was not taken is a matter of chance, and no fact."""
        if self.sock.fileno() < 0:
            return
        self._pump.forget(self.sock.fileno())
        self.inbox.clear()
        self._told = True
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with STARTING:
            self.sock.close()

    @property
    def open(self) -> bool:
        """Whether more may arrive."""
        return self.sock.fileno() >= 0 and not self.ended


def written(address: object) -> str:
    """An address as a transcript has it."""
    if isinstance(address, tuple):
        port = address[1]
        return f"{address[0]}" + (f":{port}" if port < RANDOM else "")
    return os.fsdecode(address) if isinstance(address, bytes) else str(address or "")


def shown(data: bytes) -> str:
    """Bytes as a transcript has them."""
    if len(data) <= 600:
        return repr(data)
    start = repr(data[:16])
    return f"{len(data)} bytes, {start}…" + ("" if data == pattern(len(data)) else " not as sent")


def pattern(size: int) -> bytes:
    """So many bytes that are known."""
    return (b"0123456789abcde\n" * (size // 16 + 1))[:size]


def address_of(words: list[str]) -> tuple[int, Any]:
    """`KIND HOST PORT` or `KIND PATH`: the family and the address."""
    if words[0].startswith("unix"):
        return socket.AF_UNIX, "\0" + words[1][1:] if words[1].startswith("@") else words[1]
    return (socket.AF_INET6 if ":" in words[1] else socket.AF_INET), (words[1], int(words[2]))


def bound(words: list[str], *options: int) -> socket.socket:
    """A socket of this kind that is bound to this address."""
    family, address = address_of(words)
    sock = socket.socket(family, FAMILIES[words[0]])
    if words[0] == "tcp":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for option in options:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(address)
    return sock
