"""The response to an HTTP request: its head, the media type of a file, and the page that refuses a request.

Theory: one request, one response, and the connection ends. h11 writes the head. The body needs no framing: after
`Connection: close` it ends where the connection does (RFC 9112, section 6.3), so the relay can send it as fast as the
kernel copies.

Must never import h11 at its top: most runs of pync speak no HTTP. The caller gives the date, for there is no clock
here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

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


def response_has_body(method: str) -> bool:
    """Whether the response to this method has a body (RFC 9110, section 9.3.2)."""
    return method != "HEAD"


def response_head(
    *,
    status: int = 200,
    content_type: str | None,
    length: int | None,
    now: float | None = None,
    fields: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The head of a response; `length` is that of its body in bytes, if it is known, and `now` seconds since the epoch.

    `fields` are the others that it has: a proxy's 407 has its challenges (RFC 9110, section 15.5.8).
    """
    from http import HTTPStatus

    import h11

    headers = [("Content-Type", content_type)] if content_type else []
    headers += [("Connection", "close"), *fields]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    if now is not None:
        headers.append(("Date", http_date(now)))
    # RFC 9110, section 15.5.6: this status requires the list of the methods that are allowed.
    if status == 405:
        headers.append(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    response = h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=headers)
    # The parser of the request would add chunks if the request allows them. One that has seen no request does not.
    return h11.Connection(h11.SERVER).send(response) or b""


def http_date(moment: float) -> str:
    """A moment, in seconds since the epoch, as HTTP writes it (RFC 9110, section 5.6.7)."""
    from email.utils import formatdate

    return formatdate(moment, usegmt=True)


def error_page(status: int, why: str, now: float | None = None, fields: Iterable[tuple[str, str]] = ()) -> bytes:
    """A whole small response that refuses a request, with the status and the words of a BadRequest."""
    from http import HTTPStatus

    # The words may be those of another peer, which need not be Unicode.
    body = f"{status} {HTTPStatus(status).phrase}: {why}\n".encode("utf-8", "backslashreplace")
    kind = "text/plain; charset=utf-8"
    return response_head(status=status, content_type=kind, length=len(body), now=now, fields=fields) + body


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
