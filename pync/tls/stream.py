"""TLS over any other stream: the same stream, encrypted.

Theory: OpenSSL only computes here (`ssl.MemoryBIO` and `SSLObject`); every byte is read and written by the stream
below, so TLS may lie over a socket or over another TLS stream. What OpenSSL wants to be sent collects in `_outgoing`;
`_rest` is what was taken out of there and did not go yet.

Rules
1. Who finds `_rest` empty may fill it, who has filled it sends it. So records never mix, although one task reads while
   another one writes: an answer that reading produces (an alert; OpenSSL lets that to a KeyUpdate wait for the next
   record, RFC 8446 §4.6.3) goes at once if it can, and otherwise with the next write. A reader never waits for the
   peer to read.
2. A write that is cancelled has encrypted its piece. The piece goes before whatever comes next.
3. Our end-of-file is a close_notify and nothing more; the peer's half goes on (RFC 8446 §6.1; OpenSSL and others do the
   same on TLS 1.2). `SSLObject.unwrap` looks for the peer's close_notify as well, and would complain of data that comes
   before it: so all that has come is decrypted first.
4. A connection that ends without the peer's close_notify was cut off, by whom is unknown. What came before is good, and
   is read as if it had ended; but `ended_well` tells.
"""

from __future__ import annotations

import ssl

from pync.endpoints import CHUNK, LINGER, SHORT
from pync.endpoints.streams import Stream
from pync.errors import PeerLost, TlsError
from pync.tls.reasons import broken, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Peer

PIECE = 64 * 1024  # bytes encrypted at a time: less costs calls, more gains nothing
RECORD = 16 * 1024  # bytes that one record holds at most (RFC 8446 §5.1), and one read gives
OWED = 64 * 1024  # bytes of answers that a peer may leave untaken
PARTING = 1.0  # seconds to tell the peer why there will be no connection


