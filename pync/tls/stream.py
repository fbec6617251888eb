"""TLS over any other stream: the same stream, encrypted.

Theory: OpenSSL only computes here (`ssl.MemoryBIO` and `SSLObject`). Every byte is read and written by the stream
below, so TLS may lie over a socket or over another TLS stream. What OpenSSL wants to be sent collects in `_outgoing`.
`_unsent` is what was taken out of there and has not been sent yet.

Rules
1. A task that finds `_unsent` empty may fill it, and then it sends it. So records never mix, although one task reads
   while another one writes. Reading can produce an answer: an alert (OpenSSL holds the answer to a KeyUpdate back until
   the next record, RFC 8446 §4.6.3). It is sent at once if that is possible, and otherwise with the next write. A task
   that reads never waits for the peer to read.
2. A write that is cancelled has encrypted its piece. That piece is sent before anything else.
3. Our end-of-file is a close_notify and nothing more; the peer's half goes on (RFC 8446 §6.1; OpenSSL and others do the
   same on TLS 1.2). `SSLObject.unwrap` looks for the peer's close_notify as well, and fails if data comes before it. So
   all that was received is decrypted first.
4. A connection that ends without the peer's close_notify was cut off, and it is unknown what did that. What was
   received before is good, and reading ends as if the peer had ended; but `check_clean_end` fails. The session decides
   whether anything can be missing (`relay/truncation.py`).
"""

from __future__ import annotations

import ssl

from pync.endpoints import CHUNK, LINGER, SHORT
from pync.endpoints.streams import Stream
from pync.errors import PeerLost, TlsError, Truncated
from pync.tls.reasons import failure_reason, handshake_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Peer

PIECE = 64 * 1024  # bytes encrypted at a time: with less there are more calls, and more makes nothing faster
RECORD = 16 * 1024  # bytes that one record holds (RFC 8446 §5.1), and one read returns, at most
ENVELOPE = 32  # bytes that the TLS below adds to a record, at most
ANSWERS_LIMIT = 64 * 1024  # bytes of answers that wait for a peer, at most
ALERT_TIME = 1.0  # seconds to send the alert about a handshake that has failed


