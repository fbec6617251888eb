"""Laws of HTTP requests. Every request is tried whole, byte by byte, in any other split, and with bytes after it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.http_head import HEAD_LIMIT
from pync.protocols.http_request import BadRequest, ChunkedBody, Head, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

GET = b"GET /page HTTP/1.1\r\nHost: example\r\n\r\n"


class Refusal(NamedTuple):
    """What a BadRequest holds."""

    why: str
    status: int


def parsed(parts: Iterable[bytes]) -> Head | Refusal | None:
    """What is made of these parts and the end-of-file after them."""
    request = Request()
    try:
        for part in parts:
            request.feed(part)
        request.end()
    except BadRequest as refusal:
        return Refusal(str(refusal), refusal.status)
    return request.head


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def every_way(data: bytes) -> Head | Refusal | None:
    """The one result of `data`: whole, byte by byte, and with more after it."""
    results = [parsed([data]), parsed(bytewise(data)), parsed([data + b"\x16\0after\r\n\r\n" * 9])]
    assert results[0] == results[1] == results[2]
    return results[0]


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (GET, Head(method="GET", target="/page", version="1.1")),
        (b"GET / HTTP/1.0\r\n\r\n", Head(method="GET", target="/", version="1.0")),
        (b"GET / HTTP/1.0\n\n", Head(method="GET", target="/", version="1.0")),
        (b"\r\n\r\n" + GET, Head(method="GET", target="/page", version="1.1")),
        (b"HEAD /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", Head(method="HEAD", target="/a?b=c", version="1.1")),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Head(method="OPTIONS", target="*", version="1.1")),
        (
            b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
            Head(method="POST", target="/hook", version="1.1"),
        ),
        (
            b"PUT /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            Head(method="PUT", target="/hook", version="1.1"),
        ),
    ],
)
def test_the_head_of_a_request_is_found(data: bytes, head: Head) -> None:
    assert every_way(data) == head


@pytest.mark.parametrize(
    ("data", "why", "status"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\r\n\r\n", "illegal request line", 400),
        (b" GET / HTTP/1.1\r\n\r\n", "illegal request line", 400),
        (b"hello\r\n\r\n", "illegal request line", 400),
        (b"GET / HTTP/1.1\r\n\r\n", "Missing mandatory Host: header", 400),
        (b"GET / HTTP/1.0\r\nno colon\r\n\r\n", "illegal header line", 400),
        (b"GET / HTTP/1.0\r\nContent-Length: many\r\n\r\n", "bad Content-Length", 400),
        (
            b"GET / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n",
            "Only Transfer-Encoding: chunked is supported",
            501,
        ),
        *(
            (b"POST / HTTP/1.0\r\nX: y\r\n" + fields + b"\r\n\r\nabc", "more than one Content-Length", 400)
            for fields in (
                b"Content-Length: 3, 3",
                b"content-length: 3,\r\n\t3",
                b"Content-Length: 3\nCONTENT-LENGTH:3",
            )
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 has no Transfer-Encoding",
            400,
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2.0 is not spoken here", 505),
        (b"CONNECT example:443 HTTP/1.1\r\nHost: example:443\r\n\r\n", "this is not a proxy", 405),
    ],
)
def test_what_is_no_request_is_refused_in_words(data: bytes, why: str, status: int) -> None:
    assert every_way(data) == Refusal(why, status)


def head_of_size(size: int) -> bytes:
    start = b"GET / HTTP/1.0\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_a_head_may_be_as_long_as_the_limit() -> None:
    assert every_way(head_of_size(HEAD_LIMIT)) == Head(method="GET", target="/", version="1.0")


def test_a_head_longer_than_the_limit_is_refused() -> None:
    assert every_way(head_of_size(HEAD_LIMIT + 1)) == Refusal("the request's head is longer than 65536 bytes", 431)


@given(st.integers(0, len(GET) - 1))
def test_a_request_that_breaks_off_is_not_the_same_as_none(length: int) -> None:
    expected = Refusal("the request broke off", 400) if length else None
    assert parsed([GET[:length]]) == parsed(bytewise(GET[:length])) == expected


def test_empty_lines_alone_are_no_request() -> None:
    assert parsed([b"\r\n", b"\n"]) is None


@given(st.lists(st.binary() | st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.0", b"\r\n", b"Host:", b"x", b"CONNECT"])))
def test_any_bytes_in_any_split_give_one_result(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert parsed(parts) == parsed([whole]) == parsed(bytewise(whole))


# -- Bodies ------------------------------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """What is made of a request and its body."""

    shown: bytes
    complete: bool
    why: str


def shown(parts: Iterable[bytes]) -> Shown:
    """What is shown of these parts, and how they end."""
    request, out = Request(), b""
    try:
        for part in parts:
            out += request.feed(part)
        request.end()
    except BadRequest as refusal:
        return Shown(out, request.complete, str(refusal))
    return Shown(out, request.complete, "")


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(places) if start < stop]


def chunked(parts: Iterable[bytes]) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


POST = b"POST / HTTP/1.1\r\nHost: example\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
bodies = st.lists(st.binary(max_size=100), max_size=5)
cuts = st.lists(st.integers(0, 1000), max_size=10)


@given(bodies, cuts)
def test_a_body_in_chunks_is_shown_without_them(parts: list[bytes], cuts: list[int]) -> None:
    data = CHUNKED + chunked(parts)
    expected = Shown(CHUNKED + b"".join(parts), complete=True, why="")
    assert shown(split(data, cuts)) == shown(split(data + GET, cuts)) == expected


@given(st.binary(max_size=300), cuts)
def test_a_body_ends_by_its_length(body: bytes, cuts: list[int]) -> None:
    data = POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    assert shown(split(data, cuts)) == shown(split(data + GET, cuts)) == Shown(data, complete=True, why="")


@given(bodies, st.integers(0, 1000), cuts)
def test_a_body_that_breaks_off_is_not_complete(parts: list[bytes], end: int, cuts: list[int]) -> None:
    body = chunked(parts)
    data = CHUNKED + body[: end % len(body)]
    result = shown(split(data, cuts))
    assert not result.complete
    assert result.why == f"the body broke off after {len(result.shown) - len(CHUNKED)} bytes"
    assert result == shown([data])


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"5\r\n", b"\r\n", b"0\r\n\r\n", b"hello"])), cuts)
def test_any_bytes_as_chunks_give_one_result_in_any_split(parts: list[bytes], cuts: list[int]) -> None:
    data = CHUNKED + b"".join(parts)
    whole, other = shown([data]), shown(split(data, cuts))
    assert (whole.complete, whole.why) == (other.complete, other.why)
    assert whole.why or whole.shown == other.shown  # before an error, more is shown of smaller parts


def test_trailers_after_the_last_chunk_are_limited() -> None:
    result = shown([CHUNKED + b"0\r\n", b"X: " + bytes(HEAD_LIMIT).replace(b"\0", b"x")])
    assert not result.complete and result.why


def test_a_body_that_looks_like_a_field_is_none() -> None:
    body = b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"
    data = POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    assert shown([data]) == Shown(data, complete=True, why="")


# -- A body that passes as it is -----------------------------------------------------------------------------------


def passed(parts: Iterable[bytes]) -> Shown:
    """What of these parts belongs to a body in chunks."""
    body, found = ChunkedBody(), b""
    try:
        for part in parts:
            found += body.feed(part)
    except BadRequest as refusal:
        return Shown(found, complete=body.complete, why=str(refusal))
    return Shown(found, complete=body.complete, why="")


@given(bodies, st.sampled_from([b"", b"X: y\r\n"]), st.binary() | st.just(GET), cuts)
def test_what_follows_a_body_in_chunks_does_not_pass(
    parts: list[bytes], trailer: bytes, after: bytes, cuts: list[int]
) -> None:
    body = chunked(parts)[:-2] + trailer + b"\r\n"
    assert passed(split(body + after, cuts)) == Shown(body, complete=True, why="")
    end = len(body) - 1
    assert passed(split(body[:end], cuts)) == Shown(body[:end], complete=False, why="")


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"5\r\n", b"\r\n", b"0\r\n\r\n", b"hello"])), cuts)
def test_the_end_of_any_chunks_is_the_same_in_any_split(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    whole, other = passed(split(data, [])), passed(split(data, cuts))
    assert (whole.complete, whole.why) == (other.complete, other.why)
    assert whole.why or whole.shown == other.shown


@pytest.mark.parametrize(
    ("fields", "body", "interim"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 4", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"Expect: 100-Continue\r\nTransfer-Encoding: chunked", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"Expect: 100-continue\r\nContent-Length: 4", b"bo", b""),
        (b"Expect: 100-continue\r\nContent-Length: 0", b"", b""),
        (b"Expect: 100-continue", b"", b""),
        (b"Content-Length: 4", b"", b""),
    ],
)
def test_a_client_is_asked_for_its_body_only_if_it_waits_for_that(fields: bytes, body: bytes, interim: bytes) -> None:
    request = Request()
    request.feed(POST + fields + b"\r\n\r\n" + body)
    assert request.go_ahead() == interim
    assert request.go_ahead() == b""


def test_the_fields_that_choose_a_part_are_in_the_head() -> None:
    fields = b'Range: bytes=1-\r\nIF-RANGE: "x"\r\nIf-None-Match: *\r\nif-modified-since: then\r\nRange: bytes=2-'
    head = parsed([b"GET / HTTP/1.0\r\n" + fields + b"\r\n\r\n"])
    assert head == Head(
        method="GET",
        target="/",
        version="1.0",
        range="bytes=1-",
        if_range='"x"',
        if_none_match="*",
        if_modified_since="then",
    )
