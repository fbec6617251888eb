"""Certificates: one made on the spot, for a listener that was given none, and the fingerprints of certificates.

Theory: no authority that a client trusts has signed such a certificate, so its worth is in its fingerprint alone: a
client that learns it in another way can pin it. Key and certificate live in memory only. They are made by the
`cryptography` package or else by the `openssl` program; pync itself knows no ASN.1.
"""

from __future__ import annotations

from hashlib import sha256

from pync.errors import TlsError
from pync.system import packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from ssl import SSLContext

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import ExtensionType, GeneralName

VALID_DAYS = 365  # from now on
BACKDATED_HOURS = 24  # for clients whose clock is slow; `openssl` cannot do that
FINGERPRINT_PREFIX = "sha256:"
GOAL = "make a certificate"
NEITHER = "this takes the Python package cryptography (pync-netcat[tls]) or the program openssl; or give --ssl-cert"

# `openssl req` reads this instead of the system's configuration. A client may insist on each of the extensions
# (RFC 5280 §4.2.1).
OPENSSL_CONFIGURATION = """\
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
CN = {name}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""
OPENSSL = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -config /dev/stdin -keyout -"


def fingerprint(der: bytes) -> str:
    """The SHA-256 fingerprint of a certificate, as --ssl-pin takes it."""
    return FINGERPRINT_PREFIX + sha256(der).hexdigest()


def self_signed(names: Iterable[str]) -> tuple[bytes, str]:
    """A new key and its certificate for these names and addresses, as PEM, and its fingerprint. Raises TlsError."""
    names = list(dict.fromkeys(names))
    try:
        pem, der = _by_cryptography(names)
    except ImportError:
        pem, der = _by_openssl(names)
    return pem, fingerprint(der)


def load_from_memory(context: SSLContext, pem: bytes) -> None:
    """Give the context a key and its certificate in PEM, although it takes nothing but a file's name."""
    from pync.system.files import load_from_memory

    load_from_memory(pem, context.load_cert_chain)


def _by_cryptography(names: list[str]) -> tuple[bytes, bytes]:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=BACKDATED_HOURS))
    builder = builder.not_valid_after(now + timedelta(days=VALID_DAYS))
    for extension, critical in _extensions(key.public_key(), names):
        builder = builder.add_extension(extension, critical)
    made = builder.sign(key, SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + made.public_bytes(Encoding.PEM), made.public_bytes(Encoding.DER)


def _extensions(public_key: EllipticCurvePublicKey, names: list[str]) -> list[tuple[ExtensionType, bool]]:
    """The extensions of OPENSSL_CONFIGURATION, and whether each is critical."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    other_usages = [False] * 8  # a key for TLS has none of them
    known: list[GeneralName] = [
        x509.IPAddress(ip_address(name)) if packed_address(name) else x509.DNSName(name) for name in names
    ]
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(True, *other_usages), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (x509.SubjectAlternativeName(known), False),
    ]


def _by_openssl(names: list[str]) -> tuple[bytes, bytes]:
    from ssl import PEM_cert_to_DER_cert
    from subprocess import run

    known = ",".join(f"{'IP' if packed_address(name) else 'DNS'}:{name}" for name in names)
    configuration = OPENSSL_CONFIGURATION.format(name=names[0], names=known).encode()
    try:
        made = run([*OPENSSL.split(), "-days", str(VALID_DAYS)], input=configuration, capture_output=True, check=False)
    except OSError:
        raise TlsError(GOAL, NEITHER) from None
    begin = made.stdout.find(b"-----BEGIN CERTIFICATE-----")
    if made.returncode or begin < 0:
        complaint = made.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise TlsError(GOAL, f"openssl failed: {complaint[-1]}")
    return made.stdout, PEM_cert_to_DER_cert(made.stdout[begin:].decode())
