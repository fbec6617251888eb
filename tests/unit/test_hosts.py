"""Laws of hosts and authorities: what one function writes the other reads, and nothing else passes."""

from __future__ import annotations

import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.dialogue import Refused
from pync.protocols.hosts import ascii_name, authority, received_name, split_authority

names = st.from_regex(r"[a-z0-9_-]{1,60}(\.[a-z0-9-]{1,60}){0,2}", fullmatch=True).filter(
    lambda name: not name.replace(".", "").isdigit()
)
ipv6 = st.binary(min_size=16, max_size=16).map(lambda octets: socket.inet_ntop(socket.AF_INET6, octets))
hosts = names | st.ip_addresses(v=4).map(str) | ipv6
ports = st.integers(1, 65535)


@given(hosts, ports)
def test_an_authority_is_split_into_what_it_was_made_of(host: str, port: int) -> None:
    assert split_authority(authority(host, port)) == (host, port)
    assert split_authority(authority(host, port).rpartition(":")[0]) == (host, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not a host name"),
        (":80", "'' is not a host name"),
        ("::1", "':' is not a host name"),
        ("[::1", "'[:' is not a host name"),
        ("[192.0.2.7]:80", "'[192.0.2.7]' is not a host name"),
        ("user@host:80", "'user@host' is not a host name"),
        ("b\u00fccher:80", r"'b\xc3\xbccher' is not a host name"),
        ("\udcff:80", r"'\xff' is not a host name"),
        ("host:0", "'0' is not a port"),
        ("host:65536", "'65536' is not a port"),
        ("host:+80", "'+80' is not a port"),
        ("host:٣", "'٣' is not a port"),
        ("host:" + "9" * 5000, f"'{'9' * 20}' is not a port"),
    ],
)
def test_what_is_no_authority_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused) as refusal:
        split_authority(text)
    assert str(refusal.value) == why


@given(st.text())
def test_any_text_is_an_authority_or_is_refused(text: str) -> None:
    try:
        host, port = split_authority(text)
    except Refused:
        return
    assert split_authority(authority(host, port or 80)) == (host, port or 80)


def test_a_name_of_the_users_may_be_an_international_one() -> None:
    assert ascii_name("b\u00fccher.example") == b"xn--bcher-kva.example"


def test_a_name_that_was_received_needs_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "encodings.idna", None)
    for octets in b"b\xc3\xbccher.example", b"\xff", b"xn--\x80":
        with pytest.raises(Refused, match="is not a host name"):
            received_name(octets)
    assert received_name(b"xn--bcher-kva.example") == "xn--bcher-kva.example"