class TlsStream(Stream):
    """A TLS connection. It owns the stream below and closes it."""

    below: Peer

    __slots__ = (
        *("loop", "address", "sock", "below", "tls", "server_name", "half_closed", "notice", "ended", "truncated"),
        *("taken", "_incoming", "_outgoing", "_unsent", "_decrypted", "_failure", "_write_error"),
    )

    def __init__(
        self, below: Peer, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        """`server_name` is asked for, and verified if the context verifies. Raises TlsError if it cannot be a name."""
        self.below = below
        self.loop, self.address, self.sock = below.loop, below.address, below.sock
        self.server_name = server_name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # Without a name, an SSLObject would verify none, although the context demands it.
        if context.check_hostname and not server_name:
            raise TlsError(self._goal, "nobody said which name the certificate must be for (--ssl-servername)")
        try:
            self.tls = context.wrap_bio(
                self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
            )
        except ValueError:  # UnicodeError is one
            raise TlsError(self._goal, f"{server_name} is no name of a server") from None
        below.carries_tls()
        self.half_closed = False
        self.taken = 0
        self.notice = 0  # bytes of our close_notify, encrypted
        self.ended = False  # the peer has sent its close_notify
        self.truncated = False  # the connection ended, and the peer had not sent its close_notify
        self._unsent = memoryview(b"")
        self._decrypted = b""  # what was decrypted and not read yet
        self._failure: str | None = None  # why no more can be decrypted
        self._write_error: PeerLost | None = None  # the failure of a write that was not raised

    @property
    def _goal(self) -> str:
        return f"TLS handshake with {self.address}"

    async def handshake(self) -> None:
        """Agree on keys with the peer, and verify its certificate if the context does. Raises TlsError, PeerLost."""
        while True:
            try:
                self.tls.do_handshake()
                return await self.flush()
            except ssl.SSLWantReadError:
                await self.flush()
                if not await self._fill():
                    raise TlsError(self._goal, "the peer hung up") from None
            except ssl.SSLError as error:
                why = handshake_failure(error, self.tls, self.server_name)
                await self._send_alert()
                raise TlsError(self._goal, why) from None

    async def _send_alert(self) -> None:
        """Send the alert with the reason of a failure, unless the peer does not take it."""
        try:
            await self.loop.within(ALERT_TIME, self.flush())
        except (TimeoutError, PeerLost):
            pass

    # -- Reading

    async def read(self) -> bytes | None:
        """What was received; None at the peer's end-of-file, or where the connection ended. Raises PeerLost."""
        data = await self.peek()
        self._decrypted = b""
        return data

    async def peek(self) -> bytes | None:
        """What was received, which stays there to be read; None at the peer's end-of-file. Raises PeerLost."""
        while not self._decrypted:
            self._decrypted = self._decrypt()
            if self._decrypted:
                break
            if self._failure:
                raise self._peer_lost(self._failure)
            if self._write_error and self.truncated:
                raise self._write_error
            if self.ended or self.truncated:
                return None
            self.truncated = not await self._fill()
        return self._decrypted

    async def skip(self, count: int) -> None:
        """Take `count` of the bytes that `peek` has returned."""
        self._decrypted = self._decrypted[count:]

    async def _fill(self) -> bool:
        """Give OpenSSL what the stream below receives next; False at its end."""
        data = await self.below.read()
        if data is None:
            return False
        self._incoming.write(data)
        return True

    def _decrypt(self) -> bytes:
        """What can be decrypted now, about CHUNK bytes. Remembers how the peer's half ended, if it did."""
        # To join the records is faster than to read into one buffer, for few bytes and for many.
        records: list[bytes] = []
        size, read = 0, self.tls.read
        try:
            while size < CHUNK and not (self.ended or self._failure):
                record = read(RECORD)
                records.append(record)
                size += len(record)
                self.ended = not record
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # once our own close_notify is sent, this stands for an empty record
            self.ended = True
        except ssl.SSLError as error:
            self._failure = failure_reason(error)
        self._send_answers()
        return b"".join(records)

    def _send_answers(self) -> None:
        """Send what reading has produced, if no task is sending and the stream below takes it at once."""
        if not self._unsent and (answer := self._outgoing.read()):
            self._unsent = memoryview(answer)[self.below.send_nowait(answer) :]
        if self._outgoing.pending > ANSWERS_LIMIT:
            self._failure = self._failure or "it takes none of the answers that it asks for"

    # -- Writing

    async def write(self, data: Bytes) -> int:
        """Encrypt a piece of `data` and send it; returns its bytes. Raises PeerLost."""
        await self.flush()
        self.taken = count = self.encrypt(data)
        await self.flush()
        self.taken = 0
        return count

    def encrypt(self, data: Bytes) -> int:
        """Encrypt a piece of `data`, which `flush` sends; returns its bytes. Raises PeerLost."""
        try:
            return self.tls.write(memoryview(data)[:PIECE])
        except ssl.SSLError as error:
            raise self._peer_lost(failure_reason(error)) from None

    async def flush(self) -> None:
        """Send all that waits to be sent. Raises PeerLost."""
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            below = self.below
            # A write of TLS that is cancelled may have encrypted some bytes, but cannot return their number. So the
            # steps of a write are taken one by one here: what is encrypted is counted before the next step can fail.
            if isinstance(below, TlsStream):
                await below.flush()
                self._unsent = self._unsent[below.encrypt(self._unsent) :]
                await below.flush()
            else:
                self._unsent = self._unsent[await below.write(self._unsent) :]

    def send_nowait(self, data: Bytes) -> int:
        """Encrypt a piece of `data` if nothing else waits to be sent, and send what the stream below takes at once."""
        if self._unsent or self._outgoing.pending:
            return 0
        try:
            count = self.encrypt(data)
        except PeerLost:
            return 0
        self._send_answers()
        return count

    async def send_eof(self) -> None:
        """Half-close: send a close_notify after all that was written."""
        if not self.half_closed:
            self.half_closed = True
            while more := self._decrypt():
                self._decrypted += more
            try:
                self.tls.unwrap()
            except ssl.SSLError:  # OpenSSL has not received the peer's close_notify, which need not come yet
                pass
            self.notice = self._outgoing.pending + (ENVELOPE if isinstance(self.below, TlsStream) else 0)
        try:
            await self.flush()
        except PeerLost as error:
            # The system reports a failure only once: the next read would see a mere end. So reading raises this one.
            self._write_error = error
            self.notice = 0

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close, and wait for the peer to take what it was sent; False if `limit` seconds were too few."""
        until = None if limit is None else self.loop.clock() + limit
        try:
            await self.loop.within(limit, self.send_eof())
        except TimeoutError:
            return False
        if self._write_error and self.unacknowledged():
            raise self._write_error
        return await self.below.linger(None if until is None else max(0.0, until - self.loop.clock()))

    # -- The connection

    def check_clean_end(self) -> None:
        """Raises PeerLost if the connection ended without the peer's close_notify."""
        if self.truncated:
            raise Truncated(f"connection to {self.address}", "truncated: it ended without a TLS close_notify")

    async def shutdown(self) -> None:
        """Send the close_notify, if that has not been done. Raises PeerLost if the peer has not sent its own."""
        try:
            await self.loop.within(LINGER, self.send_eof())
        except TimeoutError:  # the peer takes nothing any more
            pass
        self.check_clean_end()

    def _peer_lost(self, why: str) -> PeerLost:
        return PeerLost(f"connection to {self.address}", why)

    def unacknowledged(self) -> int:
        """Bytes, encrypted, that the peer has not acknowledged. A peer that has left needs no close_notify."""
        waiting = len(self._unsent) + self._outgoing.pending if self.taken else 0
        return max(0, self.below.unacknowledged() + waiting - self.notice)

    def unsent(self) -> int:
        """Bytes below, encrypted, that were not sent, without our close_notify."""
        return max(0, self.below.unsent() - self.notice)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions. Raises PeerLost if it was reset."""
        await self.below.wait_closed()

    def close(self) -> None:
        """Close the connection. Unless `send_eof` or `linger` came before, the peer sees that it was cut off."""
        # A server sends session tickets without being asked. If they are left unread, closing becomes a reset, which
        # destroys what was sent last (RFC 2525 §2.17).
        try:
            self.sock.recv(SHORT)
        except OSError:  # there are none, or the socket is closed already
            pass
        self.below.close()

    def abort(self) -> None:
        """Close the connection with a reset, so that the peer sees that it broke."""
        self.below.abort()
