"""Laws of SOCKS, the client's side and the proxy's: what each sends, byte by byte, whatever pieces it receives."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest
from dialogues import Outcome, every_way, hold
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.dialogue import ConnectRequest
from pync.protocols.socks_client import FAILURES_4, FAILURES_5, socks4_connect, socks5_connect
from pync.protocols.socks_server import CODES, failure_reply, serve, success_reply

if TYPE_CHECKING:
    from pync.protocols.dialogue import FailureKind, Login

V4 = bytes((192, 0, 2, 7))
V6 = ipaddress.ip_address("2001:db8::7").packed
EARLY = b"\0early\xff\r\n"  # bytes of the target that come with the proxy's answer
LOGIN = ("Jäsøn", "Secret, or not?")
CREDENTIALS = b"\1\7J\xc3\xa4s\xc3\xb8n\x0fSecret, or not?"
FROM_V4 = b"\5\0\0\1" + V4 + b"\x04\x38"


def v6(octets: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, octets)


ANY_SPLIT = st.lists(st.binary(max_size=9) | st.sampled_from([b"\5\0", b"\5\2", b"\1\0", b"\5\0\0", b"\1", b"\3", V4]))
names = st.from_regex(r"[a-z0-9_-]{1,60}(\.[a-z0-9-]{1,60}){0,2}", fullmatch=True).filter(
    lambda name: not name.replace(".", "").isdigit()
)
hosts = names | st.ip_addresses(v=4).map(str) | st.binary(min_size=16, max_size=16).map(v6)
ports = st.integers(1, 65535)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
logins = st.none() | st.tuples(texts, texts)


# -- Version 4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "user", "sent"),
    [
        ("192.0.2.7", 80, "", b"\4\1\0\x50" + V4 + b"\0"),
        ("192.0.2.7", 1080, "fred", b"\4\1\x04\x38" + V4 + b"fred\0"),
        ("example.org", 65535, "grüß", b"\4\1\xff\xff\0\0\0\1gr\xc3\xbc\xc3\x9f\0example.org\0"),
        ("bücher.example", 1, "", b"\4\1\0\1\0\0\0\1\0xn--bcher-kva.example\0"),
    ],
)
def test_socks_4_asks_with_an_address_and_4a_with_a_name(host: str, port: int, user: str, sent: bytes) -> None:
    reply = b"\0\x5a" + b"abcdef"
    assert every_way(lambda: socks4_connect(host, port, user), reply + EARLY) == Outcome(said=[sent], rest=EARLY)


@pytest.mark.parametrize("version", [0, 4])
def test_socks_4_takes_a_repeated_version_for_a_reply(version: int) -> None:
    assert every_way(lambda: socks4_connect("192.0.2.7", 1), bytes((version, 90)) + bytes(6)).refusal is None


@pytest.mark.parametrize("code", [*FAILURES_4, 94, 0])
def test_socks_4_reports_why_it_is_refused(code: int) -> None:
    outcome = every_way(lambda: socks4_connect("192.0.2.7", 1), bytes((0, code)))
    assert outcome.refusal == FAILURES_4.get(code, f"unassigned code 0x{code:02x}")


@pytest.mark.parametrize(
    ("host", "user", "why"),
    [
        ("2001:db8::7", "", "SOCKS 4 knows no IPv6 addresses"),
        ("example.org", "a\0b", "a SOCKS 4 user must not contain a NUL byte"),
        ("a\0b", "", "'a\\x00b' is not a host name"),
    ],
)
def test_socks_4_does_not_ask_what_it_cannot(host: str, user: str, why: str) -> None:
    assert hold(socks4_connect(host, 80, user), []) == Outcome(said=[], refusal=why)


# -- Version 5 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", b"\1" + V4),
        ("2001:db8::7", b"\4" + V6),
        ("example.org", b"\3\x0bexample.org"),
        ("bücher.example", b"\3\x15xn--bcher-kva.example"),
        ("a" * 255, b"\3\xff" + b"a" * 255),
    ],
)
@pytest.mark.parametrize("origin", [b"\1" + V4, b"\4" + V6, b"\3\x05proxy", b"\3\0"])
def test_socks_5_connects_to_and_from_every_kind_of_address(host: str, address: bytes, origin: bytes) -> None:
    outcome = every_way(lambda: socks5_connect(host, 1080), b"\5\0" + b"\5\0\0" + origin + b"\x12\x34" + EARLY)
    assert outcome == Outcome(said=[b"\5\1\0", b"\5\1\0" + address + b"\x04\x38"], rest=EARLY)


def test_a_password_is_sent_to_a_proxy_that_wants_it() -> None:
    outcome = every_way(lambda: socks5_connect("192.0.2.7", 80, LOGIN), b"\5\2" + b"\1\0" + FROM_V4 + EARLY)
    assert outcome == Outcome(said=[b"\5\2\0\2", CREDENTIALS, b"\5\1\0\1" + V4 + b"\0\x50"], rest=EARLY)


def test_a_password_is_not_sent_to_a_proxy_that_does_not_want_it() -> None:
    outcome = every_way(lambda: socks5_connect("192.0.2.7", 80, LOGIN), b"\5\0" + FROM_V4)
    assert outcome == Outcome(said=[b"\5\2\0\2", b"\5\1\0\1" + V4 + b"\0\x50"])


@pytest.mark.parametrize("code", [*FAILURES_5, 9, 255])
@pytest.mark.parametrize("brief", [True, False])
def test_socks_5_reports_why_it_is_refused(code: int, brief: bool) -> None:
    reply = bytes((5, code)) + (b"" if brief else b"\0\1" + bytes(6))
    outcome = every_way(lambda: socks5_connect("192.0.2.7", 1), b"\5\0" + reply)
    assert outcome.refusal == FAILURES_5.get(code, f"unassigned code 0x{code:02x}")


@pytest.mark.parametrize(
    ("login", "replies", "why"),
    [
        (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", "it is not a SOCKS 5 proxy"),
        (None, b"\5\xff", "it wants authentication"),
        (None, b"\5\2", "it wants authentication"),
        (LOGIN, b"\5\xff", "it wants another authentication than user and password"),
        (LOGIN, b"\5\1", "it wants another authentication than user and password"),
        (LOGIN, b"\5\2\1\1", "it does not accept this user and password"),
        (LOGIN, b"\5\2\5\xff", "it does not accept this user and password"),
        (None, b"\5\0HTTP", "it is not a SOCKS 5 proxy"),
        (None, b"\5\0\5\0\0\2", "an address of unknown type 0x02 in its answer"),
        (None, b"", "it ended the connection"),
        (None, b"\5", "it broke off in the middle of a message"),
        (None, b"\5\0", "it ended the connection"),
        (LOGIN, b"\5\2", "it ended the connection"),
        (None, FROM_V4[:2] + FROM_V4[:-1], "it broke off in the middle of a message"),
    ],
)
def test_what_is_no_reply_is_refused_in_words(login: Login | None, replies: bytes, why: str) -> None:
    assert every_way(lambda: socks5_connect("192.0.2.7", 1, login), replies).refusal == why


@pytest.mark.parametrize("login", [("", "secret"), ("user", ""), ("u" * 256, "secret"), ("user", "ü" * 128)])
def test_credentials_have_to_fit(login: Login) -> None:
    outcome = hold(socks5_connect("192.0.2.7", 1, login), [])
    assert outcome == Outcome(said=[], refusal="a SOCKS 5 user and password have 1 to 255 bytes each")


@pytest.mark.parametrize("host", ["", "a b", "a\r\nb", "a\0b", "fe80::1%eth0", "[::1]", "x" * 64 + "ü", "a..ü", "a/b"])
def test_what_is_no_host_is_not_asked_for(host: str) -> None:
    assert hold(socks5_connect(host, 1), []) == Outcome(said=[], refusal=f"{host!r} is not a host name")


def test_a_host_that_is_too_long_is_not_asked_for() -> None:
    assert hold(socks5_connect("a" * 256, 1), []) == Outcome(said=[], refusal="a host name of more than 255 bytes")


# -- The proxy's side --------------------------------------------------------------------------------------------

REQUEST = b"\5\1\0\1" + V4 + b"\0\x50"
ASKED = ConnectRequest(host="192.0.2.7", port=80)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (b"\1" + V4, "192.0.2.7"),
        (b"\4" + V6, "2001:db8::7"),
        (b"\3\x0bexample.org", "example.org"),
        (b"\3\x092001:db8:", None),
        (b"\3\x0b2001:db8::7", "2001:db8::7"),
        (b"\3\0", None),
        (b"\3\3a\r\n", None),
        (b"\3\2\xc3\xbc", None),
    ],
)
def test_a_client_asks_for_every_kind_of_address(address: bytes, host: str | None) -> None:
    outcome = every_way(lambda: serve(None), b"\5\1\0" + b"\5\1\0" + address + b"\x04\x38" + EARLY)
    if host:
        assert outcome == Outcome(said=[b"\5\0"], result=ConnectRequest(host=host, port=1080), rest=EARLY)
    else:
        assert outcome.said == [b"\5\0", b"\5\4\0\1" + bytes(6)]
        assert outcome.refusal is not None
        assert outcome.refusal.endswith("is not a host name")


@pytest.mark.parametrize("methods", [b"\1\0", b"\3\0\1\2", b"\2\2\0"])
def test_without_a_login_no_client_is_asked_for_one(methods: bytes) -> None:
    assert every_way(lambda: serve(None), b"\5" + methods + REQUEST) == Outcome(said=[b"\5\0"], result=ASKED)


def test_a_client_that_knows_the_password_is_served() -> None:
    outcome = every_way(lambda: serve(LOGIN), b"\5\2\0\2" + CREDENTIALS + REQUEST + EARLY)
    assert outcome == Outcome(said=[b"\5\2", b"\1\0"], result=ASKED, rest=EARLY)


@pytest.mark.parametrize(
    ("login", "received", "replies", "why"),
    [
        (None, b"\4\1\0\x50" + V4 + b"\0", [], "it does not speak SOCKS 5"),
        (None, b"GET / HTTP/1.1\r\n\r\n", [], "it does not speak SOCKS 5"),
        (None, b"\5\0", [b"\5\xff"], "it insists on an authentication"),
        (None, b"\5\1\2", [b"\5\xff"], "it insists on an authentication"),
        (LOGIN, b"\5\1\0", [b"\5\xff"], "it has to show who it is"),
        (LOGIN, b"\5\1\2\5", [b"\5\2"], "it does not keep to SOCKS 5"),
        (LOGIN, b"\5\1\2" + CREDENTIALS[:-1] + b"!", [b"\5\2", b"\1\1"], "a wrong user or password"),
        (LOGIN, b"\5\1\2" + CREDENTIALS.replace(b"J", b"j", 1), [b"\5\2", b"\1\1"], "a wrong user or password"),
        (LOGIN, b"\5\1\2\1\0\0", [b"\5\2", b"\1\1"], "a wrong user or password"),
        (None, b"\5\1\0" + b"\4\1\0\x01", [b"\5\0"], "it does not keep to SOCKS 5"),
        (None, b"\5\1\0" + b"\5\1\0\2", [b"\5\0", b"\5\x08\0\1" + bytes(6)], "an address of unknown type 0x02"),
        (
            None,
            b"\5\1\0" + b"\5\2" + REQUEST[2:],
            [b"\5\0", b"\5\7\0\1" + bytes(6)],
            "a command that is not served, 0x02",
        ),
        (None, b"", [], "it ended the connection"),
        (None, b"\5\2\0", [], "it broke off in the middle of a message"),
        (None, b"\5\1\0", [b"\5\0"], "it ended the connection"),
        (None, b"\5\1\0" + REQUEST[:-1], [b"\5\0"], "it broke off in the middle of a message"),
    ],
)
def test_a_client_that_is_refused_gets_a_reply_and_the_reason_is_known(
    login: Login | None, received: bytes, replies: list[bytes], why: str
) -> None:
    assert every_way(lambda: serve(login), received) == Outcome(said=replies, refusal=why)


# -- Both together -----------------------------------------------------------------------------------------------


class Meeting(NamedTuple):
    """What became of a client and a proxy that talked to each other."""

    client: Outcome
    proxy: Outcome


def meet(host: str, port: int, login: Login | None, account: Login | None, reply: bytes) -> Meeting:
    """Let a client with this login talk to a proxy with this account; `reply` is the proxy's last."""
    sent: list[bytes] = []
    proxy = Outcome(said=[])
    # In each round the client receives more than before, until it has nothing more to send.
    while True:
        client = hold(socks5_connect(host, port, login), [*proxy.said, *([reply] if proxy.result else [])])
        if client.said == sent:
            return Meeting(client, proxy)
        sent = client.said
        proxy = hold(serve(account), sent)


