"""The target of certificates: what they hold is shown to a person, whoever wrote it.

Each input becomes a certificate, which a TLS server shows to a client within this process. The key is one for all, and
the signature is good.
"""

import datetime
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fuzz import Target
from pync.tls.reasons import describe_certificate, handshake_failure

NAME = "example.org"
SUBJECT_PARTS = [x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME, x509.NameOID.PSEUDONYM]
SAN = x509.ObjectIdentifier("2.5.29.17")
BEGIN, END = datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1)
_KEY = ec.generate_private_key(ec.SECP256R1())
_PEM = _KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def certificates(data: bytes) -> None:
    """A server whose certificate holds these bytes: parts of its subject before a NUL, then alternative names.

    The first byte decides whether the latter are the DER of all of them, or the text of a single one, as which kind.
    """
    subject, _, names = data[1:].partition(b"\0")
    choice = (data or b"\0")[0]
    pem = _certificate(subject.decode("latin-1"), names if choice & 1 else _general_name(choice // 2, names))
    if pem is None:
        return
    for verified in False, True:
        try:
            contexts = _contexts(pem, verified)
        except ssl.SSLError:  # OpenSSL does not even load it
            return
        client, error = _handshake(*contexts)
        words = handshake_failure(error, client, NAME) if error else describe_certificate(client)
        assert words and words.isprintable(), words


def _general_name(choice: int, content: bytes) -> bytes:
    """A sequence of one name (RFC 5280, section 4.2.1.6): of a mailbox, a host, a URI or an address."""
    content = content[:100]
    tag = (0x81, 0x82, 0x86, 0x87)[choice % 4]
    return bytes((0x30, len(content) + 2, tag, len(content))) + content


def _certificate(subject: str, names: bytes) -> bytes | None:
    """The certificate and its key; None if it cannot be made."""
    try:
        parts = [
            x509.NameAttribute(kind, text[:60])
            for kind, text in zip(SUBJECT_PARTS, subject.split("\n"), strict=False)
            if text
        ]
        name = x509.Name(parts)
        builder = x509.CertificateBuilder(name, name, _KEY.public_key(), 1, BEGIN, END)
        builder = builder.add_extension(x509.UnrecognizedExtension(SAN, names), critical=False)
        return _PEM + builder.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    except ValueError:
        return None


def _contexts(pem: bytes, verified: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Those of a server that shows this certificate, and of a client that trusts it or verifies nothing."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = verified
    client.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(pem)
        server.load_cert_chain(file.name)
        if verified:
            client.load_verify_locations(file.name)
    return server, client


def _handshake(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLError | None]:
    """The client's end of a handshake, and why it has failed."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname=NAME)
    server = server_context.wrap_bio(up, down, server_side=True)
    for end in client, server, client:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return client, error
    return client, None


TARGETS = {
    "certificates": Target(
        certificates,
        [
            b"\2example.org\nOrganisation\nP\0example.org",
            b"\2other\0other.example",
            b"\0\0mailbox@example.org",
            b"\4a\0https://a/",
            b"\6a\0\x7f\0\0\1",
            b"\1a\0\x30\x0d\x82\x0bexample.org",
            b"\1a\0\x30\x04\x87\x02ab",
        ],
    ),
}
