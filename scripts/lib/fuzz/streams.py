"""Targets: the bytes of a conversation: HTTP requests and answers, telnet, sizes of windows, the lines of a chat."""

import h11

from fuzz import Target, pieces
from pync.protocols import http_request
from pync.protocols.http_completeness import HttpAnswer
from pync.protocols.http_ranges import Page, answer_to
from pync.protocols.http_request import BadRequest, Request
from pync.stages import chat_lines
from pync.stages.chat_lines import ChatLines
from pync.stages.crlf import Crlf
from pync.stages.telnet import Telnet, TelnetEscape
from pync.stages.window_size import WindowSizes, escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.stages import Stage

HEAD_LIMIT = 400  # bytes; many inputs are longer
LINE_LIMIT = 16  # likewise
PREFIX = "<user1> "
PAGES = (
    Page(content_type="text/plain"),
    Page(content_type="text/plain", length=0),
    Page(content_type="text/plain", length=1000, etag='"tag"', modified=1_000_000_000.5),
)
NOW = 1_700_000_000.0

vars(http_request)["HEAD_LIMIT"] = HEAD_LIMIT
chat_lines.LINE_LIMIT = LINE_LIMIT


def http_requests(data: bytes) -> None:
    """A client of `--http`."""
    choice, whole, parts = pieces(data)
    request, shown, error = _read([whole] if whole else [])
    again, shown_again, error_again = _read(parts)
    assert (again.head, again.complete, error_again) == (request.head, request.complete, error)
    # What is shown of a request that breaks a rule later depends on how much of it has come before.
    assert error or shown_again == shown, (shown_again, shown)
    if request.head and not error:
        _check_answer(request, PAGES[choice % len(PAGES)])


def _read(parts: list[bytes]) -> tuple[Request, bytes, str | None]:
    request, shown = Request(), []
    try:
        for part in parts:
            shown.append(request.feed(part))
            if request.head:
                request.go_ahead()
        request.end()
    except BadRequest as error:
        return request, b"".join(shown), str(error)
    return request, b"".join(shown), None


def _check_answer(request: Request, page: Page) -> None:
    assert request.head
    answer = answer_to(request.head, page, NOW)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=request.head.method, target="/", headers=[("Host", "a")]))
    client.receive_data(answer.start)
    assert isinstance(client.next_event(), h11.Response), answer
    if answer.part:
        first, stop = answer.part
        assert first >= 0 and (stop is None or page.length is not None and first < stop <= page.length), answer


def http_answers(data: bytes) -> None:
    """The answers to some requests, which are divided from them by a NUL."""
    _, whole, _ = pieces(data)
    requests, _, answers = whole.partition(b"\0")
    _, _, parts = pieces(data[:1] + answers)
    once, split = HttpAnswer(requests), HttpAnswer(requests)
    assert once.feed(answers) == answers
    assert b"".join(map(split.feed, parts)) == answers
    assert not answers or once.complete == split.complete


def telnet(data: bytes) -> None:
    """A TELNET peer, and our own data on the way to one."""
    _, whole, parts = pieces(data)
    once, split = Telnet(), Telnet()
    assert _through(once, [whole]) == _through(split, parts)
    assert once.take_refusals() == split.take_refusals()
    escaped = _through(TelnetEscape(), parts)
    if b"\r" not in whole:
        assert _through(Telnet(), [escaped]) == whole
    assert _through(Crlf(), [whole]) == _through(Crlf(), parts)


def window_sizes(data: bytes) -> None:
    """A peer that sends the size of its window, and what is typed here on the way to one that expects a size."""
    _, whole, parts = pieces(data)
    sizes: list[tuple[int, int]] = []
    out = _through(WindowSizes(lambda *size: sizes.append(size)), [whole])
    again: list[tuple[int, int]] = []
    assert _through(WindowSizes(lambda *size: again.append(size)), parts) == out
    assert again == sizes and all(1 <= length <= 65535 for size in sizes for length in size)
    assert _through(WindowSizes(lambda *_: None), list(map(escaped, parts))) == whole
    assert sizes or b"\xff\xfa\x1f" in whole or out == whole.replace(b"\xff\xff", b"\xff")


def chat(data: bytes) -> None:
    """A client of a chat."""
    _, whole, parts = pieces(data)
    shown = _through(ChatLines(PREFIX), [whole])
    assert _through(ChatLines(PREFIX), parts) == shown
    text = shown.decode()
    assert (not text or text.endswith("\n")) and bool(text) == bool(whole)
    for line in text.split("\n")[:-1]:
        assert line.startswith(PREFIX), line
        said = line.removeprefix(PREFIX)
        assert len(said) <= 4 * LINE_LIMIT, line
        assert chat_lines.printable_line(said) == said, line
    if whole.replace(b"\n", b"").isalnum() and max(map(len, whole.split(b"\n"))) <= LINE_LIMIT:
        assert text.replace(PREFIX, "").rstrip("\n") == whole.decode().rstrip("\n") or b"\n" in whole


def _through(stage: "Stage", parts: list[bytes]) -> bytes:
    return b"".join([*map(stage.feed, parts), stage.flush()])


TARGETS = {
    "http": Target(
        http_requests,
        [
            b'\0GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-5\r\nIf-Range: "tag"\r\n\r\n',
            b"\2GET /x HTTP/1.0\r\nRange: bytes=-5\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n",
            b'\2HEAD / HTTP/1.1\nHost: a\nIf-None-Match: W/"tag", *\n\n',
            b"\0POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
            b"\0PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\nGET",
            b"\0\r\n\r\nDELETE * HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        ],
    ),
    "http_answers": Target(
        http_answers,
        [
            b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n\0HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            b"\0HEAD / HTTP/1.1\nHost: a\n\nPOST / HTTP/1.1\nHost: a\nContent-Length: 1\n\nx"
            b"\0HTTP/1.1 200 OK\nContent-Length: 3\n\nHTTP/1.1 204 No\n\n",
            b"\0GET / HTTP/1.0\r\n\r\n\0HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\n\r\n",
        ],
    ),
    "telnet": Target(
        telnet,
        [
            b"\0login: \xff\xfd\x18\xff\xfb\x01\xff\xfa\x18\1\xff\xff\xff\xf0user\xff\xff\xff\xf9\r\nx\r\0y\rz\r",
            b"\0\xff\xfe\1\xff\xfc\1\xff\xfa\1",
        ],
    ),
    "window_sizes": Target(
        window_sizes,
        [
            b"\0ls\r\xff\xfa\x1f\0\x50\0\x18\xff\xf0\x1b[A\xff\xffx",
            b"\0\xff\xfa\x1f\0\xff\xff\xff\xff\1\xff\xf0\xff\xfa\x1f\0\0\0\0\xff\xf0\xff\xfa\x1f\0\1\xff",
        ],
    ),
    "chat": Target(
        chat,
        [
            b"\0hello\nworld\r\nlast",
            "\0grüße 🦊 \u202e\u2066\u2028 \x9b\n".encode(),
            b"\0\x1b[31m\xff\xc3\n" + b"a" * 17 + b"\r\n" + "€".encode() * 12 + b"\r",
        ],
    ),
}