@given(hosts, ports, logins)
def test_our_client_is_understood_by_our_proxy(host: str, port: int, login: Login | None) -> None:
    asked = ConnectRequest(host=host, port=port)
    meeting = meet(host, port, login, login, success_reply(asked) + EARLY)
    assert meeting.proxy.result == asked
    assert meeting.client.refusal is None
    assert meeting.client.rest == EARLY


@given(hosts, texts, texts)
def test_our_client_with_another_password_is_not_served(host: str, password: str, other: str) -> None:
    meeting = meet(host, 80, ("user", password), ("user", other), success_reply(ASKED))
    assert (meeting.client.refusal is None) == (meeting.proxy.result is not None) == (password == other)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("failed", "General SOCKS server failure"),
        ("forbidden", "Connection not allowed by ruleset"),
        ("no network", "Network unreachable"),
        ("no host", "Host unreachable"),
        ("refused", "Connection refused"),
        ("timed out", "TTL expired"),
    ],
)
def test_our_client_knows_why_our_proxy_failed(trouble: FailureKind, words: str) -> None:
    assert trouble in CODES
    assert meet("example.org", 80, None, None, failure_reply(trouble, "why")).client.refusal == words


# -- Any bytes ---------------------------------------------------------------------------------------------------


@given(ANY_SPLIT, st.sampled_from([None, LOGIN]))
def test_any_bytes_in_any_split_have_one_outcome(parts: list[bytes], login: Login | None) -> None:
    whole = b"".join(parts)
    assert hold(socks4_connect("192.0.2.7", 1), parts) == every_way(lambda: socks4_connect("192.0.2.7", 1), whole)
    assert hold(socks5_connect("192.0.2.7", 1, login), parts) == every_way(
        lambda: socks5_connect("192.0.2.7", 1, login), whole
    )
    assert hold(serve(login), parts) == every_way(lambda: serve(login), whole)


@given(st.text())
def test_any_text_is_a_host_or_is_refused(host: str) -> None:
    for dialogue in (socks4_connect(host, 80), socks5_connect(host, 80)):
        outcome = hold(dialogue, [])
        assert outcome.refusal
        assert len(outcome.said) <= 1
