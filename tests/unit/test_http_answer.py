"""Laws of answering HTTP requests. Every request is tried whole, byte by byte, and with bytes after it."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from harness import run
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.http_answer import (
    BadRequest,
    Head,
    Request,
    content_type,
    error_page,
    response_has_body,
    response_head,
)
from pync.protocols.http_head import HEAD_LIMIT

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


class Received(NamedTuple):
    """What the standard library's client makes of a response."""

    response: http.client.HTTPResponse
    body: bytes


def received(data: bytes) -> Received:
    ours, far = socket.socketpair()
    with ours, far:
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(ours)
        response.begin()
        return Received(response, response.read())


def test_a_response_of_unknown_length_ends_with_the_connection() -> None:
    head = response_head(content_type="text/html", length=None)
    assert head == b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    response, body = received(head + b"<p>page")
    assert (response.status, response.reason) == (200, "OK")
    assert response.will_close
    assert body == b"<p>page"


def test_a_response_of_known_length_has_it_in_its_head() -> None:
    head = response_head(content_type="text/html", length=4)
    response, body = received(head + b"page")
    assert response.getheader("Content-Length") == "4"
    assert response.getheader("Connection") == "close"
    assert body == b"page"


def test_the_date_is_the_one_given() -> None:
    response, _ = received(response_head(content_type="text/html", length=0, now=784111777.9))
    assert response.getheader("Date") == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_only_the_response_to_head_has_no_body() -> None:
    assert [response_has_body(method) for method in ("GET", "POST", "OPTIONS", "HEAD")] == [True, True, True, False]


@pytest.mark.parametrize("status", [400, 405, 431, 501, 505])
def test_a_refusal_is_one_whole_response(status: int) -> None:
    response, body = received(error_page(status, "some reason", now=0))
    assert response.status == status
    assert body == f"{status} {response.reason}: some reason\n".encode()
    assert response.getheader("Content-Length") == str(len(body))
    assert (response.getheader("Allow") is not None) == (status == 405)


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("page.html", b"", "text/html; charset=utf-8"),
        ("dir.d/PAGE.HTML", "grüß".encode(), "text/html; charset=utf-8"),
        ("page.html", "grüß".encode("latin-1"), "text/html"),
        ("style.css", b"a{}", "text/css; charset=utf-8"),
        ("data.json", b"[section]", "application/json"),
        ("page.html.gz", b"<html>", "application/gzip"),
        ("backup.tgz", b"", "application/gzip"),
        ("page.html.bz2", b"", "application/x-bzip2"),
        ("no-ending", b"<html>", "text/html; charset=utf-8"),
        ("html", b"hello", "text/plain; charset=utf-8"),
        ("what.unheard-of", b"hello", "text/plain; charset=utf-8"),
    ],
)
def test_the_type_of_a_file_follows_from_its_name_if_that_is_known(name: str, start: bytes, expected: str) -> None:
    assert content_type(name, start) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"GIF87a", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7", "application/pdf"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"<svg xmlns='x'>", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- a --><!DOCTYPE svg><svg>", "image/svg+xml"),
        (b"<?xml version='1.0'?><feed><svg>", "application/xml"),
        (b"<!DOCTYPE html>", "text/html; charset=utf-8"),
        (b"\xef\xbb\xbf \n<!-- a --> <!-- b -->\n<HTML lang=de>", "text/html; charset=utf-8"),
        (b"<h1>hello</h1>", "text/html; charset=utf-8"),
        (b"<h1>gr\xfc\xdf", "text/html"),
        (b"<body\n class=x>", "text/html; charset=utf-8"),
        (b"<!-- never closed", "text/plain; charset=utf-8"),
        (b"<header file.h>", "text/plain; charset=utf-8"),
        (b' {"a": [1, 2]}\n', "application/json"),
        (b"[]", "application/json"),
        (b"[section]\nkey=value", "text/plain; charset=utf-8"),
        (b"[" * 100000, "text/plain; charset=utf-8"),
        (b'{"cut": "gr\xc3', "text/plain; charset=utf-8"),
        ("grüß\t\x1b[1mbold".encode(), "text/plain; charset=utf-8"),
        ("grüß".encode()[:3], "text/plain; charset=utf-8"),
        (b"", "text/plain; charset=utf-8"),
        (b"\0\1\2", "application/octet-stream"),
        (b"\xfcber", "application/octet-stream"),
    ],
)
def test_otherwise_the_type_follows_from_the_content(start: bytes, expected: str) -> None:
    assert content_type(None, start) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])), st.integers(0, 3))
def test_text_cut_within_a_character_is_still_text(text: str, cut: int) -> None:
    data = ("word " + text + "\N{SNOWMAN}\N{GRINNING FACE}").encode()
    assert content_type(None, data[: len(data) - cut]) == "text/plain; charset=utf-8"


@given(st.lists(st.integers()) | st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_whole_json_is_known_as_such(value: object) -> None:
    assert content_type(None, json.dumps(value).encode()) == "application/json"


@given(st.text(max_size=10) | st.none(), st.binary())
def test_there_is_always_a_type_fit_for_a_header(name: str | None, start: bytes) -> None:
    assert response_head(content_type=content_type(name, start), length=None)


def test_importing_the_module_imports_nothing_heavy() -> None:
    probe = "import sys; sys.path.insert(0, '.'); before = set(sys.modules); import pync.protocols.http_answer; "
    probe += "print(*sorted(name for name in set(sys.modules) - before if not name.startswith(('pync', '__future__'))))"
    result = run([sys.executable, "-I", "-c", probe])
    assert (result.status, result.out) == (0, b"\n")
