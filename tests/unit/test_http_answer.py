"""The head of an HTTP answer, and the type of what follows it."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from typing import NamedTuple

import pytest
from harness import run
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.http_answer import content_type, error_page, response_has_body, response_head


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


def test_the_words_of_a_refusal_may_be_any_text() -> None:
    assert error_page(502, "a\udcffb").endswith(b"\r\n\r\n502 Bad Gateway: a\\udcffb\n")
