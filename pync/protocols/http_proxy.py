"""An HTTP proxy's side of the dialogues with its client and, for plain methods, with the target.

Theory: one request for each connection. CONNECT asks for a tunnel (RFC 9110, section 9.3.6). With any other method
the request's target is an http URI (RFC 9112, section 3.2.2): its head is rewritten for whom it is meant, with
`Connection: close` in it, and what follows is relayed as it is, as fast as the kernel copies. So what describes the
body stays, and so does the client's version: the answer comes in a form that the client can read.

What a client asks for ahead of the answer is no part of that: it may be for somebody else, and hold a password for us.
So no more than the body is relayed (chunks, which nobody sends ahead, as they come), and the client asks again.

The answer's head is rewritten in the same way. That must not be left out: a client whose connection the target keeps
would send its next request there too, and that may be for somebody else.

h11 says whether a request is well-formed; then lines are taken out of its head. An answer is not judged any further
than has to be, for there are odd servers, and it is the client that has to understand it.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.protocols.dialogue import Asked, Refused, receive_more
from pync.protocols.hosts import split
from pync.protocols.http_answer import BadRequest, error_page, next_request
from pync.protocols.http_auth import demands, is_fresh, judge, make_nonce
from pync.protocols.http_head import HeadTooLong, read_head, read_response_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    import h11

    from pync.protocols.dialogue import Dialogue, Login, Trouble

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
HTTP_PORT = 80

STATUSES: dict[Trouble, int] = {"forbidden": 403, "timed out": 504}  # all others: 502 (RFC 9110, section 15.6.3)

# RFC 9110, section 7.6.1: fields for the next neighbour alone, beside those that Connection lists. Transfer-Encoding
# is one too, but the body that it describes passes through untouched.
_FOR_NEIGHBOURS = {b"connection", b"proxy-connection", b"keep-alive", b"te", b"upgrade"}
_FOR_PROXIES = {b"proxy-authorization", b"proxy-authenticate", b"proxy-authentication-info"}
_FRAMING = {b"transfer-encoding", b"content-length"}


class ProxyRequest(Frozen):
    """What a request says, as far as it concerns a proxy."""

    method: str
    target: str  # as it was written
    origin: str  # as it is written to the server itself
    credentials: str | None
    asked: Asked


def serve(login: Login | None, secret: bytes, now: float) -> Dialogue[Asked]:
    """What a client asks for, once it has shown that it knows `login`, if there is one. Raises Refused.

    `now` is in seconds; its clock and `secret` are the same for all clients.
    """
    try:
        text, rest = yield from _request_head()
        request = read(text)
    except BadRequest as error:
        yield error_page(error.status, str(error))
        raise Refused(str(error)) from None
    if login:
        targets = (request.target, request.origin)  # of plain methods, clients prove the latter
        verdict = judge(request.credentials, login, request.method, targets, lambda nonce: is_fresh(nonce, secret, now))
        if verdict != "granted":
            challenges = demands(make_nonce(secret, now), stale=verdict == "stale")
            yield error_page(407, "say who you are", challenges=challenges)
            raise Refused("it has not shown who it is")
    return request.asked, rest


def granted(asked: Asked) -> bytes:
    """What tells the client that the connection it asked for stands; of plain methods, the answer itself does."""
    return b"" if asked.head else ESTABLISHED


def failed(trouble: Trouble, why: str) -> bytes:
    """What tells the client that there is no connection, or no answer."""
    return error_page(STATUSES.get(trouble, 502), why)


def answer() -> Dialogue[tuple[bytes, bool]]:
    """What to make of the head of the target's answer, and whether it is the last: after 1xx comes another.

    Raises Refused.
    """
    text, rest = yield from read_response_head(b"", otherwise="it does not speak HTTP")
    line = text.partition(b"\n")[0].rstrip()
    _, status, *_ = [*line.split(), b""]
    if not status.isdigit():
        raise Refused("it does not keep to HTTP")
    final = not status.startswith(b"1")
    return (_joined(line, *_end_to_end(text), *([b"Connection: close"] if final else [])), final), rest


def _request_head() -> Dialogue[bytes]:
    have = b""
    while not have:  # RFC 9112, section 2.2: empty lines before a request are ignored
        have = (yield from receive_more(b"")).lstrip(b"\r\n")
    if have[0] <= ord(" "):  # TLS or SOCKS: there would be no line end to wait for
        raise BadRequest("illegal request line")
    try:
        return (yield from read_head(have))
    except HeadTooLong as error:
        raise BadRequest(str(error), 431) from None


def read(text: bytes) -> ProxyRequest:
    """What the head of a request says. Raises BadRequest."""
    import h11

    parser = h11.Connection(h11.SERVER)
    parser.receive_data(text)
    request = next_request(parser)
    assert request is not None  # a whole head is nothing else
    method, target, version = (part.decode() for part in (request.method, request.target, request.http_version))
    tunnel = method == "CONNECT"
    authority, origin = (target, target) if tunnel else _absolute(method, target)
    try:
        host, port = split(authority)
    except Refused as error:
        raise BadRequest(str(error)) from None
    if tunnel and port is None:
        raise BadRequest("CONNECT needs a port")
    fields = (f"Host: {authority}".encode(), *_end_to_end(text, {b"host"}), b"Connection: close")
    rewritten = b"" if tunnel else _joined(f"{method} {origin} HTTP/{version}".encode(), *fields)
    asked = Asked(host=host, port=port or HTTP_PORT, head=rewritten, size=None if tunnel else _size(request))
    return ProxyRequest(method=method, target=target, origin=origin, credentials=_credentials(request), asked=asked)


def _size(request: h11.Request) -> int | None:
    """Bytes of the request's body; None if it comes in chunks (RFC 9112, section 6.3)."""
    fields = dict(request.headers)
    return None if b"transfer-encoding" in fields else int(fields.get(b"content-length", b"0"))


