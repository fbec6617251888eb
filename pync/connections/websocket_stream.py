"""WebSocket over any other stream (RFC 6455): a stream of bytes whose pieces travel as messages.

Theory: wsproto only computes here. Every byte is read and written by the stream below, a socket or TLS. What is read
from a message is passed on by parts, so that no message has to fit into memory. Its boundaries are not kept. What is
written at once, at most PIECE bytes, is one message: the line of a terminal, or what one read of a pipe gave.

Rules
1. A task that finds `_unsent` empty may fill it, and then it sends it. So frames never mix, although one task reads
   while another one writes. Reading can produce an answer (a Pong, a Close). It is sent at once if that is possible,
   and otherwise with the next write. A task that reads never waits for the peer to read.
2. There is no half-close. Our end-of-file is a Close, which a peer answers with its own and sends nothing more. What
   comes until then is received. A peer's Close is answered at once, and then nothing can be written.
3. A connection that ends without the peer's Close was cut off, as one of TLS without a close_notify.
"""

from __future__ import annotations

import codecs

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from pync.endpoints import LINGER
from pync.endpoints.streams import Stream
from pync.errors import PeerLost, Truncated
from pync.printable import printable, question_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.endpoints import Bytes, Peer

PIECE = 64 * 1024  # bytes of one message that is sent, at most
ANSWERS_LIMIT = 64 * 1024  # bytes of answers that wait for a peer, at most
NORMAL = 1000
PROPER = (NORMAL, 1001, 1005)  # close codes that report no failure: done, going away, none given
OPEN = ConnectionState.OPEN


