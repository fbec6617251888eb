"""Target: a client of `--ws`, its handshake and its frames. However they are split, the same comes out."""

from doubles import StubPeer, a_context, play

from fuzz import Target, pieces
from pync.connections.websocket import open_to_client
from pync.errors import PyncError
from pync.websocket_config import WebSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.loop.kernel import Loop

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)


FAULT = b"\x88\x02\x03\xef"  # a Close with code 1007


class Client(StubPeer):
    """Gives the pieces of its input, and keeps what it is sent."""

    sock: "Any" = None

    def __init__(self, loop: "Loop", parts: list[bytes]) -> None:
        super().__init__(loop)
        self.parts = list(parts)
        self.sent = b""

    def raw(self) -> int | None:
        return 0

    async def read(self) -> bytes | None:
        return self.parts.pop(0) if self.parts else None

    def send_nowait(self, data: "bytes | memoryview") -> int:
        self.sent += data
        return len(data)

    async def write(self, data: "bytes | memoryview") -> int:
        return self.send_nowait(data)

    def close(self) -> None:
        self.parts.clear()


def websocket(data: bytes) -> None:
    """A client of `--ws`: with an odd choice the head is a right one, and the input is its frames."""
    choice, whole, parts = pieces(data)
    head = [UPGRADE % b""] * (choice % 2)
    (one, answer), (other, again) = _outcome(head + [whole] * bool(whole)), _outcome(head + parts)
    # Of a text that is no UTF-8, what comes before the fault is received only if it has come earlier.
    assert answer == again and (other == one if not answer.endswith(FAULT) else other.startswith(one))


def _outcome(parts: list[bytes]) -> tuple[bytes, bytes]:
    """What is received, and what is answered."""

    async def main(loop: "Loop") -> tuple[bytes, bytes]:
        client, received = Client(loop, parts), b""
        try:
            stream = await open_to_client(a_context(loop, websocket=WebSocket()), client)
            while (more := await stream.read()) is not None:
                received += more
        except PyncError:
            pass
        return received, client.sent

    return play(main)


TARGETS = {
    "websocket": Target(
        websocket,
        [
            b"\0" + UPGRADE % b"" + b"\x81\x83\0\0\0\0abc",
            b"\0" + UPGRADE % b"Origin: http://a\r\n" + b"\x82\x80\1\2\3\4",
            b"\1\x01\x81\0\0\0\0\xc3\x89\x80\0\0\0\0\x80\x81\0\0\0\0\xa9\x88\x82\0\0\0\0\x03\xe8",
        ],
    ),
}
