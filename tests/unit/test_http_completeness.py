"""Whether an answer of HTTP/1 is whole by its own length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.http_completeness import HttpAnswer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

WHOLE = [
    (GET, SIZED),
    (GET, CHUNKED),
    (GET, EMPTY),
    (b"GET / HTTP/1.0\n\n", SIZED),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", HEAD_ONLY),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", CONTINUE + SIZED),
    (GET + GET, SIZED + CHUNKED),
]


def answered(requests: bytes, *pieces: bytes) -> bool:
    answer = HttpAnswer(requests)
    assert b"".join(map(answer.feed, pieces)) == b"".join(pieces), "every byte passes"
    assert answer.flush() == b""
    return answer.complete


@pytest.mark.parametrize(("requests", "answers"), WHOLE)
@given(cuts=st.sets(st.integers(1, 200)))
def test_whole_answers_are_complete_however_they_come_and_any_part_is_not(
    requests: bytes, answers: bytes, cuts: set[int]
) -> None:
    marks = [0, *sorted(cut for cut in cuts if cut < len(answers)), len(answers)]
    pieces = [answers[start:end] for start, end in zip(marks, marks[1:], strict=False)]
    assert answered(requests, *pieces)
    assert not answered(requests, *pieces[:-1])
    assert not answered(requests, *pieces, b"x"), "what follows belongs to no answer"


@pytest.mark.parametrize(
    ("requests", "answers"),
    [
        (GET, b"HTTP/1.1 200 OK\r\n\r\nas long as the connection lasts"),
        (GET + GET, SIZED),
        (GET, CONTINUE),
        (GET, b"no HTTP at all\r\n\r\n"),
        (GET, SIZED + SIZED),
        (GET[:-2], SIZED),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nok", SIZED),
        (b"what\r\n\r\n", SIZED),
        (b"", SIZED),
    ],
)
def test_nothing_else_is(requests: bytes, answers: bytes) -> None:
    assert not answered(requests, answers)
