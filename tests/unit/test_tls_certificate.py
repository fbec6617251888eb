"""Laws of certificates made on the spot: which program made them makes no difference, and their key is in no file."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from harness import require
from tls import NOBODY, Engine, Meeting

from pync.config import Tls
from pync.errors import TlsError
from pync.tls.certificate import fingerprint, install, self_signed
from pync.tls.context import client_context, server_context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["cryptography", "openssl"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only one of the two programs that can make certificates."""
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
    meeting = Meeting(Tls(pin=bytes.fromhex(made.removeprefix("sha256:"))), context)
    assert meeting.first == b"welcome"
    assert meeting.events[False].certificate == f"CN=localhost, signed by CN=localhost, {made}"


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
    monkeypatch.undo()  # to look at the certificate takes the package, whichever program has made it
    made = pem[pem.index(b"-----BEGIN CERTIFICATE") :].decode()
    certificate = x509.load_pem_x509_certificate(made.encode())
    assert mark == fingerprint(ssl.PEM_cert_to_DER_cert(made))
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
    strict = ssl.create_default_context(cadata=ssl.PEM_cert_to_DER_cert(made))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    install(server, pem)
    assert agree(Engine(strict, server=False), Engine(server, server=True))


def handshake(*sides: Engine) -> bool:
    """Whether the handshake of the two succeeds."""
    for _ in range(4):
        for one, other in sides, sides[::-1]:
            one.shake()
            other.incoming.write(one.outgoing.read())
    return all(side.ready for side in sides)


def test_two_certificates_are_never_the_same() -> None:
    assert len({self_signed(["localhost"]) for _ in range(3)}) == 3


def test_without_a_program_to_make_one_the_error_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cryptography(monkeypatch)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TlsError, match=r"^make a certificate: .*pync-netcat\[tls\].* openssl; or give --ssl-cert$"):
        server_context(UNVERIFIED, None)


@pytest.mark.parametrize(
    ("script", "words"), [("echo first >&2; echo last >&2; exit 3", "last"), ("", "it says nothing")]
)
def test_what_openssl_reports_is_passed_on(
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
        assert trouble
        raise trouble

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if trouble:
        monkeypatch.setattr(os, "memfd_create", refuse)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = os.listdir("/proc/self/fd")
    install(context, self_signed(["localhost"])[0])
    assert Handshake(Tls(verify=False), context).first == b"welcome"
    assert not list(tmp_path.iterdir())
    assert os.listdir("/proc/self/fd") == before
