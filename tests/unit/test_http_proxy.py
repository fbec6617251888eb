"""Laws of the HTTP proxy: what a client asks for, what the target is sent instead, and what becomes of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import pytest
from dialogues import Outcome, bytewise, every_way, hold
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.dialogue import ConnectRequest
from pync.protocols.http_answer import error_page, response_head
from pync.protocols.http_auth import NONCE_LIFE, Nonces, basic
from pync.protocols.http_auth import answer as answer_to
from pync.protocols.http_connect import connect
from pync.protocols.http_head import HEAD_LIMIT
from pync.protocols.http_proxy import ESTABLISHED, answer, failure_reply, serve, success_reply

if TYPE_CHECKING:
    from pync.protocols.dialogue import FailureKind, Login

LOGIN = ("Jäsøn", "Secret, or not?")
SECRET = b"only the proxy knows"
NOW = 1000
BODY = b"\r\n\r\n\0body\xff\r\n\r\n"  # bytes that come with the head
CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"


def asked(received: bytes, login: Login | None = None) -> Outcome:
    return every_way(lambda: serve(login, Nonces(SECRET), NOW), received)


def rewritten(request: bytes) -> bytes:
    """The head that the target is sent in place of this request."""
    outcome = asked(request + BODY)
    assert outcome == Outcome(said=[], result=outcome.result, rest=BODY)
    head: bytes = outcome.result.head
    return head


def message(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))


# -- Tunnels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        (b"example.org:443", "example.org", 443),
        (b"192.0.2.7:22", "192.0.2.7", 22),
        (b"[2001:db8::7]:65535", "2001:db8::7", 65535),
        (b"a_b.example.:1", "a_b.example.", 1),
    ],
)
def test_a_tunnel_is_asked_for_by_name_or_address(target: bytes, host: str, port: int) -> None:
    request = message(b"CONNECT " + target + b" HTTP/1.1", b"Host: ignored")
    assert asked(request + BODY) == Outcome(said=[], result=ConnectRequest(host=host, port=port), rest=BODY)


@pytest.mark.parametrize("request_", [b"CONNECT h:1 HTTP/1.0\r\n\r\n", b"\r\n\nCONNECT h:1 HTTP/1.0\n\n"])
def test_an_old_or_a_careless_client_is_understood(request_: bytes) -> None:
    assert asked(request_ + BODY) == Outcome(said=[], result=ConnectRequest(host="h", port=1), rest=BODY)


def test_our_client_is_understood_by_our_proxy() -> None:
    request = hold(connect("bücher.example", 443), []).said[0]
    asking = asked(request).result
    assert asking == ConnectRequest(host="xn--bcher-kva.example", port=443)
    assert hold(connect("bücher.example", 443), [success_reply(asking) + BODY]) == Outcome(said=[request], rest=BODY)


# -- Plain methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "uri", "host", "port", "origin"),
    [
        ("GET", "http://example.org/", "example.org", 80, "/"),
        ("GET", "http://example.org", "example.org", 80, "/"),
        ("HEAD", "HTTP://example.org:8080/a//b?c=http://d/#e", "example.org", 8080, "/a//b?c=http://d/"),
        ("POST", "http://example.org?a@b:c", "example.org", 80, "/?a@b:c"),
        ("GET", "http://example.org#top", "example.org", 80, "/"),
        ("OPTIONS", "http://example.org", "example.org", 80, "*"),
        ("OPTIONS", "http://example.org/", "example.org", 80, "/"),
        ("PURGE", "http://[2001:db8::7]:81/x", "2001:db8::7", 81, "/x"),
        ("GET", "http://example.org:/x", "example.org", 80, "/x"),
    ],
)
def test_the_uri_names_the_server_and_the_page(method: str, uri: str, host: str, port: int, origin: str) -> None:
    outcome = asked(message(f"{method} {uri} HTTP/1.1".encode(), b"Host: other") + BODY)
    authority = uri.partition("://")[2].partition("/")[0].partition("?")[0].partition("#")[0]
    expected = message(f"{method} {origin} HTTP/1.1".encode(), f"Host: {authority}".encode(), b"Connection: close")
    assert outcome == Outcome(said=[], result=ConnectRequest(host=host, port=port, head=expected, size=0), rest=BODY)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"Content-Length: 12", 12),
        (b"Transfer-Encoding: chunked", None),
        (b"Content-Length: 12\r\nTransfer-Encoding: chunked", None),
        (b"X: y", 0),
    ],
)
def test_how_much_belongs_to_the_request_is_known_unless_it_comes_in_chunks(header: bytes, size: int | None) -> None:
    outcome = asked(message(b"POST http://h/ HTTP/1.1", b"Host: h", header) + BODY)
    assert outcome.result.size == size


def test_fields_for_the_next_hop_are_not_passed_on() -> None:
    request = message(
        b"POST http://h/x HTTP/1.1",
        b"HOST: other",
        b"Connection: keep-alive, X-Mine,",
        b"connection:\t\x20X-Folded,\r\n\tX-Too, Content-Length, Host",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic dTpw",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Upgrade: h2c",
        b"X-Mine: 1",
        b"x-folded: 2",
        b"X-TOO: 3",
        b"X-Folds: a\r\n \t b",
        b"Content-Length: 12",
        b"Expect: 100-continue",
        b"Cookie: a=b; c=d",
    )
    assert rewritten(request) == message(
        b"POST /x HTTP/1.1",
        b"Host: h",
        b"X-Folds: a b",
        b"Content-Length: 12",
        b"Expect: 100-continue",
        b"Cookie: a=b; c=d",
        b"Connection: close",
    )


def test_what_describes_the_body_is_passed_on_but_for_a_wrong_length() -> None:
    fields = (b"Transfer-Encoding: chunked", b"Trailer: X")
    request = message(b"PUT http://h/ HTTP/1.1", b"Host: h", fields[0], b"Content-Length: 3", fields[1])
    assert rewritten(request) == message(b"PUT / HTTP/1.1", b"Host: h", *fields, b"Connection: close")


def test_an_old_client_gets_an_old_response() -> None:
    assert rewritten(b"GET http://h/ HTTP/1.0\n\n") == b"GET / HTTP/1.0\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("method", "hops"), [(b"TRACE", b"1"), (b"OPTIONS", b"007"), (b"TRACE", b"999999999")])
def test_a_request_of_limited_hops_has_one_less_at_the_next(method: bytes, hops: bytes) -> None:
    request = message(method + b" http://h/ HTTP/1.1", b"Host: h", b"MAX-forwards: " + hops, b"X: y")
    left = f"Max-Forwards: {int(hops) - 1}".encode()
    assert rewritten(request) == message(method + b" / HTTP/1.1", b"Host: h", b"X: y", left, b"Connection: close")


def test_the_hops_of_other_methods_are_not_counted() -> None:
    request = message(b"GET http://h/ HTTP/1.1", b"Host: h", b"Max-Forwards: 0")
    assert rewritten(request) == message(b"GET / HTTP/1.1", b"Host: h", b"Max-Forwards: 0", b"Connection: close")


values = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)
fields = st.tuples(st.from_regex(r"X-[A-Za-z-]{1,9}", fullmatch=True), values)


@given(st.lists(fields), st.from_regex(r"/[!-\"$-~]{0,30}", fullmatch=True))
def test_everything_else_reaches_the_target_as_it_was(fields: list[tuple[str, str]], path: str) -> None:
    lines = [f"{name}: {value}".encode() for name, value in fields]
    head = rewritten(message(f"GET http://h:81{path} HTTP/1.1".encode(), b"Host: h:81", *lines))
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    expected = [("Host", "h:81"), *fields, ("Connection", "close")]
    assert event.headers.raw_items() == [(name.encode(), value.encode()) for name, value in expected]
    assert (event.method, event.target) == (b"GET", path.encode())


# -- Requests that end here -------------------------------------------------------------------------------------


def test_a_trace_that_ends_here_is_answered_with_itself_but_for_secrets() -> None:
    line, fields = b"TRACE http://h/x HTTP/1.1", [b"Host: h", b"Max-Forwards: 0", b"X: a"]
    secrets = [b"Cookie: c", b"AUTHORIZATION: a", b"Proxy-Authorization: " + basic(LOGIN).encode()]
    request = message(line, *fields, *secrets)
    received = message(line, *fields)
    head = response_head(content_type="message/http", length=len(received))
    assert asked(request + BODY, LOGIN) == Outcome(said=[head + received], result=None, rest=BODY)
    assert asked(message(line, *fields), LOGIN).refusal == "it has to show who it is"


@pytest.mark.parametrize("uri", [b"http://h/x", b"http://h"])
def test_an_options_that_ends_here_is_answered(uri: bytes) -> None:
    request = message(b"OPTIONS " + uri + b" HTTP/1.1", b"Host: h", b"Max-Forwards: 0")
    assert asked(request) == Outcome(said=[response_head(content_type=None, length=0)], result=None)


# -- Refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "this is a proxy: it serves http:// and CONNECT"),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400, "this is a proxy: it serves http:// and CONNECT"),
        (b"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "this is a proxy: it serves http:// and CONNECT"),
        (b"GET http:h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "this is a proxy: it serves http:// and CONNECT"),
        (b"GET http:/// HTTP/1.1\r\nHost: h\r\n\r\n", 400, "'' is not a host name"),
        (b"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "no user can be named in a URI"),
        (b"GET http://h:99999/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "'99999' is not a port"),
        (b"GET http://h\\.other/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "'h\\\\.other' is not a host name"),
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\n", 400, "more than one Content-Length"),
        (b"PUT http://h/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0 has no Transfer-Encoding"),
        *(
            (b"TRACE http://h/ HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n\r\n", 400, "Max-Forwards is not a number")
            for field in (b"Max-Forwards: -1", b"Max-Forwards: 1\r\nMax-Forwards: 1", b"Max-Forwards: " + b"9" * 5000)
        ),
        (b"GET http://h/ HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host: header"),
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400, "illegal header line"),
        (b"CONNECT example.org HTTP/1.1\r\nHost: h\r\n\r\n", 400, "CONNECT needs a port"),
        (b"CONNECT [::1] HTTP/1.1\r\nHost: h\r\n\r\n", 400, "CONNECT needs a port"),
        (b"CONNECT h:https HTTP/1.1\r\nHost: h\r\n\r\n", 400, "'https' is not a port"),
        (b"CONNECT http://h:80/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "'http://h' is not a host name"),
        (b"CONNECT :80 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "'' is not a host name"),
        (b"hello\r\n\r\n", 400, "illegal request line"),
        (b"\x16\x03\x01", 400, "illegal request line"),
        (b"\x05\x01\x00", 400, "illegal request line"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0 is not spoken here"),
        (b"GET http://h/ HTTP/1.1\r\nX: " + b"x" * HEAD_LIMIT, 431, "a head of more than 65536 bytes"),
    ],
)
@pytest.mark.parametrize("login", [None, LOGIN])
def test_what_is_no_request_to_a_proxy_is_refused(request_: bytes, status: int, why: str, login: Login | None) -> None:
    assert asked(request_, login) == Outcome(said=[error_page(status, why)], refusal=why)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"", "it ended the connection"),
        (b"\r\n", "it ended the connection"),
        (CONNECT[:-1], "it broke off in the middle of a message"),
    ],
)
def test_a_client_that_leaves_is_not_answered(request_: bytes, why: str) -> None:
    assert asked(request_) == Outcome(said=[], refusal=why)


# -- Authentication ----------------------------------------------------------------------------------------------


def with_credentials(request: bytes, credentials: str) -> bytes:
    return request[:-2] + b"Proxy-Authorization: " + credentials.encode() + b"\r\n\r\n"


def test_a_client_without_credentials_gets_challenges() -> None:
    outcome = asked(CONNECT, LOGIN)
    assert outcome.refusal == "it has to show who it is"
    response = b"".join(outcome.said)
    assert response.startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
    challenges = hold(connect("example.org", 443), [response]).result
    assert [each.partition(" ")[0] for each in challenges] == ["Digest", "Digest", "Basic"]
    assert all("stale" not in each for each in challenges)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_client_that_answers_any_of_our_challenges_is_served(first: int) -> None:
    response = asked(CONNECT, LOGIN).said[0]
    challenges = hold(connect("example.org", 443), [response]).result
    credentials = answer_to(challenges[first : first + 1], LOGIN, "CONNECT", "example.org:443", "c")
    request = hold(connect("example.org", 443, credentials), []).said[0]
    assert asked(request + BODY, LOGIN) == Outcome(
        said=[], result=ConnectRequest(host="example.org", port=443), rest=BODY
    )
    assert asked(request, ("Jäsøn", "another")).refusal == "a wrong user or password"


@pytest.mark.parametrize("uri", ["http://h:81/x?y", "/x?y", "/other"])
def test_the_credentials_of_a_plain_request_hold_its_uri_or_its_path(uri: str) -> None:
    request = message(b"GET http://h:81/x?y HTTP/1.1", b"Host: h:81")
    challenge = f'Digest realm="pync", nonce="{Nonces(SECRET).make(NOW)}", qop="auth"'
    credentials = answer_to([challenge], LOGIN, "GET", uri, "c") or ""
    outcome = asked(with_credentials(request, credentials), LOGIN)
    assert (outcome.refusal is None) == (uri != "/other")
    if outcome.result:
        assert b"Proxy-Authorization" not in outcome.result.head


def test_a_client_with_the_password_but_an_old_nonce_learns_which_is_wrong() -> None:
    challenge = f'Digest realm="pync", nonce="{Nonces(SECRET).make(NOW - NONCE_LIFE)}", qop="auth"'
    credentials = answer_to([challenge], LOGIN, "CONNECT", "example.org:443", "c") or ""
    outcome = asked(with_credentials(CONNECT, credentials), LOGIN)
    assert outcome.refusal == "it has to show who it is"
    assert outcome.said[0].count(b"stale=true") == 2


def test_credentials_are_ignored_where_none_are_needed() -> None:
    outcome = asked(with_credentials(CONNECT, basic(LOGIN)))
    assert outcome == Outcome(said=[], result=ConnectRequest(host="example.org", port=443))


# -- Replies -----------------------------------------------------------------------------------------------------


def test_a_tunnel_gets_a_reply_and_a_plain_request_the_response_of_its_target() -> None:
    assert success_reply(ConnectRequest(host="h", port=1)) == ESTABLISHED
    assert success_reply(ConnectRequest(host="h", port=1, head=b"GET / HTTP/1.1\r\n\r\n")) == b""


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("forbidden", "403 Forbidden"),
        ("refused", "502 Bad Gateway"),
        ("no network", "502 Bad Gateway"),
        ("no host", "502 Bad Gateway"),
        ("failed", "502 Bad Gateway"),
        ("timed out", "504 Gateway Timeout"),
    ],
)
def test_our_client_knows_why_our_proxy_failed(trouble: FailureKind, words: str) -> None:
    page = failure_reply(trouble, "connection refused")
    assert hold(connect("h", 1), [page]).refusal == words
    assert page.endswith(f"\r\n\r\n{words}: connection refused\n".encode())


# -- The target's response ---------------------------------------------------------------------------------------


def final(head: bytes, rest: bytes = b"") -> Outcome:
    """The outcome for a response that is the last one, with this head in place of its own."""
    return Outcome(said=[], result=(head, True), rest=rest)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 200", b"HTTP/1.1 599 \xff"])
def test_a_response_states_that_it_is_the_only_one(line: bytes) -> None:
    fields = [b"Server: x y", b"Set-Cookie: a=b", b"Content-Length: 12", b"odd name: z", b"no colon"]
    response = message(line, b"Connection: Keep-Alive, Y", *fields, b"Keep-Alive: timeout=5", b"Y: 1", b"Upgrade: h2")
    outcome = every_way(answer, response + BODY)
    assert outcome == final(message(line, *fields, b"Connection: close"), rest=BODY)


def test_a_response_keeps_its_chunks() -> None:
    response = message(b"HTTP/1.1 200 OK", b"Content-Length: 3", b"Transfer-Encoding: chunked")
    expected = message(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"Connection: close")
    assert every_way(answer, response + BODY) == final(expected, rest=BODY)


def test_an_interim_response_is_not_the_last() -> None:
    last = message(b"HTTP/1.1 200 OK", b"Connection: close")
    first = message(b"HTTP/1.1 103 Early Hints", b"Link: </x>")
    outcome = every_way(answer, first + last)
    assert outcome == Outcome(said=[], result=(first, False), rest=last)
    assert every_way(answer, outcome.rest) == final(last)


def test_lines_that_end_carelessly_end_properly() -> None:
    response = b"HTTP/1.1 200 OK\nX: a\n b\r\nY: c\n\r\n"
    expected = message(b"HTTP/1.1 200 OK", b"X: a b", b"Y: c", b"Connection: close")
    assert every_way(answer, response) == final(expected)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"", "it ended the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP"),
        (b"HTTP/1.1\r\n\r\n", "it does not keep to HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n", "it does not keep to HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "it broke off in the middle of a message"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT, "a head of more than 65536 bytes"),
    ],
)
def test_what_is_no_response_is_refused(response: bytes, why: str) -> None:
    assert every_way(answer, response) == Outcome(said=[], refusal=why)


# -- Any bytes ---------------------------------------------------------------------------------------------------

WORDS = [b"GET", b" ", b"http://", b"h", b":80", b"/", b" HTTP/1.0", b" HTTP/1.1 200", b"\r\n", b"\n", b"\r\n\r\n"]
WORDS += [b"Connection:", b"Host: h", b"CONNECT", b"HTTP/1.1", b"Proxy-Authorization: Digest ", b"nonce=", b'"', b","]


@given(st.lists(st.binary(max_size=9) | st.sampled_from([*WORDS, CONNECT])), st.sampled_from([None, LOGIN]))
def test_any_bytes_in_any_split_have_one_outcome(parts: list[bytes], login: Login | None) -> None:
    whole = b"".join(parts)
    for pieces in ([whole], bytewise(whole)):
        assert hold(serve(login, Nonces(SECRET), NOW), pieces) == hold(serve(login, Nonces(SECRET), NOW), parts)
        assert hold(answer(), pieces) == hold(answer(), parts)
