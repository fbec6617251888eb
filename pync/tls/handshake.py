"""Putting TLS over a stream: the handshake with its deadline, the pinned certificate, and the report of the result."""

from __future__ import annotations

from pync.errors import TimedOut, TlsError
from pync.events import TlsEstablished
from pync.tls.certificate import FINGERPRINT_PREFIX, fingerprint
from pync.tls.reasons import describe_certificate
from pync.tls.stream import TlsStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from pync.endpoints import Peer
    from pync.events import Report

HANDSHAKE_LIMIT = 30.0  # seconds that a handshake may take, unless the user has set another limit


async def secure(
    below: Peer,
    context: SSLContext,
    *,
    server_side: bool,
    server_name: str | None,
    pin: bytes | None,
    limit: float | None,
    report: Report,
) -> TlsStream:
    """A TLS connection over the stream `below`, which is closed if the handshake fails.

    `server_name` is the name to ask for and to verify, `pin` the SHA-256 digest of the only certificate that is
    accepted. The handshake may take `limit` seconds. Raises TlsError, PeerLost, TimedOut.
    """
    try:
        name = None if server_side else tls_name(server_name)
        stream = TlsStream(below, context, server_side=server_side, server_name=name)
        try:
            await below.loop.within(limit, stream.handshake())
        except TimeoutError:
            raise TimedOut(f"TLS handshake with {below.address}", f"no answer for {limit:g} s") from None
        if pin is not None:
            _compare(stream, pin)
        report(_secured(stream))
    except BaseException:
        below.close()
        raise
    return stream


def tls_name(name: str | None) -> str | None:
    """A host as TLS names it: without the dot at the end of a full name (RFC 6066 §3), without an address's zone."""
    if name is None:
        return None
    return name.partition("%")[0] if ":" in name else name.removesuffix(".")


def _compare(stream: TlsStream, pin: bytes) -> None:
    """Raises TlsError unless the peer's certificate is the pinned one. No data has been sent to the peer yet."""
    wanted, der = FINGERPRINT_PREFIX + pin.hex(), stream.tls.getpeercert(binary_form=True)
    shown = fingerprint(der) if der else "none at all"
    if shown != wanted:
        raise TlsError(f"TLS handshake with {stream.address}", f"the certificate is {shown}, not the pinned {wanted}")


def _secured(stream: TlsStream) -> TlsEstablished:
    tls = stream.tls
    cipher = tls.cipher()
    return TlsEstablished(
        peer=stream.address,
        protocol=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=_application_protocol(stream),
        certificate=describe_certificate(tls),
    )


def _application_protocol(stream: TlsStream) -> str | None:
    """Raises TlsError if the peer has chosen one that cannot have been offered: all that are offered are ASCII."""
    try:
        return stream.tls.selected_alpn_protocol()
    except UnicodeDecodeError:
        why = "the peer has chosen an application protocol (ALPN) that was not offered"
        raise TlsError(f"TLS handshake with {stream.address}", why) from None
