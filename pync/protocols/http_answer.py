"""Just enough HTTP to answer a request with what is on stdin: `pync -l --http 8080 < page.html`.

Theory: one request, one response, and the connection ends. h11 parses and writes HTTP. This module only reads along
until the head of the request is known, and then makes the head of a response. The body needs no framing: after
`Connection: close` it ends where the connection does (RFC 9112, section 6.3), so the relay can send it as fast as the
kernel copies.

The page is the response to every method, because people also use a netcat to catch what a webhook posts. There are two
exceptions: HEAD gets no body, and CONNECT is refused, because a 200 to it would mean that a tunnel is open. A request
with `Expect: 100-continue` gets its final response and no other (RFC 9110, section 10.1.1).

Must never consume the body of a request, for the relay shows it. Must never import h11 at its top: most runs of pync
speak no HTTP. The caller gives the date, for there is no clock here.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.protocols.http_head import HEAD_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    import h11

_MEDIA_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b", "application/gzip"),
    (b"PK\x03\x04", "application/zip"),
)
# The tags that a page is likely to begin with (WHATWG MIME Sniffing, section 7.1).
_HTML_TAGS = b"<html <head <body <title <script <style <h1 <p <div <table <a <b <br".split()
# The bytes that no text contains (WHATWG MIME Sniffing, section 3).
_BINARY_BYTES = bytes((*range(0x00, 0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)))


class BadRequest(ValueError):
    """What was received is not a request that is served: why, in words, and the status of the response."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Head(Frozen):
    """The request line of a request."""

    method: str
    target: str
    version: str  # "1.0" or "1.1"


class Request:
    """Reads along with what the client sends, until `head` is known."""

    def __init__(self) -> None:
        import h11

        self.head: Head | None = None
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._room = HEAD_LIMIT  # bytes that the head may still have

    def feed(self, data: bytes) -> None:
        """Read what was received; what follows the head is ignored. Raises BadRequest, and must not be fed after it."""
        if self.head or not (data := self._without_blank_lines(data)):
            return
        taken = data[: self._room]
        self._room -= len(taken)
        self._parser.receive_data(taken)
        if request := next_request(self._parser):
            self.head = _accepted(request)
        elif not self._room:
            raise BadRequest(f"the request's head is longer than {HEAD_LIMIT} bytes", 431)

    def end(self) -> None:
        """Take note of the end-of-file. Raises BadRequest within a request; without any input `head` stays None."""
        if not self.head and self._room < HEAD_LIMIT:
            raise BadRequest("the request broke off")

    def _without_blank_lines(self, data: bytes) -> bytes:
        """The data without empty lines before the request, which are ignored (RFC 9112, section 2.2)."""
        return data.lstrip(b"\r\n") if self._room == HEAD_LIMIT else data


def next_request(parser: h11.Connection) -> h11.Request | None:
    """The request whose head the parser has received; None if it needs more. Raises BadRequest."""
    import h11

    try:
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        # h11 ends some of its messages with the offending line as a Python literal, which is not for people.
        raise BadRequest(str(error).partition(": bytearray")[0], error.error_status_hint) from None
    if not isinstance(event, h11.Request):
        return None
    if not event.http_version.startswith(b"1."):
        raise BadRequest(f"HTTP/{event.http_version.decode()} is not spoken here", 505)
    return event


def _accepted(request: h11.Request) -> Head:
    head = Head(method=request.method.decode(), target=request.target.decode(), version=request.http_version.decode())
    if head.method == "CONNECT":
        raise BadRequest("this is not a proxy", 405)
    return head


def response_has_body(method: str) -> bool:
    """Whether the response to this method has a body (RFC 9110, section 9.3.2)."""
    return method != "HEAD"


def response_head(
    *,
    status: int = 200,
    content_type: str,
    length: int | None,
    now: float | None = None,
    challenges: Iterable[str] = (),
) -> bytes:
    """The head of a response; `length` is that of its body in bytes, if it is known, and `now` seconds since the epoch.

    `challenges` are those of a proxy's 407 (RFC 9110, section 15.5.8).
    """
    from http import HTTPStatus

    import h11

    headers = [("Content-Type", content_type), ("Connection", "close")]
    headers += [("Proxy-Authenticate", challenge) for challenge in challenges]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    if now is not None:
        from email.utils import formatdate

        headers.append(("Date", formatdate(now, usegmt=True)))
    # RFC 9110, section 15.5.6: this status requires the list of the methods that are allowed.
    if status == 405:
        headers.append(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    response = h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=headers)
    # The parser of the request would add chunks if the request allows them. One that has seen no request does not.
    return h11.Connection(h11.SERVER).send(response) or b""


def error_page(status: int, why: str, now: float | None = None, challenges: Iterable[str] = ()) -> bytes:
    """A whole small response that refuses a request, with the status and the words of a BadRequest."""
    from http import HTTPStatus

    body = f"{status} {HTTPStatus(status).phrase}: {why}\n".encode()
    kind = "text/plain; charset=utf-8"
    return response_head(status=status, content_type=kind, length=len(body), now=now, challenges=challenges) + body


def content_type(name: str | None, start: bytes) -> str:
    """The media type of a file, by its `name` if that is enough, and otherwise by the `start` of its content."""
    kind = (name and _by_name(name)) or _by_content(start)
    return f"{kind}; charset=utf-8" if kind.startswith("text/") and _is_utf8(start) else kind


def _by_name(name: str) -> str | None:
    # Only the tables of mimetypes are used. Its functions read files of the system first, and they take a compressed
    # file for an encoding of its content. That would be right only with a Content-Encoding, which is not sent here.
    import mimetypes
    from posixpath import splitext

    ending = splitext(name)[1].lower()
    ending = splitext(mimetypes.suffix_map.get(ending, ending))[1] or ending
    packing = mimetypes.encodings_map.get(ending)
    if packing:
        return f"application/{packing}" if packing in ("gzip", "zstd") else f"application/x-{packing}"
    return mimetypes.types_map.get(ending)


def _by_content(start: bytes) -> str:
    for signature, kind in _MEDIA_SIGNATURES:
        if start.startswith(signature):
            return kind
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if markup := _markup(start):
        return markup
    if _is_json(start):
        return "application/json"
    text = _is_utf8(start) and start.translate(None, _BINARY_BYTES) == start
    return "text/plain" if text else "application/octet-stream"


def _markup(start: bytes) -> str | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    is_xml = text.startswith(b"<?xml")
    while text.startswith((b"<?xml", b"<!--")):
        text = text.partition(b"?>" if text.startswith(b"<?") else b"-->")[2].lstrip()
    if text.startswith((b"<svg", b"<!doctype svg")):
        return "image/svg+xml"
    if is_xml:
        return "application/xml"
    tag = text.partition(b">")[0].split(maxsplit=1)
    return "text/html" if text.startswith(b"<!doctype html") or tag and tag[0] in _HTML_TAGS else None


def _is_json(start: bytes) -> bool:
    """Whether it is a whole object or list, for the beginning of one could as well be an INI file."""
    if not start.lstrip().startswith((b"{", b"[")):
        return False
    import json

    try:
        json.loads(start.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _is_utf8(start: bytes) -> bool:
    """Whether it is UTF-8; the last character may be incomplete."""
    import codecs

    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True
