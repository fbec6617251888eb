"""Laws of CONNECT, the client's side: one well-formed request, and what follows the response's head is untouched."""

from __future__ import annotations

import pytest
from dialogues import Outcome, bytewise, every_way, hold
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.http_connect import connect
from pync.protocols.http_head import HEAD_LIMIT

REQUEST = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
EARLY = b"\r\n\r\n\0SSH-2.0-early\xff\r\n\r\n"  # bytes of the target that come with the proxy's response


def outcome_of(responses: bytes) -> Outcome:
    return every_way(lambda: connect("example.org", 443), responses)


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("example.org", 80, b"example.org:80"),
        ("192.0.2.7", 65535, b"192.0.2.7:65535"),
        ("2001:db8::7", 443, b"[2001:db8::7]:443"),
        ("bücher.example", 1, b"xn--bcher-kva.example:1"),
    ],
)
def test_the_request_names_the_target_twice(host: str, port: int, authority: bytes) -> None:
    request = b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n"
    assert hold(connect(host, port), [OK]) == Outcome(said=[request])


def test_credentials_are_sent_if_there_are_any() -> None:
    outcome = hold(connect("example.org", 443, "Basic dTpw"), [OK])
    assert outcome.said == [REQUEST[:-2] + b"Proxy-Authorization: Basic dTpw\r\n\r\n"]


def test_credentials_that_are_no_header_are_not_sent() -> None:
    outcome = hold(connect("example.org", 443, "Basic x\r\nHost: other"), [])
    assert outcome == Outcome(said=[], refusal="the credentials do not fit into a header")


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: y", "a:80", "[::1]", "fe80::1%eth0", "user@host", "host/", "\0"])
def test_what_is_no_host_is_not_asked_for(host: str) -> None:
    assert hold(connect(host, 443), []) == Outcome(said=[], refusal=f"{host!r} is not a host name")


@pytest.mark.parametrize(
    "responses",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 204 No Content\n\n",
        b"HTTP/1.1 299 Odd\r\nVia: 1.1 tiny\r\nX: y\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    ],
)
def test_the_tunnel_begins_after_the_head(responses: bytes) -> None:
    assert outcome_of(responses) == Outcome(said=[REQUEST])
    assert outcome_of(responses + EARLY) == Outcome(said=[REQUEST], rest=EARLY)


@pytest.mark.parametrize("body", [b"", b"who are you?"])
def test_a_proxy_may_want_other_credentials(body: bytes) -> None:
    head = (
        b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nX: y\r\nproxy-authenticate: Digest realm="r\xc3\xbc\xff"\r\n'
    )
    challenges = ["Basic", 'Digest realm="rü\udcff"']
    assert outcome_of(head + b"\r\n" + body) == Outcome(said=[REQUEST], result=challenges, rest=body)
    assert outcome_of(b"HTTP/1.0 407 No\r\n\r\n" + body) == Outcome(said=[REQUEST], result=[], rest=body)


@pytest.mark.parametrize(
    ("responses", "why"),
    [
        (b"HTTP/1.1 403 Access violation\r\nContent-Length: 4\r\n\r\nbody", "403 Access violation"),
        (b"HTTP/1.0 502\r\n\r\n", "502"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "302 Found"),
        (b"HTTP/1.1 500 a\xc2\x9b31mb \xff\xc3\xbc\r\n\r\n", "500 a?31mb \N{REPLACEMENT CHARACTER}ü"),
        (b"HTTP/1.1 500 " + b"x" * 300 + b"\r\n\r\n", "500 " + "x" * 100),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it is not an HTTP proxy"),
        (b"HTTP/2 200\r\n\r\n", "it is not an HTTP proxy"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "it is not an HTTP proxy"),
        (b"HTTP/1.1 OK\r\n\r\n", "it does not keep to HTTP"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "it does not keep to HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it does not keep to HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT, "a head of more than 65536 bytes"),
        (b"", "it ended the connection"),
        (b"\5\xff", "it broke off in the middle of a message"),
        (OK[:-1], "it broke off in the middle of a message"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "it ended the connection"),
    ],
)
def test_any_other_response_is_a_refusal_in_words(responses: bytes, why: str) -> None:
    assert outcome_of(responses) == Outcome(said=[REQUEST], refusal=why)


def head_of_size(size: int) -> bytes:
    start = b"HTTP/1.1 200 OK\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_a_head_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert outcome_of(head_of_size(HEAD_LIMIT) + EARLY) == Outcome(said=[REQUEST], rest=EARLY)
    assert outcome_of(head_of_size(HEAD_LIMIT + 1) + EARLY).refusal == "a head of more than 65536 bytes"


WORDS = [b"HTTP/1.1", b"HTTP/1.0 200 OK", b" 407 ", b"\r\n", b"\n", b"\r\n\r\n", b"Proxy-Authenticate: x", b"X:", b" y"]


@given(st.lists(st.binary(max_size=9) | st.sampled_from([*WORDS, OK])))
def test_any_bytes_in_any_split_have_one_outcome(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    outcomes = [hold(connect("example.org", 443), each) for each in (parts, [whole], bytewise(whole))]
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.text() | st.from_regex(r"[a-z.:\[\]\r\n -]*"), st.integers(1, 65535))
def test_whatever_the_host_is_at_most_one_request_is_sent(host: str, port: int) -> None:
    outcome = hold(connect(host, port), [OK])
    assert len(outcome.said) <= 1
    for request in outcome.said:
        assert request.count(b"\r\n") == request.count(b"\n") == request.count(b"\r") == 3
        assert request.count(b" ") == 3
