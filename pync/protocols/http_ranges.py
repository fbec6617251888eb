"""What of a page answers a request: all of it, one part (Range), or nothing because the client has it already.

Theory: RFC 9110, sections 13 and 14. A page whose length is known can be sent in parts, so that a client resumes a
download or seeks in a video. One that is a file has validators, too: an ETag, and the moment of its last change. By
them a client makes sure that a part still belongs to what it has (If-Range), or asks for the page only if it has
changed (If-None-Match, If-Modified-Since).

A request for several parts gets the whole page, which a server may always send (section 14.2). Must never fail: a field
that is not understood is ignored, as the RFC demands.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.protocols.http_answer import error_page, http_date, response_has_body, response_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.http_request import Head


class Page(Frozen):
    """What is known of the page that is served."""

    content_type: str
    length: int | None = None  # bytes
    etag: str | None = None  # a strong one, with its quotes
    modified: float | None = None  # seconds since the epoch


class Answer(Frozen):
    """The beginning of the response, and which bytes of the page follow it: from the first on, up to the second."""

    start: bytes
    part: tuple[int, int | None] | None


class Unsatisfiable(Exception):
    """The part that is asked for begins beyond the end of the page."""


def answer_to(head: Head, page: Page, now: float) -> Answer:
    """How a request for the page is answered; `now` is in seconds since the epoch."""
    fields = _fields(page)
    if head.method in ("GET", "HEAD") and _has_it(head, page):
        return Answer(
            start=response_head(status=304, content_type=None, length=None, now=now, fields=fields), part=None
        )
    try:
        part = _asked_part(head, page, now)
    except Unsatisfiable:
        where = ("Content-Range", f"bytes */{page.length}")
        why = f"the page has {page.length} bytes"
        return Answer(start=error_page(416, why, now, [where, *fields]), part=None)
    status, first, stop = 200, 0, page.length
    if part:
        status, (first, stop) = 206, part
        fields = [("Content-Range", f"bytes {first}-{stop - 1}/{page.length}"), *fields]
    length = None if stop is None else stop - first
    start = response_head(status=status, content_type=page.content_type, length=length, now=now, fields=fields)
    return Answer(start=start, part=(first, stop) if response_has_body(head.method) and length != 0 else None)


def _fields(page: Page) -> list[tuple[str, str]]:
    """What the head of every response about the page has."""
    fields = []
    if page.length is not None:
        fields.append(("Accept-Ranges", "bytes"))
    if page.etag:
        fields.append(("ETag", page.etag))
    if page.modified is not None:
        fields.append(("Last-Modified", http_date(page.modified)))
    return fields


def _has_it(head: Head, page: Page) -> bool:
    """Whether the client has the page as it is (RFC 9110, section 13.2.2)."""
    if head.if_none_match is not None:
        # This comparison is a weak one: a client or a cache may have made our ETag weak.
        tags = [tag.strip().removeprefix("W/") for tag in head.if_none_match.split(",")]
        return page.etag is not None and (page.etag in tags or tags == ["*"])
    if head.if_modified_since is None or page.modified is None:
        return False
    since = _moment(head.if_modified_since)
    return since is not None and int(page.modified) <= since


def _moment(text: str) -> float | None:
    """The seconds since the epoch of a date in HTTP; None if it is not one."""
    from email.utils import mktime_tz, parsedate_tz

    try:
        parts = parsedate_tz(text)
        return mktime_tz(parts) if parts else None
    except (ValueError, OverflowError):
        return None


def _asked_part(head: Head, page: Page, now: float) -> tuple[int, int] | None:
    """The part that the request asks for; None for the whole page. Raises Unsatisfiable."""
    if head.method != "GET" or head.range is None or page.length is None or not _still_valid(head, page, now):
        return None
    return part_of(head.range, page.length)


def _still_valid(head: Head, page: Page, now: float) -> bool:
    """Whether If-Range holds, if there is one: the comparison is a strong one (RFC 9110, section 13.1.5)."""
    if head.if_range is None:
        return True
    if head.if_range.startswith('"'):
        return head.if_range == page.etag
    # A date is a strong validator if nothing can have changed within its second (section 8.8.2.2).
    return page.modified is not None and now - page.modified >= 1 and head.if_range == http_date(page.modified)


def part_of(asked: str, length: int) -> tuple[int, int] | None:
    """The part of `length` bytes that a Range field asks for; None if it is no range of bytes, or several of them.

    Raises Unsatisfiable.
    """
    unit, _, rest = asked.partition("=")
    ranges = [item.strip() for item in rest.split(",") if item.strip()]
    if unit.strip().lower() != "bytes" or len(ranges) != 1:
        return None
    first, dash, last = ranges[0].partition("-")
    if not dash or not (first or last) or not all(text == "" or _is_number(text) for text in (first, last)):
        return None
    if not first:
        start, stop = max(0, length - _number(last, length)), length
    else:
        start, stop = _number(first, length), min(length, _number(last, length) + 1) if last else length
        if last and _longer(first, last):
            return None
    if start >= length:
        raise Unsatisfiable
    return start, stop


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _longer(first: str, last: str) -> bool:
    """Whether the first number is greater than the last. They may have more digits than Python converts."""
    first, last = first.lstrip("0"), last.lstrip("0")
    return (len(first), first) > (len(last), last)


def _number(text: str, most: int) -> int:
    """The number, or `most` if it has more digits than that, and so is greater."""
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= len(str(most)) else most
