"""Certificates with content that no honest authority signs: none is more than the failure of its own handshake.

Each is shown by a server and by a client, verified, pinned and not verified. `Handshake` lets no failure pass that is
not one of pync's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from certificates import der
from tls import UNVERIFIED, Handshake, identity, trusting, why

from pync.config import Tls
from pync.errors import TlsError
from pync.events import as_address
from pync.tls.handshake import _application_protocol
from pync.tls.reasons import LONGEST

if TYPE_CHECKING:
    from typing import Any

    from certificates import Authority, Certificate

DNS, URI, IP, ID, DIRECTORY, OTHER = 0x82, 0x86, 0x87, 0x88, 0xA4, 0xA0
LOCALHOST = der(DNS, b"localhost")
CN = bytes.fromhex("0603550403")  # the type of the name's part that follows
DISTINGUISHED = der(0x30, der(0x31, der(0x30, CN + der(0x0C, b"d\x1bn"))) * 9)
NAMES = {
    "not UTF-8": der(DNS, b"\xff\xfe"),
    "not UTF-8, and the right one": der(DNS, b"\xff\xfe") + LOCALHOST,
    "a NUL": der(DNS, b"localhost\0.example"),
    "control characters": der(DNS, b"\x1b[2J") + der(URI, b"\r\n"),
    "empty": der(DNS, b""),
    "none": b"",
    "huge": der(DNS, b"h" * 50_000),
    "many": b"".join(der(DNS, b"%d.example" % number) for number in range(3000)),
    "an address of three bytes": der(IP, b"\x7f\0\1"),
    "a distinguished name": der(DIRECTORY, DISTINGUISHED),
    "an identifier": der(ID, b"\x2a\x03\x04"),
    "another name": der(OTHER, b"\x06\x03\x2a\x03\x05" + der(0xA0, der(0x0C, b"\xff"))),
    "a URI that is not UTF-8": der(URI, b"http://\xe9/"),
}
CHANGED = {
    "a subject in T.61": (CN + der(0x0C, b"localhost"), CN + der(0x14, b"loc\xe9\0\x1bost")),
    "a date that is none": (b"\x17\x0d2", b"\x17\x0dX"),
}
EXPIRED = "expired, with a URI that is not UTF-8"
ODD = [*NAMES, *CHANGED, EXPIRED]


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, authority: Authority) -> Certificate:
    return certificate(authority, request.param)


def certificate(authority: Authority, label: str) -> Certificate:
    if label in NAMES:
        return authority.odd("odd", NAMES[label])
    if label in CHANGED:
        return authority.odd("odd", LOCALHOST, old=CHANGED[label][0], new=CHANGED[label][1])
    return authority.odd("odd", LOCALHOST + der(URI, b"\xe9"), days=-1)


def test_a_client_that_verifies_nothing_or_a_pin_accepts_it_and_shows_what_is_known(odd: Certificate) -> None:
    for client in UNVERIFIED, Tls(pin=bytes.fromhex(odd.fingerprint)):
        handshake = Handshake(client, identity(odd))
        assert handshake.first == b"welcome"
        shown = handshake.events[False].certificate
        assert shown.endswith(f"sha256:{odd.fingerprint}")
        assert len(shown) < 20 * LONGEST


def test_a_client_that_verifies_it_is_served_or_fails_with_one_reason(authority: Authority, odd: Certificate) -> None:
    handshake = Handshake(trusting(authority), identity(odd))
    if handshake.ours is None:
        assert handshake.first == b"welcome"
    else:
        assert isinstance(handshake.ours, TlsError)
        assert len(handshake.ours.why) < 20 * LONGEST


def test_a_listener_that_verifies_its_clients_serves_it_or_fails_with_one_reason(
    authority: Authority, odd: Certificate
) -> None:
    server = identity(authority.server, verify=True, trust_file=str(authority.trust))
    for trusted in True, False:
        if not trusted:
            server = server.but(trust_file=str(authority.strange.chain))
        handshake = Handshake(identity(odd), server)
        assert (handshake.theirs is None) == (True in handshake.events)
        assert handshake.theirs is None or isinstance(handshake.theirs, TlsError)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("not UTF-8", "the certificate is not for localhost"),
        ("a distinguished name", f"the certificate is for {'CN=d?n, ' * 5}4 others, not for localhost"),
        ("huge", f"the certificate is for {'h' * LONGEST}..., not for localhost"),
        ("a NUL", "the certificate is for localhost?.example, not for localhost"),
        (EXPIRED, "the certificate has expired: some time ago"),
    ],
)
def test_the_reason_is_as_good_as_what_can_be_read(authority: Authority, label: str, words: str) -> None:
    assert why(Handshake(trusting(authority), identity(certificate(authority, label))).ours) == words


def test_an_application_protocol_that_cannot_have_been_offered_fails_the_handshake() -> None:
    class Stream:
        address = as_address(("127.0.0.1", 1))
        tls: Any = None

        def selected_alpn_protocol(self) -> str:
            return b"\xff".decode()

    stream: Any = Stream()
    stream.tls = stream
    with pytest.raises(TlsError, match="an application protocol .ALPN. that was not offered"):
        _application_protocol(stream)
