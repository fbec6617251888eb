"""A stream that lies over another stream: what TLS and WebSocket have in common, and how such a stream ends.

Theory: a layer only computes. `_encode` makes of what is written what the stream below is to send, and `_decode` makes
of what was received below what the layer's reader gets. `_collect` takes out what is to be sent, and `_unsent` is the
part of it that has not been sent yet. Each half ends with a mark of the layer's own: a close_notify, a Close.

Rules
1. A task that finds `_unsent` empty may fill it, and then it sends it. So records never mix, although one task reads
   while another one writes. Reading can produce an answer: an alert, a Pong. It is sent at once if that is possible,
   and otherwise with the next write. A task that reads never waits for the peer to read.
2. A write that is cancelled has encoded its piece. That piece is sent before anything else.
3. A stream ends in this order: our mark after all that was written, then whatever ends the stream below. A mark that
   cannot be sent is an error only if the peer has not sent its own, or has not acknowledged what came before ours.
4. A connection that ends without the peer's mark was cut off, and it is unknown what did that. What was received before
   is good, and reading ends as if the peer had ended; but `check_clean_end` fails. The session decides whether anything
   can be missing (`relay/truncation.py`).
"""

from __future__ import annotations

from pync.endpoints import LINGER
from pync.endpoints.streams import Stream
from pync.errors import PeerLost, Truncated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Peer

ENVELOPE = 32  # bytes that the layer below adds to a mark, at most


