"""Fingerprints of certificates, and certificates that a listener makes for itself."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from harness import require
from tls import UNVERIFIED, Engine, Handshake

from pync.config import Tls
from pync.errors import TlsError
from pync.tls.certificate import fingerprint, load_from_memory, self_signed
from pync.tls.context import client_context, server_context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["cryptography", "openssl"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two that can make certificates, and not the other one."""
    if request.param == "openssl":
        require("openssl")
        without_cryptography(monkeypatch)
    else:
        monkeypatch.setenv("PATH", "")


def without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)


@pytest.mark.usefixtures("maker")
def test_a_listener_without_a_certificate_makes_one_that_can_be_pinned() -> None:
    context, made = server_context(UNVERIFIED, "192.0.2.7")
    assert made
    handshake = Handshake(Tls(pin=bytes.fromhex(made.removeprefix("sha256:"))), context)
    assert handshake.first == b"welcome"
    assert handshake.events[False].certificate == f"CN=localhost, signed by CN=localhost, {made}"


@pytest.mark.usefixtures("maker")
@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7%eth0", "here.example"])
def test_it_is_for_the_names_of_this_host_and_no_others(host: str, tmp_path: Path) -> None:
    context, _ = server_context(UNVERIFIED, host)
    trusted = tmp_path / "trusted"
    trusted.write_text(ssl.DER_cert_to_PEM_cert(shown(context)))
    for name in "localhost", "127.0.0.1", "::1", host:
        assert Handshake(Tls(trust_file=str(trusted)), context, name).first == b"welcome", name
    assert isinstance(Handshake(Tls(trust_file=str(trusted)), context, "other.example").ours, TlsError)


def shown(context: ssl.SSLContext) -> bytes:
    """The certificate that a server with this context shows."""
    client = Engine(client_context(UNVERIFIED), server=False)
    assert agree(client, Engine(context, server=True))
    der = client.tls.getpeercert(binary_form=True)
    assert der
    return der


@pytest.mark.usefixtures("maker")
def test_it_is_what_the_strictest_client_insists_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pem, mark = self_signed(["localhost", "::1"])
    monkeypatch.undo()  # below, `cryptography` reads the certificate
    certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    assert mark == fingerprint(ssl.PEM_cert_to_DER_cert(pem[pem.index(b"-----BEGIN CERTIFICATE") :].decode()))
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    assert 365 <= days <= 366
    found = {extension.oid._name: extension.critical for extension in certificate.extensions}
    assert found == {
        "basicConstraints": True,
        "keyUsage": True,
        "extendedKeyUsage": False,
        "subjectKeyIdentifier": False,
        "subjectAltName": False,
    }
    strict = ssl.create_default_context(cadata=ssl.PEM_cert_to_DER_cert(pem[pem.index(b"-----BEGIN CERT") :].decode()))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_from_memory(server, pem)
    assert agree(Engine(strict, server=False), Engine(server, server=True))


def agree(*sides: Engine) -> bool:
    """Whether the two sides complete a handshake."""
    for _ in range(4):
        for one, other in sides, sides[::-1]:
            one.shake()
            other.incoming.write(one.outgoing.read())
    return all(side.ready for side in sides)


def test_two_certificates_are_never_the_same() -> None:
    assert len({self_signed(["localhost"]) for _ in range(3)}) == 3


def test_without_anything_to_make_one_the_error_names_what_could(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cryptography(monkeypatch)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TlsError, match=r"^make a certificate: .*pync-netcat\[tls\].* openssl; or give --ssl-cert$"):
        server_context(UNVERIFIED, None)


@pytest.mark.parametrize(
    ("script", "words"), [("echo first >&2; echo last >&2; exit 3", "last"), ("", "it says nothing")]
)
def test_what_openssl_complains_of_is_passed_on(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_cryptography(monkeypatch)
    fake = tmp_path / "openssl"
    fake.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(TlsError, match=f"^make a certificate: openssl failed: {words}$"):
        self_signed(["localhost"])


@pytest.mark.parametrize("trouble", [None, AttributeError, PermissionError])
def test_the_key_is_in_no_file_afterwards(
    trouble: type[Exception] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> int:
        raise trouble  # type: ignore[misc]

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if trouble:
        monkeypatch.setattr(os, "memfd_create", refuse)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = os.listdir("/proc/self/fd")
    load_from_memory(context, self_signed(["localhost"])[0])
    assert Handshake(Tls(verify=False), context).first == b"welcome"
    assert not list(tmp_path.iterdir())
    assert os.listdir("/proc/self/fd") == before
