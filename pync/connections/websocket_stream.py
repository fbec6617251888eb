"""WebSocket over any other stream (RFC 6455): a stream of bytes whose pieces travel as messages.

Theory: wsproto only computes here, and the rules of every layer hold (`endpoints/layered.py`). What is read from a
message is passed on by parts, so that no message has to fit into memory. Its boundaries are not kept. What is written
at once, at most PIECE bytes, is one message: the line of a terminal, or what one read of a pipe gave.

Rules
1. There is no half-close. Our end-of-file is a Close, which a peer answers with its own and sends nothing more. What
   comes until then is received. A peer's Close is answered at once, and then nothing can be written.
2. A peer that leaves our Close unanswered is given up after CLOSE_LIMIT seconds in which we wait and no data comes.
3. After every TURN frames the other tasks have their turn: one read may hold 43,000 frames, for each of which wsproto
   takes ten microseconds.
4. Of many pings that come while the peer takes no answer, the last one alone is answered (section 5.5.3).
"""

from __future__ import annotations

import codecs

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from pync.endpoints.layered import LayeredStream
from pync.printable import printable, question_mark
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Peer
    from pync.loop.tasks import Task

PIECE = 64 * 1024  # bytes of one message that is sent, at most
ANSWERS_LIMIT = 64 * 1024  # bytes of answers that wait for a peer, at most, and one more answer
TURN = 1000
CLOSE_LIMIT = 10.0  # seconds
NORMAL = 1000
NO_TEXT = 1007
PROPER = (NORMAL, 1001, 1005)  # close codes that report no failure: done, going away, none given
OPEN = ConnectionState.OPEN


class WebSocketStream(LayeredStream):
    """A WebSocket connection after its handshake. It owns the stream below and closes it."""

    has_half_close = False

    __slots__ = ("_closing", "_frames", "_more", "_outgoing", "_reading_since", "_text")

    def __init__(self, below: Peer, *, server_side: bool, text: bool, received: bytes = b"") -> None:
        """`text`: text messages are sent, not binary ones. `received`: what came after the handshake."""
        super().__init__(below, "a Close of WebSocket")
        self._frames = Connection(ConnectionType.SERVER if server_side else ConnectionType.CLIENT)
        # Characters may be split between two writes, but not between two messages.
        self._text = codecs.getincrementaldecoder("utf-8")() if text else None
        self._outgoing = bytearray()  # while a task waits, there are only answers in it
        self._more = False  # frames were received that are not decoded yet
        self._reading_since: float | None = None  # when the wait began that is a read's now
        self._closing: Task | None = None  # waits for the answer to our Close
        self._put(received)

    async def peek(self) -> bytes | None:
        """What was received, which stays there to be read; None at the peer's Close. Raises PeerLost."""
        self._reading_since = self.loop.clock()
        try:
            if self._more and not self._received:
                await self.loop.sleep(0)
            return await super().peek()
        finally:
            self._reading_since = None

    async def _fill(self) -> bool:
        if not self._more:
            return await super()._fill()
        await self.loop.sleep(0)
        return True

    def _put(self, data: bytes) -> None:
        self._frames.receive_data(data)

    def _decode(self) -> bytes:
        parts: list[bytes] = []
        self._more = False
        for count, event in enumerate(self._frames.events(), 1):
            if isinstance(event, TextMessage):
                parts.append(event.data.encode())
            elif isinstance(event, BytesMessage):
                parts.append(bytes(event.data))
            elif isinstance(event, Ping) and self._frames.state is OPEN:
                self._pong(event)
            elif isinstance(event, CloseConnection):
                self._closed(event)
                break
            if count == TURN:
                self._more = True
                break
        self._send_answers()
        return b"".join(parts)

    def _pong(self, ping: Ping) -> None:
        """Answer a ping, in place of those whose answers the peer does not take."""
        if len(self._outgoing) > ANSWERS_LIMIT:
            self._send_answers()
            if len(self._outgoing) > ANSWERS_LIMIT:
                self._outgoing.clear()
        self._outgoing += self._frames.send(ping.response())

    def _closed(self, event: CloseConnection) -> None:
        """Take note of the peer's Close, or of what in its frames is against the protocol, and answer it."""
        state = self._frames.state
        if state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            self.ended = True
            if event.code not in PROPER:
                why = f": {printable(event.reason, question_mark)}" if event.reason else ""
                self._failure = f"closed by the peer with code {int(event.code)}{why}"
        else:
            fault = "text that is not UTF-8" if event.code == NO_TEXT else event.reason
            self._failure = f"against the protocol of WebSocket (close code {int(event.code)}): {fault}"
        if state is ConnectionState.REMOTE_CLOSING:
            self._outgoing += self._frames.send(event.response())
        elif state is OPEN:
            self._outgoing += self._frames.send(CloseConnection(code=event.code))

    def _encode(self, data: Bytes) -> int:
        if self._frames.state is not OPEN:
            raise self._lost(self._failure or "the peer has closed it")
        piece = bytes(memoryview(data)[:PIECE])
        if message := self._message(piece):
            self._outgoing += self._frames.send(message)
        return len(piece)

    def _message(self, piece: bytes) -> BytesMessage | TextMessage | None:
        """The piece as a message; None if it is the first part of a character. Raises PeerLost if it is no text."""
        if self._text is None:
            return BytesMessage(data=piece)
        try:
            text = self._text.decode(piece)
        except UnicodeDecodeError:
            raise self._lost("what is to be sent is not UTF-8, which --ws-text needs") from None
        return TextMessage(data=text) if text else None

    def _end(self) -> int:
        """A Close, unless the peer's has been answered."""
        if self._text and self._text.getstate()[0]:
            raise self._lost("what was to be sent ended within a character of UTF-8")
        if self._frames.state is not OPEN:
            return 0
        close = self._frames.send(CloseConnection(code=NORMAL))
        self._outgoing += close
        return len(close)

    def _collect(self) -> Bytes:
        if not self._outgoing:
            return b""
        ready, self._outgoing = self._outgoing, bytearray()
        return memoryview(ready)

    async def send_eof(self) -> None:
        """Send a Close after all that was written, which the peer has to answer. Raises PeerLost: half a character."""
        first = not self.half_closed
        await super().send_eof()
        if first and self.notice:
            self._closing = self.loop.spawn(self._await_answer())

    async def _await_answer(self) -> None:
        sent = self.loop.clock()
        while not self.ended:
            now = self.loop.clock()
            end = CLOSE_LIMIT + (now if self._reading_since is None else max(sent, self._reading_since))
            if now >= end:
                self.mark = "an answer to our Close of WebSocket"
                try:
                    self.sock.shutdown(socket.SHUT_RD)  # a read that waits finds the end of the connection
                except OSError:  # the connection is broken, and the read reports how
                    pass
                return
            await self.loop.sleep(end - now)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions. Raises PeerLost if it was reset."""
        if not self.ended:
            await self.below.wait_closed()

    def close(self) -> None:
        """Close the connection. Unless `send_eof` or `linger` came before, the peer sees that it was cut off."""
        self._stop_waiting()
        self.below.close()

    def abort(self) -> None:
        """Close the connection with a reset, so that the peer sees that it broke."""
        self._stop_waiting()
        self.below.abort()

    def _stop_waiting(self) -> None:
        if self._closing:
            self._closing.cancel()
