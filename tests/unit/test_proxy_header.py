"""Laws of the PROXY protocol: what is written is read again, however it is cut, and nothing else is a header."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from dialogues import Outcome, every_way, hold
from hypothesis import given
from hypothesis import strategies as st

from pync.events import Address
from pync.protocols.proxy_header import LONGEST_LINE, MOST, PREFIX_2, header, receive

V4 = "192.0.2.1"
V6 = "2001:db8::7"
DATA = b"PROXY TCP4 of the client\r\n\0"
ports = st.integers(0, 65535)
addresses = st.builds(Address, host=st.ip_addresses().map(str), port=ports)
versions = st.sampled_from([1, 2])


def canonical(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


@given(version=versions, client=addresses, own=addresses, data=st.binary(max_size=20))
def test_the_client_that_is_named_is_the_one_that_is_read(
    version: int, client: Address, own: Address, data: bytes
) -> None:
    sent = header(2 if version == 2 else 1, client, own)
    outcome = every_way(receive, sent + data)
    assert outcome.refusal is None
    assert outcome.rest == data
    assert canonical(outcome.result.host) == canonical(client.host)
    assert outcome.result.port == client.port


@given(
    parts=st.lists(
        st.binary(max_size=40) | st.sampled_from([PREFIX_2, b"\x21\x11\0\x0c", b"PROXY ", b"TCP4 ", b"\r\n"])
    )
)
def test_any_split_has_the_same_result(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert hold(receive(), parts) == hold(receive(), [whole])


@pytest.mark.parametrize(
    ("client", "own", "line"),
    [
        ((V4, 50000), ("192.0.2.7", 443), b"PROXY TCP4 192.0.2.1 192.0.2.7 50000 443\r\n"),
        ((V6, 1), ("::1", 2), b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n"),
        (("fe80::1%eth0", 1), ("fe80::2%eth0", 2), b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"),
        (("::ffff:192.0.2.1", 1), ("::ffff:192.0.2.7", 2), b"PROXY TCP4 192.0.2.1 192.0.2.7 1 2\r\n"),
        ((V6, 1), ("127.0.0.1", 2), b"PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 1 2\r\n"),
        (("", None), ("/run/x", None), b"PROXY UNKNOWN\r\n"),
        ((V4, 1), ("/run/x", None), b"PROXY UNKNOWN\r\n"),
        (("2", 1), ("3", 2), b"PROXY UNKNOWN\r\n"),
    ],
)
def test_the_line_of_version_1(client: tuple[str, int | None], own: tuple[str, int | None], line: bytes) -> None:
    ends = [Address(host=host, port=port) for host, port in (client, own)]
    assert header(1, *ends) == line


def test_the_bytes_of_version_2() -> None:
    """The example of the specification's section 2.2, by its structure."""
    own = Address(host="192.0.2.7", port=443)
    body = socket.inet_aton(V4) + socket.inet_aton("192.0.2.7") + b"\xc3\x50\x01\xbb"
    assert header(2, Address(host=V4, port=50000), own) == PREFIX_2 + b"\x21\x11\0\x0c" + body
    assert header(2, Address(host=""), own) == PREFIX_2 + b"\x20\0\0\0"


ADDRESSES = socket.inet_aton(V4) + socket.inet_aton("192.0.2.7") + b"\xc3\x50\x01\xbb"


@pytest.mark.parametrize(
    "sent",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
        PREFIX_2 + b"\x20\0\0\0",
        PREFIX_2 + b"\x20\x11\0\x0c" + ADDRESSES,  # LOCAL, whatever follows
        PREFIX_2 + b"\x21\0\0\0",  # UNSPEC
        PREFIX_2 + b"\x21\x31\0\xd8" + bytes(216),  # unix
        PREFIX_2 + b"\x21\x12\0\x0c" + ADDRESSES,  # datagrams
    ],
)
def test_some_headers_name_no_client(sent: bytes) -> None:
    assert every_way(receive, sent + DATA) == Outcome([], None, DATA)


def test_facts_after_the_addresses_are_passed_over() -> None:
    facts = b"\x02\0\x0bexample.org"
    sent = PREFIX_2 + b"\x21\x11" + (12 + len(facts)).to_bytes(2) + ADDRESSES + facts
    assert every_way(receive, sent + DATA) == Outcome([], Address(host=V4, port=50000), DATA)


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (b"", "it ended the connection"),
        (b"PROXY TCP4 192", "it broke off in the middle of a message"),
        (PREFIX_2 + b"\x21\x11\0\x0c\0", "it broke off in the middle of a message"),
        (b"GET / HTTP/1.1\r\n\r\n", "it sends no PROXY header"),
        (b"PUT / HTTP/1.1\r\n\r\n", "it sends no PROXY header"),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "it sends no PROXY header"),
        (b"\x16\x03\x01", "it sends no PROXY header"),
        (b"PROXY\r\n", "it sends no PROXY header"),
        *(
            (line, "its PROXY header is malformed")
            for line in [
                b"PROXY \r\n",
                b"PROXY TCP5 192.0.2.1 192.0.2.7 1 2\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 1 2\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 1\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 1 2 3\r\n",
                b"PROXY TCP4  192.0.2.1 192.0.2.7 1 2\r\n",
                b"PROXY TCP4 192.0.2.1 2001:db8::7 1 2\r\n",
                b"PROXY TCP6 192.0.2.1 192.0.2.7 1 2\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 65536 2\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 1 65536\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 01 2\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 -1 2\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.7 1 \xb2\r\n",
                b"PROXY TCP4 192.0.2.1\0 192.0.2.7 1 2\r\n",
                b"PROXY TCP4 \xff 192.0.2.7 1 2\r\n",
                b"PROXY UNKNOWN " + b"x" * LONGEST_LINE + b"\r\n",
                b"PROXY " + b"x" * LONGEST_LINE,
                PREFIX_2 + b"\x11\x11\0\x0c" + ADDRESSES,
                PREFIX_2 + b"\x22\x11\0\x0c" + ADDRESSES,
                PREFIX_2 + b"\x21\x11\0\x0b" + ADDRESSES[:-1],
                PREFIX_2 + b"\x21\x21\0\x0c" + ADDRESSES,
            ]
        ),
        (PREFIX_2 + b"\x21\x11" + (MOST + 1).to_bytes(2), f"its PROXY header is longer than {MOST} bytes"),
    ],
)
def test_all_else_is_refused(sent: bytes, refusal: str) -> None:
    assert every_way(receive, sent) == Outcome([], refusal=refusal)


def test_the_longest_line_is_read() -> None:
    line = b"PROXY UNKNOWN ".ljust(LONGEST_LINE - 2, b"x") + b"\r\n"
    assert every_way(receive, line + DATA) == Outcome([], None, DATA)
