"""The other side of a WebSocket stream on the same loop, for unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance import Far
from tls import FarTls, put
from websocket_frames import BINARY, CLOSE, FIN, frame
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Pong, TextMessage

if TYPE_CHECKING:
    from conformance import FarSocket

    from pync.loop.kernel import Loop


class FarWebSocket(Far):
    """The other side of a WebSocket stream, over another far side. `server`: it is the server."""

    def __init__(self, loop: Loop, below: FarSocket | FarTls, *, server: bool) -> None:
        self.loop = loop
        self.below = below
        self.masks = not server
        self.frames = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
        self.pongs: list[bytes] = []
        self.closed: int | None = None  # the code of the Close that has come

    async def give(self, data: bytes) -> None:
        """Send it as messages of at most 64 KiB."""
        for at in range(0, len(data), 1 << 16):
            await self.below.give(frame(FIN | BINARY, data[at : at + (1 << 16)], masked=self.masks))

    def put(self, head: int, data: bytes = b"") -> None:
        """Send a frame, at once."""
        put(self.below, frame(head, data, masked=self.masks))

    async def take(self) -> bytes | None:
        while self.closed is None:
            if data := self._decoded():
                return data
            if self.closed is None:
                more = await self.below.take()
                if more is None:
                    return None
                self.frames.receive_data(more)
        return None

    def _decoded(self) -> bytes:
        got = b""
        for event in self.frames.events():
            if isinstance(event, BytesMessage | TextMessage):
                got += event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                self.closed = event.code
                break
        return got

    def hang_up(self) -> None:
        """Send a Close, at once: on a socket that takes it."""
        self.put(FIN | CLOSE, b"\x03\xe8")

    def leave(self) -> None:
        self.below.leave()

    def close(self) -> None:
        self.below.close()
