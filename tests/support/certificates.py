"""Certificates for the process tests: an authority, and what it and others have issued, as PEM files.

The fixture `authority` (conftest.py) is one for the whole session; each certificate is made when it is first asked for.
All keys are on P-256: they are made in a millisecond, and every peer accepts them.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import ssl
from typing import TYPE_CHECKING, NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

HERE = ("localhost", "127.0.0.1", "::1")
DAY = datetime.timedelta(days=1)
ALTERNATIVE_NAMES = x509.ObjectIdentifier("2.5.29.17")
ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")  # as an AlgorithmIdentifier (RFC 5758)


def der(tag: int, content: bytes) -> bytes:
    """A value in DER (X.690): its tag, its length and its content."""
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([128 + len(length)]) + length) + content


class Certificate(NamedTuple):
    """A certificate, with its private key, in files."""

    chain: Path  # the certificate, then those between it and the authority
    key: Path
    both: Path  # the key and the chain in one file

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in small hexadecimal digits without colons."""
        first = self.chain.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


class Authority:
    """A certificate authority. A program that trusts the file `trust` accepts what it issues."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.trust = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.trust)

    def issue(
        self, label: str, *names: str, ca: trustme.CA | None = None, until: datetime.datetime | None = None
    ) -> Certificate:
        """A certificate for names and addresses, in files called LABEL."""
        leaf = (ca or self._ca).issue_cert(*names, not_after=until)
        key, chain = leaf.private_key_pem.bytes(), b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return self._files(label, key, chain)

    def odd(self, label: str, names: bytes, *, old: bytes = b"", new: bytes = b"", days: int = 1) -> Certificate:
        """Issued by the authority, with alternative names in raw DER, whatever they are: no library would make it.

        `new` takes the place of `old`, of the same length, in what is signed. It is valid until `days` from now.
        """
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HERE[0])])
        issuer = x509.load_pem_x509_certificate(self.trust.read_bytes()).subject
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - 9 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.UnrecognizedExtension(ALTERNATIVE_NAMES, der(0x30, names)), critical=False)
            .sign(self._ca._private_key, hashes.SHA256())
        )
        signed = made.tbs_certificate_bytes.replace(old, new)
        assert isinstance(self._ca._private_key, ec.EllipticCurvePrivateKey)
        signature = self._ca._private_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        whole = der(0x30, signed + ECDSA_WITH_SHA256 + der(0x03, b"\0" + signature))
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(pem, form, serialization.NoEncryption())
        return self._files(label, secret, ssl.DER_cert_to_PEM_cert(whole).encode())

    def _files(self, label: str, key: bytes, chain: bytes) -> Certificate:
        paths = [self._folder / f"{label}-{part}.pem" for part in ("chain", "key", "both")]
        for path, content in zip(paths, (chain, key, key + chain), strict=True):
            path.touch(0o600)  # some programs complain of a key that others may read
            path.write_bytes(content)
        return Certificate(*paths)

    @functools.cached_property
    def server(self) -> Certificate:
        """Good for localhost, 127.0.0.1 and ::1."""
        return self.issue("server", *HERE)

    @functools.cached_property
    def chained(self) -> Certificate:
        """Likewise, but issued by another authority in between, whose certificate the server must send, too."""
        return self.issue("chained", *HERE, ca=self._ca.create_child_ca())

    @functools.cached_property
    def client(self) -> Certificate:
        """A client's: it names a person, not a host."""
        return self.issue("client", "client@example.org")

    @functools.cached_property
    def elsewhere(self) -> Certificate:
        """Good for elsewhere.example only."""
        return self.issue("elsewhere", "elsewhere.example")

    @functools.cached_property
    def expired(self) -> Certificate:
        """Was good for localhost until yesterday."""
        return self.issue("expired", *HERE, until=datetime.datetime.now(datetime.UTC) - DAY)

    @functools.cached_property
    def strange(self) -> Certificate:
        """For localhost, by an authority that no program knows."""
        return self.issue("strange", *HERE, ca=trustme.CA())

    @functools.cached_property
    def self_signed(self) -> Certificate:
        """For localhost, by itself."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HERE[0])])
        names: list[x509.GeneralName] = [x509.DNSName(HERE[0])]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in HERE[1:]]
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self._files("self-signed", key.private_bytes(pem, form, secret), certificate.public_bytes(pem))
