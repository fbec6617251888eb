"""Which part of a page answers a request, and with which status (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.protocols.http_ranges import Page, Unsatisfiable, answer_to, part_of
from pync.protocols.http_request import Head

MODIFIED = 784111777.5  # Sun, 06 Nov 1994 08:49:37 GMT
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
PAGE = Page(content_type="text/plain", length=100, etag='"tag"', modified=MODIFIED)
NOW = MODIFIED + 1000
WHOLE = (0, 100)


def asked(method: str = "GET", **fields: Any) -> Head:
    return Head(method=method, target="/", version="1.1", **fields)


def status(start: bytes) -> int:
    return int(start.split()[1])


def fields(start: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in start.decode().split("\r\n\r\n")[0].split("\r\n")[1:])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=90-200", (90, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-200", (0, 100)),
        ("Bytes = 5-6 ", (5, 7)),
        ("bytes=,5-6 , ,", (5, 7)),
        ("bytes=05-006", (5, 7)),
        (f"bytes=0-{'9' * 10_000}", (0, 100)),
        (f"bytes=-{'9' * 10_000}", (0, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=6-5", None),
        (f"bytes={'9' * 10_000}-5", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5", None),
        ("bytes=a-b", None),
        ("bytes=+5-6", None),
        ("bytes=1_0-", None),
        ("bytes=\u0661-", None),
        ("lines=5-6", None),
        ("5-6", None),
    ],
)
def test_a_range_is_one_part_or_none(text: str, part: tuple[int, int] | None) -> None:
    assert part_of(text, 100) == part


@pytest.mark.parametrize(
    ("text", "length"),
    [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-", 0), (f"bytes={'9' * 10_000}-", 100)],
)
def test_a_range_beyond_the_end_cannot_be_satisfied(text: str, length: int) -> None:
    with pytest.raises(Unsatisfiable):
        part_of(text, length)


@given(st.text() | st.from_regex(r"bytes=[0-9]{0,5}-?[0-9]{0,5},?", fullmatch=True), st.integers(0, 10**5))
def test_a_part_is_within_the_page_and_never_empty(text: str, length: int) -> None:
    try:
        part = part_of(text, length)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= length


@given(st.integers(0, 99), st.integers(0, 99))
def test_a_part_has_what_a_slice_has(first: int, last: int) -> None:
    expected = (first, last + 1) if first <= last else None
    assert part_of(f"bytes={first}-{last}", 100) == expected


def test_a_part_is_206_with_its_place() -> None:
    answer = answer_to(asked(range="bytes=10-19"), PAGE, NOW)
    assert (status(answer.start), answer.part) == (206, (10, 20))
    head = fields(answer.start)
    assert (head["Content-Range"], head["Content-Length"], head["ETag"]) == ("bytes 10-19/100", "10", '"tag"')


def test_a_range_that_cannot_be_satisfied_is_416_with_the_length() -> None:
    answer = answer_to(asked(range="bytes=100-"), PAGE, NOW)
    assert (status(answer.start), answer.part) == (416, None)
    assert fields(answer.start)["Content-Range"] == "bytes */100"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
def test_only_get_has_ranges(method: str) -> None:
    answer = answer_to(asked(method, range="bytes=10-19"), PAGE, NOW)
    assert (status(answer.start), fields(answer.start)["Content-Length"]) == (200, "100")
    assert answer.part == (None if method == "HEAD" else WHOLE)


def test_a_page_without_a_length_has_no_ranges() -> None:
    answer = answer_to(asked(range="bytes=10-19"), Page(content_type="text/plain"), NOW)
    assert (status(answer.start), answer.part) == (200, (0, None))
    assert not {"Accept-Ranges", "Content-Length", "ETag", "Last-Modified"} & fields(answer.start).keys()


def test_an_empty_page_has_no_part() -> None:
    answer = answer_to(asked(), Page(content_type="text/plain", length=0), NOW)
    assert (status(answer.start), fields(answer.start)["Content-Length"], answer.part) == (200, "0", None)


def test_a_whole_page_says_that_it_has_ranges_and_which_one_it_is() -> None:
    head = fields(answer_to(asked(), PAGE, NOW).start)
    assert (head["Accept-Ranges"], head["ETag"], head["Last-Modified"]) == ("bytes", '"tag"', DATE)


@pytest.mark.parametrize(
    ("validator", "now", "valid"),
    [
        ('"tag"', NOW, True),
        ('"other"', NOW, False),
        ('W/"tag"', NOW, False),
        ("tag", NOW, False),
        (DATE, NOW, True),
        (DATE, MODIFIED + 0.9, False),
        ("Sun, 06 Nov 1994 08:49:36 GMT", NOW, False),
        ("Sun, 06 Nov 1994 08:49:38 GMT", NOW, False),
        ("", NOW, False),
    ],
)
def test_if_range_is_compared_strongly(validator: str, now: float, valid: bool) -> None:
    answer = answer_to(asked(range="bytes=10-19", if_range=validator), PAGE, now)
    assert (status(answer.start), answer.part) == ((206, (10, 20)) if valid else (200, WHOLE))


@pytest.mark.parametrize(
    ("conditions", "has_it"),
    [
        ({"if_none_match": '"tag"'}, True),
        ({"if_none_match": 'W/"tag"'}, True),
        ({"if_none_match": '"a", "tag"'}, True),
        ({"if_none_match": "*"}, True),
        ({"if_none_match": '"other"'}, False),
        ({"if_modified_since": DATE}, True),
        ({"if_modified_since": "Sunday, 06-Nov-94 08:49:37 GMT"}, True),
        ({"if_modified_since": "Sun Nov  6 08:49:37 1994"}, True),
        ({"if_modified_since": "Sun, 06 Nov 1994 08:49:36 GMT"}, False),
        ({"if_modified_since": "yesterday"}, False),
        ({"if_modified_since": "Sun, 99 Nov 99999999999 08:49:37 GMT"}, False),
        ({"if_none_match": '"other"', "if_modified_since": DATE}, False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_client_that_has_the_page_gets_304(conditions: dict[str, str], has_it: bool, method: str) -> None:
    answer = answer_to(asked(method, **conditions), PAGE, NOW)
    unchanged = has_it and method != "POST"
    assert status(answer.start) == (304 if unchanged else 200)
    if unchanged:
        assert answer.part is None
        assert fields(answer.start)["ETag"] == '"tag"'
        assert not {"Content-Length", "Content-Type"} & fields(answer.start).keys()


def test_a_page_without_validators_is_always_sent() -> None:
    page = Page(content_type="text/plain", length=3)
    for conditions in ({"if_none_match": '"tag"'}, {"if_modified_since": DATE}):
        assert status(answer_to(asked(**conditions), page, NOW).start) == 200


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_field_of_a_client_is_a_failure(one: str, other: str) -> None:
    for names in (("range", "if_range"), ("if_none_match", "if_modified_since")):
        answer = answer_to(asked(**dict(zip(names, (one, other), strict=True))), PAGE, NOW)
        assert status(answer.start) in (200, 206, 304, 416)