class WebSocketStream(Stream):
    """A WebSocket connection after its handshake. It owns the stream below and closes it."""

    below: Peer
    has_half_close = False

    __slots__ = (
        *("loop", "address", "sock", "below", "half_closed", "ended", "truncated"),
        *("_frames", "_text", "_unsent", "_answers", "_received", "_failure", "_notice", "_tls"),
    )

    def __init__(self, below: Peer, *, server_side: bool, text: bool, received: bytes = b"") -> None:
        """`text`: text messages are sent, not binary ones. `received`: what came after the handshake."""
        self.below = below
        self.loop, self.address, self.sock = below.loop, below.address, below.sock
        self._frames = Connection(ConnectionType.SERVER if server_side else ConnectionType.CLIENT)
        # Characters may be split between two writes, but not between two messages.
        self._text = codecs.getincrementaldecoder("utf-8")() if text else None
        self._tls: Any = below if below.raw() is None else None
        below.carries_tls()
        self.half_closed = False
        self.ended = False  # the peer has sent its Close
        self.truncated = False  # the connection ended, and the peer had not sent its Close
        self._unsent = memoryview(b"")
        self._answers = b""
        self._received = b""
        self._failure: str | None = None  # why no more can be read
        self._notice = 0  # bytes of our Close
        self._receive(received)

    # -- Reading

    async def read(self) -> bytes | None:
        """What was received; None at the peer's Close, or where the connection ended. Raises PeerLost."""
        data = await self.peek()
        self._received = b""
        return data

    async def peek(self) -> bytes | None:
        """What was received, which stays there to be read; None at the peer's end. Raises PeerLost."""
        while not self._received:
            if self._failure:
                raise self._peer_lost(self._failure)
            if self.ended or self.truncated:
                return None
            data = await self.below.read()
            if data is None:
                self.truncated = True
            else:
                self._receive(data)
        return self._received

    async def skip(self, count: int) -> None:
        """Take `count` of the bytes that `peek` has returned."""
        self._received = self._received[count:]

    def _receive(self, data: bytes) -> None:
        """Take in what came from below: the data of messages, and what has to be answered."""
        parts = [self._received]
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, TextMessage):
                parts.append(event.data.encode())
            elif isinstance(event, BytesMessage):
                parts.append(bytes(event.data))
            elif isinstance(event, Ping) and self._frames.state is OPEN:
                self._answer(event.response())
            elif isinstance(event, CloseConnection):
                self._closed(event)
                break
        self._received = b"".join(parts)
        self._send_answers()

    def _closed(self, event: CloseConnection) -> None:
        """Take note of the peer's Close, or of what in its frames is against the protocol, and answer it."""
        state = self._frames.state
        if state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            self.ended = True
            if event.code not in PROPER:
                why = f": {printable(event.reason, question_mark)}" if event.reason else ""
                self._failure = f"closed by the peer with code {int(event.code)}{why}"
        else:
            self._failure = f"against the protocol of WebSocket (close code {int(event.code)}): {event.reason}"
        if state is ConnectionState.REMOTE_CLOSING:
            self._answer(event.response())
        elif state is OPEN:
            self._answer(CloseConnection(code=event.code))

    def _answer(self, event: Event) -> None:
        self._answers += self._frames.send(event)
        if len(self._answers) > ANSWERS_LIMIT:
            self._failure = self._failure or "it takes none of the answers that it asks for"

    def _send_answers(self) -> None:
        """Send what reading has produced, if no task is sending and the stream below takes it at once."""
        if self._answers and not self._unsent:
            self._unsent = memoryview(self._answers)
            self._answers = b""
            self._unsent = self._unsent[self.below.send_nowait(self._unsent) :]

    # -- Writing

    async def write(self, data: Bytes) -> int:
        """Send a piece of `data` as a message; returns its bytes. Raises PeerLost."""
        await self._flush()
        if self._frames.state is not OPEN:
            raise self._peer_lost(self._failure or "the peer has closed it")
        piece = bytes(memoryview(data)[:PIECE])
        if message := self._message(piece):
            self._unsent = memoryview(self._frames.send(message))
        await self._flush()
        return len(piece)

    def _message(self, piece: bytes) -> BytesMessage | TextMessage | None:
        """The piece as a message; None if it is the first part of a character. Raises PeerLost if it is no text."""
        if self._text is None:
            return BytesMessage(data=piece)
        try:
            text = self._text.decode(piece)
        except UnicodeDecodeError:
            raise self._peer_lost("what is to be sent is not UTF-8, which --ws-text needs") from None
        return TextMessage(data=text) if text else None

    async def _flush(self) -> None:
        """Send all that waits to be sent. Raises PeerLost."""
        while self._unsent or self._answers:
            if not self._unsent:
                self._unsent, self._answers = memoryview(self._answers), b""
            # A write of TLS that is cancelled cannot return how many bytes it has encrypted: see `TlsStream.flush`.
            if self._tls:
                await self._tls.flush()
                self._unsent = self._unsent[self._tls.encrypt(self._unsent) :]
                await self._tls.flush()
            else:
                self._unsent = self._unsent[await self.below.write(self._unsent) :]

    async def send_eof(self) -> None:
        """Send a Close after all that was written, unless the peer's has been answered."""
        if not self.half_closed:
            self.half_closed = True
            await self._flush()
            if self._text and self._text.getstate()[0]:
                raise self._peer_lost("what was to be sent ended within a character of UTF-8")
            if self._frames.state is OPEN:
                close = self._frames.send(CloseConnection(code=NORMAL))
                self._notice = len(close)
                self._answers += close
        try:
            await self._flush()
        except PeerLost:  # a peer that has left needs no Close; reading finds out whether it has sent its own
            self._notice = 0

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Send our Close, and wait for the peer to take what it was sent; False if `limit` seconds were too few."""
        until = None if limit is None else self.loop.clock() + limit
        try:
            await self.loop.within(limit, self.send_eof())
        except TimeoutError:
            return False
        return await self.below.linger(None if until is None else max(0.0, until - self.loop.clock()))

    # -- The connection

    def check_clean_end(self) -> None:
        """Raises PeerLost if the connection ended without the peer's Close."""
        if self.truncated:
            raise Truncated(f"connection to {self.address}", "truncated: it ended without a Close of WebSocket")

    async def shutdown(self) -> None:
        """Send our Close, and the end of TLS below. Raises PeerLost if the peer has not sent its own Close."""
        try:
            await self.loop.within(LINGER, self.send_eof())
            await self.below.shutdown()
        except (TimeoutError, Truncated):  # the peer takes nothing any more; its Close says enough without TLS's
            pass
        self.check_clean_end()

    def _peer_lost(self, why: str) -> PeerLost:
        return PeerLost(f"connection to {self.address}", why)

    def unacknowledged(self) -> int:
        """Bytes below that the peer has not acknowledged, without our Close."""
        return max(0, self.below.unacknowledged() - self._notice)

    def unsent(self) -> int:
        """Bytes below that were not sent, without our Close."""
        return max(0, self.below.unsent() - self._notice)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions. Raises PeerLost if it was reset."""
        if not self.ended:
            await self.below.wait_closed()

    def close(self) -> None:
        """Close the connection. Unless `send_eof` or `linger` came before, the peer sees that it was cut off."""
        self.below.close()

    def abort(self) -> None:
        """Close the connection with a reset, so that the peer sees that it broke."""
        self.below.abort()
