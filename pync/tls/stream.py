"""TLS over any other stream: the same stream, encrypted.

Theory: OpenSSL only computes here (`ssl.MemoryBIO` and `SSLObject`), and the rules of every layer hold
(`endpoints/layered.py`). So TLS may lie over a socket or over another TLS stream.

Rules
1. OpenSSL holds the answer to a KeyUpdate back until the next record (RFC 8446 §4.6.3).
2. Our end-of-file is a close_notify and nothing more; the peer's half goes on (RFC 8446 §6.1; OpenSSL and others do the
   same on TLS 1.2). `SSLObject.unwrap` looks for the peer's close_notify as well, and fails if data comes before it. So
   all that was received is decrypted first.
"""

from __future__ import annotations

import ssl

from pync.endpoints import CHUNK, SHORT
from pync.endpoints.layered import LayeredStream
from pync.errors import PeerLost, TlsError
from pync.tls.reasons import failure_reason, handshake_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Peer

PIECE = 64 * 1024  # bytes encrypted at a time: with less there are more calls, and more makes nothing faster
RECORD = 16 * 1024  # bytes that one record holds (RFC 8446 §5.1), and one read returns, at most
ANSWERS_LIMIT = 64 * 1024  # bytes of answers that wait for a peer, at most
ALERT_TIME = 1.0  # seconds to send the alert about a handshake that has failed


class TlsStream(LayeredStream):
    """A TLS connection. It owns the stream below and closes it."""

    __slots__ = ("_incoming", "_outgoing", "server_name", "tls")

    def __init__(
        self, below: Peer, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        """`server_name` is asked for, and verified if the context verifies. Raises TlsError if it cannot be a name."""
        super().__init__(below, "a TLS close_notify")
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

    def _put(self, data: bytes) -> None:
        self._incoming.write(data)

    def _decode(self) -> bytes:
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
        if self._outgoing.pending > ANSWERS_LIMIT:
            self._failure = self._failure or "it takes none of the answers that it asks for"
        return b"".join(records)

    def _encode(self, data: Bytes) -> int:
        try:
            return self.tls.write(memoryview(data)[:PIECE])
        except ssl.SSLError as error:
            raise self._lost(failure_reason(error)) from None

    def _end(self) -> int:
        while more := self._decode():
            self._received += more
        try:
            self.tls.unwrap()
        except ssl.SSLError:  # OpenSSL has not received the peer's close_notify, which need not come yet
            pass
        return self._outgoing.pending

    def _collect(self) -> bytes:
        return self._outgoing.read()

    def close(self) -> None:
        """Close the connection. Unless `send_eof` or `linger` came before, the peer sees that it was cut off."""
        # A server sends session tickets without being asked. If they are left unread, closing becomes a reset, which
        # destroys what was sent last (RFC 2525 §2.17).
        try:
            self.sock.recv(SHORT)
        except OSError:  # there are none, or the socket is closed already
            pass
        self.below.close()