def _credentials(request: h11.Request) -> str | None:
    given = (value for name, value in request.headers if name == b"proxy-authorization")
    return next((value.decode("utf-8", "surrogateescape") for value in given), None)


def _absolute(method: str, uri: str) -> tuple[str, str]:
    """The authority of an http URI, and the rest of it as it is written to the server (RFC 9112, section 3.2)."""
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme.lower() != "http":
        raise BadRequest("this is a proxy: it serves http:// and CONNECT")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    if "@" in rest[:end]:  # RFC 9110, section 4.2.4; and the words of a refusal must not hold a password
        raise BadRequest("no user can be named in a URI")
    path = rest[end:].partition("#")[0]
    if not path:
        path = "*" if method == "OPTIONS" else "/"
    return rest[:end], path if path[0] in "/*" else f"/{path}"


def _end_to_end(text: bytes, without: Set[bytes] = frozenset()) -> list[bytes]:
    """The header lines that are not for the next neighbour, nor among those `without` which it shall be."""
    fields = [(line.partition(b":")[0].strip().lower(), line) for line in _header_lines(text)]
    values = [line.partition(b":")[2] for name, line in fields if name == b"connection"]
    listed = {option.strip().lower() for value in values for option in value.split(b",")}
    dropped = _FOR_NEIGHBOURS | _FOR_PROXIES | without | (listed - _FRAMING)
    if any(name == b"transfer-encoding" for name, _ in fields):
        dropped.add(b"content-length")  # RFC 9112, section 6.3: it lies, and must not be passed on
    return [line for name, line in fields if name not in dropped]


def _header_lines(text: bytes) -> list[bytes]:
    """The header's lines without their ends; one that was folded is one again (RFC 9112, section 5.2)."""
    lines: list[bytes] = []
    for line in text.split(b"\n")[1:]:
        if lines and line.startswith((b" ", b"\t")):
            lines[-1] += b" " + line.strip()
        elif line := line.rstrip(b"\r"):
            lines.append(line)
    return lines


def _joined(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))
