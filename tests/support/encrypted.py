"""A pync that speaks TLS, and the socket at its other end, in both roles: for what no program can be made to do.

`client` and `listener` start pync, shake hands with it by Python's own TLS and give both. They must never decide
anything: the test itself says what is sent, ended or cut. The other programs are in `tls_peers.py`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from harness import DEADLINE, Running, connect, listen, pync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from certificates import Authority, Certificate

    Pair = tuple[Running, ssl.SSLSocket]

# What pync reports of a certificate that it does not accept, by the names of those of `certificates.Authority`.
REFUSED = {
    "expired": r"the certificate has expired: \w\w\w [ \d]\d \d\d:\d\d:\d\d \d\d\d\d GMT",
    "self_signed": "the certificate is self-signed, and not one that we trust",
    "strange": "nobody whom we trust has signed the certificate, but O=trustme.*",
    "elsewhere": "the certificate is for elsewhere.example, not for localhost",
}
# What pync reports of a connection that the peer has cut.
TRUNCATED = r"pync: connection to 127\.0\.0\.1:\d+: truncated: it ended without a TLS close_notify"


def ours(certificate: Certificate, *options: str) -> tuple[str, ...]:
    """The words by which pync shows a certificate."""
    return ("--ssl", "--ssl-cert", str(certificate.chain), "--ssl-key", str(certificate.key), *options)


def trusting(authority: Authority, *options: str) -> tuple[str, ...]:
    """The words by which pync trusts an authority."""
    return ("--ssl", "--ssl-trustfile", str(authority.trust), *options)


def server_side(certificate: Certificate, version: str | None = None) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.both)
    return _only(context, version)


def client_side(authority: Authority, version: str | None = None) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.trust)
    return _only(context, version)


def _only(context: ssl.SSLContext, version: str | None) -> ssl.SSLContext:
    if version:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    return context


@contextlib.contextmanager
def client(context: ssl.SSLContext, *options: str, host: str = "localhost", **kw: Any) -> Iterator[Pair]:
    """A pync that has shaken hands with our server."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pync("-4", *options, host, str(server.getsockname()[1]), **kw) as process,
    ):
        server.settimeout(DEADLINE)
        conn = server.accept()[0]
        conn.settimeout(DEADLINE)
        with context.wrap_socket(conn, server_side=True, suppress_ragged_eofs=False) as peer:
            yield process, peer


@contextlib.contextmanager
def listener(context: ssl.SSLContext, *options: str, **kw: Any) -> Iterator[Pair]:
    """A pync that has shaken hands with our client."""
    with listen(*options, "127.0.0.1", "0", **kw) as process, greeted(context, process.port) as peer:
        yield process, peer


def greeted(context: ssl.SSLContext, port: int, name: str = "localhost") -> ssl.SSLSocket:
    """A connection by TLS on which every operation fails after ten seconds, and the end of TCP is an error."""
    return context.wrap_socket(connect(port), server_hostname=name, suppress_ragged_eofs=False)


def send_end(peer: ssl.SSLSocket) -> None:
    """Send close_notify and nothing more. Receiving goes on. No data may have come before: OpenSSL would refuse it."""
    peer.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.unwrap()
    peer.settimeout(DEADLINE)


def drain_tls(peer: ssl.SSLSocket) -> bytes:
    """All bytes until close_notify; ssl.SSLError if TCP ends without it."""
    data = b""
    with contextlib.suppress(ssl.SSLZeroReturnError):  # stands for b"" once we have sent close_notify ourselves
        while chunk := peer.recv(1 << 16):
            data += chunk
    return data
