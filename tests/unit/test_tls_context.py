"""TLS contexts and handshakes: which certificates are trusted, how a handshake fails, and what the error says."""

from __future__ import annotations

import hashlib
import re
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conformance import Bench, FarSocket, tcp_pair
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from doubles import together
from harness import require, run
from tls import UNVERIFIED, VERSIONS, Handshake, identity, trusting, why

from pync.config import Tls
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost, PyncError, TimedOut, TlsError
from pync.events import TlsEstablished, as_address
from pync.tls.context import client_context, server_context
from pync.tls.handshake import secure, tls_name
from pync.tls.reasons import describe_certificate, failure_reason, handshake_failure

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Authority, Certificate

    from pync.loop.kernel import Loop

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


# -- Handshakes that succeed -------------------------------------------------------------------------------------


@both_versions
@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "::1", "::1%lo"])
def test_a_trusted_certificate_for_the_name_is_accepted(
    authority: Authority, name: str, version: ssl.TLSVersion
) -> None:
    handshake = Handshake(trusting(authority), identity(authority.server), name, version)
    assert handshake.first == b"welcome" and handshake.ours is handshake.theirs is None


def test_a_certificate_in_the_trust_file_is_trusted_whatever_signed_it(authority: Authority) -> None:
    for certificate in authority.strange, authority.self_signed:
        assert Handshake(Tls(trust_file=str(certificate.chain)), identity(certificate)).first == b"welcome"


def test_a_certificate_in_between_is_used(authority: Authority) -> None:
    assert Handshake(trusting(authority), identity(authority.chained)).first == b"welcome"


def test_the_system_authorities_are_trusted_where_no_file_is_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust))
    assert Handshake(Tls(), identity(authority.server)).first == b"welcome"


def test_the_name_that_was_asked_for_is_the_one_that_is_verified(authority: Authority) -> None:
    handshake = Handshake(trusting(authority), identity(authority.elsewhere), "elsewhere.example")
    assert handshake.first == b"welcome"


@both_versions
def test_what_was_agreed_on_is_reported(authority: Authority, version: ssl.TLSVersion) -> None:
    client, server = trusting(authority, alpn=("b", "a")), identity(authority.server, alpn=("a", "c"))
    events = Handshake(client, server, version=version).events
    ours, theirs = events[False], events[True]
    assert isinstance(ours, TlsEstablished) and isinstance(theirs, TlsEstablished)
    assert ours.protocol == theirs.protocol == version.name.replace("_", ".")
    assert ours.cipher == theirs.cipher and ours.cipher
    assert ours.alpn == theirs.alpn == "a"
    assert ours.certificate and ours.certificate.endswith(f", sha256:{authority.server.fingerprint}")
    assert theirs.certificate is None
    assert ours.peer.port == 1
    assert theirs.peer.port == 2


def test_without_a_protocol_in_common_alpn_chooses_none(authority: Authority) -> None:
    events = Handshake(Tls(verify=False, alpn=("b",)), identity(authority.server, alpn=("a",))).events
    assert events[False].alpn is events[True].alpn is None


def test_a_certificate_is_described_even_if_it_was_not_verified(authority: Authority) -> None:
    events = Handshake(UNVERIFIED, identity(authority.self_signed)).events
    mark = f"sha256:{authority.self_signed.fingerprint}"
    assert events[False].certificate == f"CN=localhost, signed by CN=localhost, {mark}"


def test_a_name_that_no_certificate_can_be_verified_by_is_not_verified() -> None:
    assert tls_name("example.org.") == "example.org"
    assert tls_name("fe80::1%eth0") == "fe80::1"
    assert tls_name("10%") == "10%"
    assert tls_name(None) is None


# -- Clients that show a certificate -----------------------------------------------------------------------------


@both_versions
def test_a_client_can_show_a_certificate(authority: Authority, version: ssl.TLSVersion) -> None:
    client = identity(authority.client, verify=True, trust_file=str(authority.trust))
    server = identity(authority.server, verify=True, trust_file=str(authority.trust))
    handshake = Handshake(client, server, version=version)
    assert handshake.first == b"welcome"
    assert handshake.events[True].certificate.endswith(f"sha256:{authority.client.fingerprint}")