class TlsStream(Stream):
    """A TLS connection. It owns the stream below and closes it."""

    __slots__ = (
        *("loop", "address", "sock", "below", "tls", "server_name", "half_closed", "ended", "truncated"),
        *("_incoming", "_outgoing", "_rest", "_plain", "_failure", "_lost_unseen"),
    )

    def __init__(
        self, below: Peer, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        """`server_name` is asked for, and verified if the context verifies. Raises TlsError if it cannot be one."""
        self.below = below
        self.loop, self.address, self.sock = below.loop, below.address, below.sock
        self.server_name = server_name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if context.check_hostname and not server_name:  # an SSLObject would take that for leave to verify no name
            raise TlsError(self._goal, "nobody said which name the certificate must be for (--ssl-servername)")
        try:
            self.tls = context.wrap_bio(
                self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
            )
        except ValueError:  # UnicodeError is one
            raise TlsError(self._goal, f"{server_name} is no name of a server") from None
        self.half_closed = False
        self.ended = False  # the peer has said so
        self.truncated = False  # the connection ended, and the peer had not said so
        self._rest = memoryview(b"")
        self._plain = b""  # decrypted before anybody wanted it
        self._failure: str | None = None  # what broke the peer's half
        self._lost_unseen: PeerLost | None = None  # how the connection was lost, if nobody has heard of it

    @property
    def _goal(self) -> str:
        return f"TLS handshake with {self.address}"

    async def handshake(self) -> None:
        """Agree on keys and see whom we talk to. Raises TlsError, PeerLost."""
        while True:
            try:
                self.tls.do_handshake()
                return await self._flush()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise TlsError(self._goal, "the peer hung up") from None
            except ssl.SSLError as error:
                why = refused(error, self.tls, self.server_name)
                await self._tell()
                raise TlsError(self._goal, why) from None

    async def _tell(self) -> None:
        """Send the alert that tells the peer what is wrong, if it takes it."""
        try:
            await self.loop.within(PARTING, self._flush())
        except (TimeoutError, PeerLost):
            pass

    # -- Reading

    async def read(self) -> bytes | None:
        """What has arrived; None at the peer's end-of-file, or where the connection ended. Raises PeerLost."""
        data = await self.peek()
        self._plain = b""
        return data

    async def peek(self) -> bytes | None:
        """What has arrived, left where it is; None at the peer's end-of-file. Raises PeerLost."""
        while not self._plain:
            self._plain = self._decrypt()
            if self._plain:
                break
            if self._failure:
                raise self._lost(self._failure)
            if self._lost_unseen and self.truncated:
                raise self._lost_unseen
            if self.ended or self.truncated:
                return None
            self.truncated = not await self._fill()
        return self._plain

    async def skip(self, count: int) -> None:
        """Take so many of the bytes that `peek` has shown."""
        self._plain = self._plain[count:]

    async def _fill(self) -> bool:
        """Hand OpenSSL what comes next; False at the end of the stream below."""
        data = await self.below.read()
        if data is None:
            return False
        self._incoming.write(data)
        return True

    def _decrypt(self) -> bytes:
        """What can be decrypted now, about CHUNK bytes. Remembers how the peer's half ended, if it did."""
        records: list[bytes] = []  # joining them is faster than reading into one buffer, for few bytes and for many
        size, read = 0, self.tls.read
        try:
            while size < CHUNK and not (self.ended or self._failure):
                record = read(RECORD)
                records.append(record)
                size += len(record)
                self.ended = not record
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same, once our own close_notify is sent
            self.ended = True
        except ssl.SSLError as error:
            self._failure = broken(error)
        self._answer()
        return b"".join(records)

    def _answer(self) -> None:
        """Send what reading has produced, if nobody else is sending and the stream below takes it at once."""
        if not self._rest and (answer := self._outgoing.read()):
            self._rest = memoryview(answer)[self.below.send_nowait(answer) :]
        if self._outgoing.pending > OWED:
            self._failure = self._failure or "it takes none of the answers that it asks for"

    # -- Writing

    async def write(self, data: Bytes) -> int:
        """Encrypt a piece of `data` and send it; how much it was. Raises PeerLost."""
        await self._flush()
        count = self._encrypt(data)
        await self._flush()
        return count

    def _encrypt(self, data: Bytes) -> int:
        try:
            return self.tls.write(memoryview(data)[:PIECE])
        except ssl.SSLError as error:
            raise self._lost(broken(error)) from None

    async def _flush(self) -> None:
        """Send all that waits to be sent. Raises PeerLost."""
        while self._rest or self._outgoing.pending:
            if not self._rest:
                self._rest = memoryview(self._outgoing.read())
            below = self.below
            if isinstance(below, TlsStream):  # whose write would not tell how much it has taken if it is cancelled
                await below._flush()
                self._rest = self._rest[below._encrypt(self._rest) :]
                await below._flush()
            else:
                self._rest = self._rest[await below.write(self._rest) :]

    async def send_eof(self) -> None:
        """Half-close: the peer reads a close_notify after all that was written."""
        if not self.half_closed:
            self.half_closed = True
            while more := self._decrypt():
                self._plain += more
            try:
                self.tls.unwrap()
            except ssl.SSLError:  # it wants to read the peer's close_notify: that comes when it comes
                pass
        try:
            await self._flush()
        except PeerLost as error:  # reading tells how, but of the system it would only hear of an end
            self._lost_unseen = error

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close, and let the peer take the end of what it was sent; False if `limit` seconds were too few."""
        until = None if limit is None else self.loop.clock() + limit
        try:
            await self.loop.within(limit, self.send_eof())
        except TimeoutError:
            return False
        return await self.below.linger(None if until is None else max(0.0, until - self.loop.clock()))

    # -- The connection

    def check_clean_end(self) -> None:
        """Raises PeerLost if the connection ended before the peer had said that it would."""
        if self.truncated:
            raise self._lost("truncated: it ended without a TLS close_notify")

    async def shutdown(self) -> None:
        """Send the close_notify, if that has not been done, and see that the peer has sent its own."""
        try:
            await self.loop.within(LINGER, self.send_eof())
        except TimeoutError:  # it takes nothing any more
            pass
        self.check_clean_end()

    def _lost(self, why: str) -> PeerLost:
        return PeerLost(f"connection to {self.address}", why)

    def unacknowledged(self) -> int:
        """Bytes below, encrypted, that the peer has not acknowledged."""
        return self.below.unacknowledged()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone in both directions; raises PeerLost if it was reset."""
        await self.below.wait_closed()

    def close(self) -> None:
        """Close the connection. Unless `send_eof` or `linger` came before, the peer sees that it was cut off.

        A server sends session tickets unasked. Left unread they would make a reset of it, which destroys what we sent
        last (RFC 2525 §2.17).
        """
        try:
            self.sock.recv(SHORT)
        except OSError:  # there are none, or it is closed already
            pass
        self.below.close()

    def abort(self) -> None:
        """Close the connection so that the peer sees that it broke."""
        self.below.abort()
