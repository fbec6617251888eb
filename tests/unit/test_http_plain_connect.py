"""Laws of CONNECT by HTTP/1.0: what is sent, byte by byte, and what is taken for an answer, whatever pieces it has."""

from __future__ import annotations

import pytest
from dialogues import Outcome, every_way, hold
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.dialogue import Refused
from pync.protocols.http_plain_connect import LINES, TooMuch, UnfitHost, connect

REQUEST = b"CONNECT example.org:80 HTTP/1.0\r\n\r\n"
EARLY = b"\0early\xff\r\n"
LONG = b"HTTP/1.0 200 " + b"x" * 1024


@pytest.mark.parametrize(
    ("host", "login", "sent"),
    [
        ("example.org", None, REQUEST),
        ("::1", None, b"CONNECT [::1]:80 HTTP/1.0\r\n\r\n"),
        (
            "h",
            ("Aladdin", "open sesame"),  # RFC 7617, section 2
            b"CONNECT h:80 HTTP/1.0\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
        ),
    ],
)
def test_the_request_has_no_field_but_the_credentials(host: str, login: tuple[str, str] | None, sent: bytes) -> None:
    assert every_way(lambda: connect(host, 80, login), b"HTTP/1.0 200 OK\r\n\r\n" + EARLY) == Outcome(
        [sent], rest=EARLY
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (LINES - 1) + b"\r\n",
    ],
)
def test_200_and_an_empty_line_grant_it(answer: bytes) -> None:
    assert every_way(lambda: connect("example.org", 80), answer + EARLY) == Outcome([REQUEST], rest=EARLY)


@pytest.mark.parametrize("line", ["HTTP/1.0 403 Forbidden", "HTTP/1.1 204 No", "HTTP/2 200 OK", "garbage", ""])
def test_any_other_status_line_is_the_answer_of_the_refusal(line: str) -> None:
    dialogue = connect("example.org", 80)
    next(dialogue)
    next(dialogue)
    with pytest.raises(Refused) as refused:
        dialogue.send(line.encode() + b"\r\n\r\n")
    assert refused.value.answer == line


@pytest.mark.parametrize(
    ("answer", "lines"),
    [(LONG, False), (LONG + b"\n", False), (b"HTTP/1.0 200 OK\r\n" + b"A: b\r\n" * LINES + b"\r\n", True)],
)
def test_an_endless_answer_is_refused(answer: bytes, lines: bool) -> None:
    dialogue = connect("example.org", 80)
    next(dialogue)
    next(dialogue)
    with pytest.raises(TooMuch) as refused:
        dialogue.send(answer)
    assert refused.value.lines == lines


@given(st.binary(max_size=40), st.lists(st.binary(max_size=30)))
def test_whatever_comes_the_dialogue_ends_as_a_dialogue(start: bytes, parts: list[bytes]) -> None:
    outcome = hold(connect("example.org", 80), [start, *parts])
    assert outcome.said == [REQUEST]


@pytest.mark.parametrize("host", ["a b", "a\r\nb", "[x", "", "a\tb"])
def test_a_host_that_would_be_more_than_a_host_is_not_sent(host: str) -> None:
    with pytest.raises(UnfitHost):
        next(connect(host, 80))