@both_versions
def test_a_client_that_shows_no_certificate_is_refused_with_the_reason(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    server = identity(authority.server, verify=True, trust_file=str(authority.trust))
    handshake = Handshake(trusting(authority), server, version=version)
    assert why(handshake.theirs) == "the peer has shown no certificate"
    if version == ssl.TLSVersion.TLSv1_2:
        assert why(handshake.ours) == "the peer refused: no cipher in common, or it wants a certificate"
    else:  # in which a client is ready before the server has seen anything
        assert isinstance(handshake.first, PeerLost)
        assert why(handshake.first) == "the peer refused: certificate required"


@both_versions
def test_a_client_of_an_unknown_authority_is_refused_with_the_reason(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    client = identity(authority.strange, verify=True, trust_file=str(authority.trust))
    server = identity(authority.server, verify=True, trust_file=str(authority.trust))
    handshake = Handshake(client, server, version=version)
    assert why(handshake.theirs) == "nobody whom we trust has signed the certificate"
    assert why(handshake.ours or handshake.first) == "the peer refused: it does not know who signed the certificate"


# -- Handshakes that fail ----------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """A certificate that a client refuses: the reasons are regular expressions of what each side reports."""

    certificate: Certificate
    name: str  # that the client asks for
    ours: str
    theirs: str


def refusals(authority: Authority) -> dict[str, Refusal]:
    later = datetime.now(UTC) + timedelta(days=1)
    ca, folder = authority._ca, authority.trust.parent
    early = ca.issue_cert("localhost", not_before=later)
    many = ca.issue_cert(*[f"host{number}.example" for number in range(7)])
    made: dict[str, Certificate] = {}
    for label, leaf in ("early", early), ("many", many):
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        made[label] = authority._files(f"{folder}/{label}", leaf.private_key_pem.bytes(), chain)
    unknown = "the peer refused: it does not know who signed the certificate"
    bad = "the peer refused: it does not accept the certificate"
    expired = "the peer refused: the certificate has expired"
    return {
        "wrong name": Refusal(authority.elsewhere, "localhost", "is for elsewhere.example, not for localhost", bad),
        "wrong address": Refusal(authority.elsewhere, "127.0.0.1", "is for elsewhere.example, not for 127.0.0.1", bad),
        "many names": Refusal(
            made["many"], "localhost", r"host3.example, host4.example, 2 others, not for localhost", bad
        ),
        "no name": Refusal(authority.client, "localhost", "is for client@example.org, not for localhost", bad),
        "expired": Refusal(authority.expired, "localhost", r"^the certificate has expired: \w+ .*GMT$", expired),
        "too early": Refusal(made["early"], "localhost", r"^the certificate is not valid before \w+ .* GMT$", bad),
        "unknown": Refusal(
            authority.strange, "localhost", "nobody whom we trust has signed the certificate, but O=", unknown
        ),
        "self-signed": Refusal(
            authority.self_signed, "localhost", "is self-signed, and not one that we trust", unknown
        ),
    }


@both_versions
def test_a_refused_certificate_is_refused_with_the_reason_on_both_sides(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    for label, refusal in refusals(authority).items():
        handshake = Handshake(trusting(authority), identity(refusal.certificate), refusal.name, version)
        assert isinstance(handshake.ours, TlsError), label
        assert handshake.ours.what == "TLS handshake with 127.0.0.1:1"
        assert re.search(refusal.ours, handshake.ours.why), (label, handshake.ours.why)
        assert why(handshake.theirs) == refusal.theirs, label


def test_without_the_certificate_at_hand_the_reason_is_shorter(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pync.tls.reasons.peer_certificate", lambda tls: None)
    client = trusting(authority)
    assert why(Handshake(client, identity(authority.elsewhere)).ours) == "the certificate is not for localhost"
    assert why(Handshake(client, identity(authority.strange)).ours) == "nobody whom we trust has signed the certificate"
    assert why(Handshake(client, identity(authority.expired)).ours) == "the certificate has expired: some time ago"
    assert (
        Handshake(client, identity(authority.server)).events[False].certificate
        == f"sha256:{authority.server.fingerprint}"
    )


def test_a_certificate_without_a_subject_alternative_name_is_for_no_name(authority: Authority) -> None:
    leaf, files = authority._ca.issue_cert(common_name="localhost"), authority.trust.parent
    certificate = authority._files(f"{files}/cn", leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    handshake = Handshake(trusting(authority), identity(certificate))  # whose CN is the right one
    assert why(handshake.ours).endswith("is for nobody by name, not for localhost")


def test_without_a_common_version_or_cipher_both_sides_report_it(authority: Authority) -> None:
    one, other = (
        identity(authority.server, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"),
        Tls(verify=False, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305"),
    )
    handshake = Handshake(other, one, version=ssl.TLSVersion.TLSv1_2)
    assert why(handshake.theirs) == "no cipher in common"
    assert why(handshake.ours) == "the peer refused: no cipher in common, or it wants a certificate"


@pytest.mark.parametrize("name", ["", ".example", "a..b", "x" * 64 + ".example"])
async def test_what_is_no_name_is_refused_before_anything_is_sent(loop: Loop, authority: Authority, name: str) -> None:
    wrong = why(await failure_with(loop, trusting(authority), name=name))
    assert wrong == (f"{name} is no name of a server" if name else NO_NAME)


async def test_without_a_name_for_the_certificate_the_handshake_is_refused(loop: Loop, authority: Authority) -> None:
    assert why(await failure_with(loop, trusting(authority), name=None)) == NO_NAME


NO_NAME = "nobody said which name the certificate must be for (--ssl-servername)"


async def failure_with(
    loop: Loop,
    config: Tls,
    sent: bytes = b"",
    *,
    name: str | None = "localhost",
    server: bool = False,
    silent: bool = False,
) -> PyncError:
    """How a handshake fails with a peer that sends just this, and then ends the connection (or stays silent)."""
    near, other = tcp_pair()
    far = FarSocket(loop, other)
    await far.give(sent)
    if not silent:
        far.hang_up()
    context = server_context(config, None)[0] if server else client_context(config)
    below = StreamSocket(loop, near, as_address(("127.0.0.1", 1)))
    with pytest.raises(PyncError) as raised:
        await secure(below, context, server_side=server, server_name=name, pin=None, limit=3, report=lambda event: None)
    assert near.fileno() < 0, "it is closed"
    far.close()
    return raised.value


@pytest.mark.parametrize(
    ("server", "sent", "why"),
    [
        (False, b"HTTP/1.1 400 Bad Request\r\n\r\n", "what the peer sends is not TLS"),
        (False, b"220 mail.example ESMTP\r\n", "what the peer sends is not TLS"),
        (True, b"GET / HTTP/1.1\r\n\r\n", "the peer speaks HTTP without TLS"),
        (True, b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", "the peer speaks HTTP without TLS"),
        (True, b"hello, is anybody there?\n", "what the peer sends is not TLS"),
        (False, b"", "the peer hung up"),
        (True, b"", "the peer hung up"),
        (True, b"\x16\x03\x01\x02", "the peer hung up"),
    ],
)
async def test_a_peer_that_does_not_use_tls_is_recognized(loop: Loop, server: bool, sent: bytes, why: str) -> None:
    error = await failure_with(loop, UNVERIFIED, sent, server=server)
    assert isinstance(error, TlsError)
    assert str(error) == f"TLS handshake with 127.0.0.1:1: {why}"


@pytest.mark.parametrize("server", [False, True])
async def test_a_silent_peer_has_a_deadline(loop: Loop, server: bool) -> None:
    error = await failure_with(loop, UNVERIFIED, server=server, silent=True)
    assert isinstance(error, TimedOut)
    assert str(error) == "TLS handshake with 127.0.0.1:1: no answer for 3 s"


async def test_a_reset_during_the_handshake_is_an_error(real_loop: Bench) -> None:
    near, other = tcp_pair()
    far = FarSocket(real_loop, other)
    below = StreamSocket(real_loop, near, as_address(("127.0.0.1", 1)))
    work = secure(
        below, client_context(UNVERIFIED), server_side=False, server_name=None, pin=None, limit=9, report=lambda _: None
    )

    async def leave() -> None:
        await far.take()
        far.leave()

    with pytest.raises(PeerLost, match="Connection reset by peer"):
        await together(real_loop, work, leave())
    assert near.fileno() < 0


@pytest.mark.parametrize("answer", [PeerLost("connection", "Broken pipe"), 60.0])
async def test_the_reason_is_reported_even_if_the_peer_does_not_take_our_alert(
    loop: Loop, answer: PeerLost | float
) -> None:
    class Refusing(StreamSocket):
        writes = 0

        async def write(self, data: bytes | memoryview) -> int:
            self.writes += 1
            if self.writes > 1 and isinstance(answer, PeerLost):
                raise answer
            if self.writes > 1:
                await self.loop.sleep(answer)  # type: ignore[arg-type]
            return await super().write(data)

    near, other = tcp_pair()
    far, below = FarSocket(loop, other), Refusing(loop, near, as_address(("127.0.0.1", 1)))
    await far.give(b"\x17\x03\x03\0\1x")  # data before there are keys
    with pytest.raises(TlsError, match="unexpected message"):
        await secure(
            below, client_context(UNVERIFIED), server_side=False, server_name=None, pin=None, limit=9, report=print
        )
    assert below.writes == 2
    far.close()


# -- Reasons -----------------------------------------------------------------------------------------------------


def failure(kind: type[Any] = ssl.SSLError, text: str = "", **facts: object) -> Any:
    error = kind(1, text)
    for name, fact in facts.items():
        setattr(error, name, fact)
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (failure(reason="SSLV3_ALERT_CERTIFICATE_UNKNOWN"), "the peer refused: it does not accept the certificate"),
        (failure(reason="TLSV1_ALERT_PROTOCOL_VERSION"), "the peer refused: no protocol version in common"),
        (failure(reason="TLSV1_UNRECOGNIZED_NAME"), "the peer refused: it does not go by that name"),
        (failure(reason="TLSV1_ALERT_INTERNAL_ERROR"), "the peer refused: internal error"),
        (failure(reason="UNSUPPORTED_PROTOCOL"), "no protocol version in common"),
        (
            failure(reason="DH_KEY_TOO_SMALL", text="[SSL: DH_KEY_TOO_SMALL] dh key too small (_ssl.c:1)"),
            "dh key too small",
        ),
        (
            failure(reason=None, text="[SSL] tlsv1 alert no application protocol (_ssl.c:1006)"),
            "the peer refused: no application protocol (ALPN) in common",
        ),
        (failure(reason=None), "it failed"),
    ],
)
def test_openssls_reasons_are_worded_for_people(error: ssl.SSLError, words: str) -> None:
    assert failure_reason(error) == words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (2, "nobody whom we trust has signed the certificate"),
        (19, "nobody whom we trust has signed the certificate"),
        (26, "the certificate is for another purpose"),
        (66, "the certificate is not accepted: EE certificate key too weak"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_worded_for_people(code: int, words: str) -> None:
    message = "EE certificate key too weak"
    error = failure(ssl.SSLCertVerificationError, verify_code=code, verify_message=message)
    assert handshake_failure(error, Stranger(), "localhost") == words  # type: ignore[arg-type]


class Stranger:
    """A peer that has shown a certificate with control characters, or none."""

    def __init__(self, *names: str) -> None:
        subject = ((("commonName", names[0]),), (("serialNumber", "7"),)) if names else ()
        info = {"subject": subject, "subjectAltName": [("DNS", name) for name in names]}
        self.chain: list[Any] | None = [self] if names else None
        self.get_info = lambda: info
        self._sslobj = self

    def get_unverified_chain(self) -> list[Any] | None:
        return self.chain

    def getpeercert(self, binary_form: bool) -> bytes | None:
        return b"DER" if self.chain else None


def test_a_strangers_certificate_does_not_control_our_terminal() -> None:
    evil: Any = Stranger("\x1b[2Jlocal\nhost\x9b", "\u202ebad")
    error = failure(ssl.SSLCertVerificationError, verify_code=62, verify_message="")
    words = handshake_failure(error, evil, "localhost")
    assert words == "the certificate is for ?[2Jlocal?host?, ?bad, not for localhost"
    mark = "sha256:" + hashlib.sha256(b"DER").hexdigest()
    assert (
        describe_certificate(evil) == f"CN=?[2Jlocal?host?, serialNumber=7, signed by somebody without a name, {mark}"
    )


# -- Pins --------------------------------------------------------------------------------------------------------


@both_versions
def test_a_pinned_certificate_is_accepted_whatever_signed_it_and_whatever_it_is_for(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    for certificate in authority.strange, authority.self_signed, authority.expired, authority.elsewhere:
        digest = bytes.fromhex(certificate.fingerprint)
        assert Handshake(Tls(pin=digest), identity(certificate), version=version).first == b"welcome"


@both_versions
def test_another_certificate_than_the_pinned_one_is_not(authority: Authority, version: ssl.TLSVersion) -> None:
    wanted, shown = authority.strange.fingerprint, authority.server.fingerprint
    client = trusting(authority, pin=bytes.fromhex(wanted))
    handshake = Handshake(client, identity(authority.server), version=version)
    assert isinstance(handshake.ours, TlsError)
    assert handshake.ours.why == f"the certificate is sha256:{shown}, not the pinned sha256:{wanted}"
    assert False not in handshake.events


# -- Contexts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", [False, True])
def test_a_context_is_no_more_lenient_than_this(authority: Authority, server: bool) -> None:
    tls = identity(authority.server, verify=True)
    context = server_context(tls, None)[0] if server else client_context(tls)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname is not server
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT, "the same in all versions of Python"


def test_a_peer_is_verified_only_where_it_was_asked_for(authority: Authority) -> None:
    for tls in UNVERIFIED, Tls(pin=bytes(32)):
        assert client_context(tls).verify_mode == ssl.CERT_NONE
    assert server_context(identity(authority.server), None)[0].verify_mode == ssl.CERT_NONE


def test_ciphers_and_protocols_are_those_that_were_asked_for() -> None:
    context = client_context(Tls(verify=False, ciphers="ECDHE-RSA-AES128-GCM-SHA256"))
    old = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert old == ["ECDHE-RSA-AES128-GCM-SHA256"]


def fails(tls: Tls, *, server: bool = False) -> str:
    with pytest.raises(TlsError) as raised:
        _ = server_context(tls, None) if server else client_context(tls)
    return str(raised.value)


def test_what_cannot_be_used_is_named_with_the_reason(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.server, authority.client
    junk, missing, encrypted = tmp_path / "junk", tmp_path / "missing", tmp_path / "encrypted"
    junk.write_text("no PEM at all\n")
    secret = load_pem_private_key(good.key.read_bytes(), None)
    encrypted.write_bytes(
        secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password"))
    )
    absent, none = "No such file or directory", "it holds no certificate"
    chain, key = str(good.chain), str(good.key)
    for server in False, True:
        for certificate, its_key, words in (
            (missing, key, f"certificate {missing}: {absent}"),
            (chain, missing, f"key {missing}: {absent}"),
            (tmp_path, key, f"certificate {tmp_path}: Is a directory"),
            (junk, key, f"certificate {junk}: {none}"),
            (key, key, f"certificate {key}: {none}"),
            (chain, junk, f"key {junk}: it holds no private key"),
            (chain, None, f"key {chain}: it holds no private key"),
            (chain, other.key, f"key {other.key}: it does not belong to the certificate in {chain}"),
            (chain, encrypted, f"key {encrypted}: it is encrypted, and nobody is asked for its password"),
        ):
            named = Tls(verify=False, certificate=str(certificate), key=str(its_key) if its_key else None)
            assert fails(named, server=server) == words
    for trust, words in (missing, absent), (junk, none), (tmp_path, "Is a directory"):
        assert fails(Tls(trust_file=str(trust))) == f"trusted certificates {trust}: {words}"
    assert fails(Tls(verify=False, ciphers="ROT13")).startswith("ciphers ROT13: none of them can be used")
    assert fails(Tls(verify=False, alpn=("a", ""))) == "protocols a,: each must be 1 to 255 ASCII characters"
    assert fails(Tls(verify=False, alpn=("\xe9",))).endswith("each must be 1 to 255 ASCII characters")


def test_a_certificate_too_weak_for_openssl_is_refused_with_its_reason(tmp_path: Path) -> None:
    weak = tmp_path / "weak.pem"
    made = run([require("openssl"), "req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=a", "-keyout", "-"])
    weak.write_bytes(made.out)
    assert fails(Tls(verify=False, certificate=str(weak))) == f"certificate {weak}: ee key too small"


def test_certificate_and_key_may_be_in_one_file(authority: Authority) -> None:
    tls = Tls(verify=False, certificate=str(authority.server.both))
    assert Handshake(trusting(authority), tls).first == b"welcome"


def test_keys_are_logged_in_the_file_that_the_environment_names(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    Handshake(UNVERIFIED, identity(authority.server))
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in (tmp_path / "keys").read_text()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    assert fails(UNVERIFIED) == f"SSLKEYLOGFILE {tmp_path}/missing/keys: No such file or directory"
