"""An HTTP request as it is received: its head, and its body without what frames it.

Theory: h11 parses. It is given what arrives, and it decides where the head ends and where the body does (RFC 9112,
section 6.3: by its length, or by its last chunk; without either there is none). What is to be shown of a request is its
head as it came, and its body decoded.

Every method is accepted, because people also use a netcat to catch what a webhook posts. CONNECT is refused, because a
200 to it would mean that a tunnel is open.

Two readers of one request must not take its body for different ones, because one of them may be behind the other. So a
length that is given twice is refused, and so are chunks in HTTP/1.0.

Must never hold more than one head or one line of chunks. Must never import h11 at its top: most runs of pync speak no
HTTP.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.protocols.http_head import HEAD_LIMIT, header_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    import h11

PIECE = 32 * 1024  # bytes of a body that are parsed at a time: in chunks of one byte they take long


class BadRequest(ValueError):
    """What was received is not a request that is served: why, in words, and the status of the response."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Head(Frozen):
    """The request line of a request, and the fields that decide what of a page is sent (RFC 9110, sections 13, 14)."""

    method: str
    target: str
    version: str  # "1.0" or "1.1"
    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None


class Request:
    """Reads along with what the client sends, until `head` is known and then until the request is `complete`."""

    def __init__(self) -> None:
        import h11

        self.head: Head | None = None
        self.complete = False  # all of the body has come
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._begun = bytearray()  # what has come of the head
        self._body = 0  # bytes of the body that have come

    def feed(self, data: bytes) -> bytes:
        """Read what was received, at least a byte; what of it is to be shown. What follows the request is ignored.

        Raises BadRequest, and must not be fed after it.
        """
        if self.complete:
            return b""
        if self.head:
            self._parser.receive_data(data)
            return self._body_so_far()
        return self._feed_head(data)

    def end(self) -> None:
        """Take note of the end-of-file. Raises BadRequest within a request; without any input `head` stays None."""
        if self.head and not self.complete:
            raise BadRequest(f"the body broke off after {self._body} bytes")
        if not self.head and self._begun:
            raise BadRequest("the request broke off")

    def go_ahead(self) -> bytes:
        """What a client with `Expect: 100-continue` waits for before it sends its body; nothing if it does not wait.

        RFC 9110, section 10.1.1.
        """
        import h11

        if not self._parser.they_are_waiting_for_100_continue:
            return b""
        interim = h11.InformationalResponse(status_code=100, reason="Continue", headers=[])
        return self._parser.send(interim) or b""

    def _feed_head(self, data: bytes) -> bytes:
        """Read a part of the head. What is shown is all of it, and what follows its end only if it is the body."""
        begun = self._without_blank_lines(data)
        if not begun:
            return data
        room = HEAD_LIMIT - len(self._begun)
        taken, rest = begun[:room], begun[room:]
        self._begun += taken
        self._parser.receive_data(taken)
        if request := next_request(self._parser):
            beyond = len(self._parser.trailing_data[0])
            check_framing(bytes(self._begun[: len(self._begun) - beyond]), request)
            self.head = _accepted(request)
            self._begun.clear()
            after = beyond + len(rest)
            if rest:  # no bytes would stand for the end-of-file
                self._parser.receive_data(rest)
            return data[: len(data) - after] + self._body_so_far()
        if len(self._begun) == HEAD_LIMIT:
            raise BadRequest(f"the request's head is longer than {HEAD_LIMIT} bytes", 431)
        return data

    def _without_blank_lines(self, data: bytes) -> bytes:
        """The data without empty lines before the request, which are ignored (RFC 9112, section 2.2)."""
        return data if self._begun else data.lstrip(b"\r\n")

    def _body_so_far(self) -> bytes:
        """What the parser has received of the body."""
        import h11

        parts = []
        while isinstance(event := next_event(self._parser), h11.Data):
            parts.append(event.data)
        self.complete = isinstance(event, h11.EndOfMessage)
        body = b"".join(parts)
        self._body += len(body)
        return body


class ChunkedBody:
    """Finds the end of a body in chunks, which passes as it is (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        import h11

        self.complete = False  # all of the body has come
        self._parser = h11.Connection(h11.SERVER)
        self._parser.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        next_request(self._parser)

    def feed(self, data: bytes) -> bytes:
        """What of `data`, at least a byte, belongs to the body. Raises BadRequest, and must not be fed after it."""
        import h11

        if self.complete:
            return b""
        self._parser.receive_data(data)
        while isinstance(event := next_event(self._parser), h11.Data):
            pass
        self.complete = isinstance(event, h11.EndOfMessage)
        return data[: len(data) - len(self._parser.trailing_data[0])] if self.complete else data


def next_event(parser: h11.Connection) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    """The next event of what the parser has received. Raises BadRequest."""
    import h11

    try:
        return parser.next_event()
    except h11.RemoteProtocolError as error:
        # h11 ends some of its messages with the offending line as a Python literal, which is not for people.
        raise BadRequest(str(error).partition(": bytearray")[0], error.error_status_hint) from None


def next_request(parser: h11.Connection) -> h11.Request | None:
    """The request whose head the parser has received; None if it needs more. Raises BadRequest."""
    import h11

    event = next_event(parser)
    if not isinstance(event, h11.Request):
        return None
    if not event.http_version.startswith(b"1."):
        raise BadRequest(f"HTTP/{event.http_version.decode()} is not spoken here", 505)
    return event


def check_framing(head: bytes, request: h11.Request) -> None:
    """Raise BadRequest for a head of which not all readers would take the same bytes for the body.

    h11 takes `3, 3` for 3 (RFC 9110, section 8.6), and knows chunks in HTTP/1.0, which that has not (RFC 9112, 6.1).
    """
    fields = [line.partition(b":") for line in header_lines(head)]
    lengths = b",".join(value for name, _, value in fields if name.strip().lower() == b"content-length")
    if b"," in lengths:
        raise BadRequest("more than one Content-Length")
    if request.http_version < b"1.1" and any(name == b"transfer-encoding" for name, _ in request.headers):
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding")


def _accepted(request: h11.Request) -> Head:
    if request.method == b"CONNECT":
        raise BadRequest("this is not a proxy", 405)
    # h11 has made the names lower case. A field that must not be repeated has its first value.
    fields = {name: value.decode("latin-1") for name, value in reversed(list(request.headers))}
    return Head(
        method=request.method.decode(),
        target=request.target.decode(),
        version=request.http_version.decode(),
        range=fields.get(b"range"),
        if_range=fields.get(b"if-range"),
        if_none_match=fields.get(b"if-none-match"),
        if_modified_since=fields.get(b"if-modified-since"),
    )