class LayeredStream(Stream):
    """A stream over the stream `below`, which it owns and closes."""

    below: Peer

    __slots__ = (
        *("loop", "address", "sock", "below", "mark", "half_closed", "taken", "notice", "ended", "truncated"),
        *("_unsent", "_received", "_failure", "_write_error"),
    )

    def __init__(self, below: Peer, mark: str) -> None:
        """`mark` names what ends each half, for people."""
        self.below = below
        self.loop, self.address, self.sock = below.loop, below.address, below.sock
        self.mark = mark
        below.carries_tls()
        self.half_closed = False
        self.taken = 0
        self.notice = 0  # bytes below of our mark
        self.ended = False  # the peer has sent its mark
        self.truncated = False  # the connection ended, and the peer had not sent its mark
        self._unsent = memoryview(b"")
        self._received = b""  # what was decoded and not read yet
        self._failure: str | None = None  # why no more can be decoded
        self._write_error: PeerLost | None = None  # the failure to send our mark

    # -- What a layer computes

    def _put(self, data: bytes) -> None:
        """Take in what came from below."""
        raise NotImplementedError

    def _decode(self) -> bytes:
        """What can be read now. Takes note of the peer's mark and of a failure, and sends the answers that it can."""
        raise NotImplementedError

    def _encode(self, data: Bytes) -> int:
        """Make a piece of `data` ready to be sent; returns its bytes. Raises PeerLost."""
        raise NotImplementedError

    def _end(self) -> int:
        """Make our mark ready to be sent; returns its bytes. Raises PeerLost if what was written is not whole."""
        raise NotImplementedError

    def _collect(self) -> Bytes:
        """Take out all that is ready to be sent."""
        raise NotImplementedError

    # -- Reading

    async def read(self) -> bytes | None:
        """What was received; None at the peer's end-of-file, or where the connection ended. Raises PeerLost."""
        data = await self.peek()
        self._received = b""
        return data

    async def peek(self) -> bytes | None:
        """What was received, which stays there to be read; None at the peer's end-of-file. Raises PeerLost."""
        while not self._received:
            self._received = self._decode()
            if self._received:
                break
            if self._failure:
                raise self._lost(self._failure)
            if self._write_error and self.truncated:
                raise self._write_error
            if self.ended or self.truncated:
                return None
            self.truncated = not await self._fill()
        return self._received

    async def skip(self, count: int) -> None:
        """Take `count` of the bytes that `peek` has returned."""
        self._received = self._received[count:]

    async def _fill(self) -> bool:
        """Take in what the stream below receives next; False at its end."""
        data = await self.below.read()
        if data is None:
            return False
        self._put(data)
        return True

    def _send_answers(self) -> None:
        """Send what is ready, if no task is sending and the stream below takes it at once."""
        if not self._unsent and (ready := self._collect()):
            self._unsent = memoryview(ready)[self.below.send_nowait(ready) :]

    # -- Writing

    async def write(self, data: Bytes) -> int:
        """Encode a piece of `data` and send it; returns its bytes. Raises PeerLost."""
        await self.flush()
        self.taken = count = self._encode(data)
        await self.flush()
        self.taken = 0
        return count

    async def flush(self) -> None:
        """Send all that waits to be sent. Raises PeerLost."""
        below = self.below
        while self._unsent or (ready := self._collect()):
            self._unsent = self._unsent or memoryview(ready)
            # A write of a layer that is cancelled may have encoded some bytes, but cannot return their number. So the
            # steps of a write are taken one by one here: what is encoded is counted before the next step can fail.
            if isinstance(below, LayeredStream):
                await below.flush()
                self._unsent = self._unsent[below._encode(self._unsent) :]
                await below.flush()
            else:
                self._unsent = self._unsent[await below.write(self._unsent) :]

    def send_nowait(self, data: Bytes) -> int:
        """Encode a piece of `data` if nothing else waits to be sent, and send what the stream below takes at once."""
        self._send_answers()
        if self._unsent:
            return 0
        try:
            count = self._encode(data)
        except PeerLost:
            return 0
        self._send_answers()
        return count

    # -- The end

    async def send_eof(self) -> None:
        """Send our mark after all that was written. Raises PeerLost if that is not whole."""
        if not self.half_closed:
            self.half_closed = True
            self.notice = self._end()
            if self.notice and isinstance(self.below, LayeredStream):
                self.notice += ENVELOPE
        try:
            await self.flush()
        except PeerLost as error:
            # The system reports a failure only once: the next read would see a mere end. So reading raises this one.
            self._write_error = error
            self.notice = 0

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Send our mark, and wait for the peer to take what it was sent; False if `limit` seconds were too few."""
        until = None if limit is None else self.loop.clock() + limit
        try:
            await self.loop.within(limit, self.send_eof())
        except TimeoutError:
            return False
        if self._write_error and self.unacknowledged():
            raise self._write_error
        return await self.below.linger(None if until is None else max(0.0, until - self.loop.clock()))

    def check_clean_end(self) -> None:
        """Raises PeerLost if the connection ended without the peer's mark."""
        if self.truncated:
            raise Truncated(f"connection to {self.address}", f"truncated: it ended without {self.mark}")

    async def shutdown(self) -> None:
        """Send our mark and those below, if not sent already. Raises PeerLost if the peer has not sent its own."""
        try:
            await self.loop.within(LINGER, self.send_eof())
            await self.below.shutdown()
        except (TimeoutError, Truncated):  # the peer takes nothing any more; its mark says enough without those below
            pass
        self.check_clean_end()

    def _lost(self, why: str) -> PeerLost:
        return PeerLost(f"connection to {self.address}", why)

    def unacknowledged(self) -> int:
        """Bytes, encoded, that the peer has not acknowledged. A peer that has left needs no mark."""
        waiting = len(self._unsent) if self.taken else 0
        return max(0, self.below.unacknowledged() + waiting - self.notice)

    def unsent(self) -> int:
        """Bytes below, encoded, that were not sent, without our mark."""
        return max(0, self.below.unsent() - self.notice)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions. Raises PeerLost if it was reset."""
        await self.below.wait_closed()

    def close(self) -> None:
        """Close the connection. Unless `send_eof` or `linger` came before, the peer sees that it was cut off."""
        self.below.close()

    def abort(self) -> None:
        """Close the connection with a reset, so that the peer sees that it broke."""
        self.below.abort()
