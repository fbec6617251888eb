"""An HTTP proxy: its side of the dialogue with the client and, for other methods than CONNECT, with the target.

Theory: one request for each connection. CONNECT asks for a tunnel (RFC 9110, section 9.3.6). With any other method the
request's target is an http URI (RFC 9112, section 3.2.2). The proxy rewrites the head of such a request for the server
that the URI names, with `Connection: close` in it, and what follows is relayed as it is, as fast as the kernel copies.
So the fields that describe the body stay, and so does the client's version: the response comes in a form that the
client can read.

A client may send further requests before the response. They must not be relayed: they may be meant for another server,
and may hold a password for this proxy. So no more than the body is relayed, and the client asks again. A body in chunks
passes as it comes, but it is read along, because its end has to be found.

The head of the response is rewritten in the same way. Otherwise the target could keep the connection open, and the
client would send its next request there too, although that may be meant for another server.

h11 decides whether a request is well-formed; then lines are taken out of its head. A response is checked no further
than it has to be: there are odd servers, and it is the client that has to understand them.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.protocols.dialogue import ConnectRequest, Refused, Unidentified, receive_more
from pync.protocols.hosts import split_authority
from pync.protocols.http_answer import error_page, response_head
from pync.protocols.http_auth import check_credentials, make_challenges
from pync.protocols.http_head import HeadTooLong, header_lines, read_head, read_response_head
from pync.protocols.http_request import BadRequest, check_framing, next_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    import h11

    from pync.protocols.dialogue import Dialogue, FailureKind, Login
    from pync.protocols.http_auth import Nonces

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
HTTP_PORT = 80
HOPS_DIGITS = 9  # of a Max-Forwards, at most

STATUSES: dict[FailureKind, int] = {"forbidden": 403, "timed out": 504}
OTHER_STATUS = 502  # of a trouble that has none of these (RFC 9110, section 15.6.3)

# The fields that are for the next hop alone, beside those that Connection lists (RFC 9110, section 7.6.1).
# Transfer-Encoding is one too, but the body that it describes passes through untouched.
_HOP_BY_HOP = {b"connection", b"proxy-connection", b"keep-alive", b"te", b"upgrade"}
_FOR_PROXIES = {b"proxy-authorization", b"proxy-authenticate", b"proxy-authentication-info"}
_FRAMING = {b"transfer-encoding", b"content-length"}
# What a TRACE that ends here is not answered with (RFC 9110, section 9.3.8).
_SECRET = {b"authorization", b"cookie", *_FOR_PROXIES}


class ProxyRequest(Frozen):
    """The parts of a request that concern a proxy."""

    method: str
    target: str  # as the client has written it
    origin: str  # as it is written to the server itself
    credentials: str | None
    hops: int | None  # how many servers may still pass it on, if that is limited (Max-Forwards)
    asked: ConnectRequest


def serve(login: Login | None, nonces: Nonces, now: float) -> Dialogue[ConnectRequest | None]:
    """What a client asks for, once it has proved that it knows `login`, if there is one. Raises Refused.

    None if the request ends here, and has been answered. `now` is in seconds. Its clock and `nonces` must be the same
    for all clients.
    """
    try:
        head, rest = yield from _request_head()
        request = parse_request(head)
    except BadRequest as error:
        yield error_page(error.status, str(error))
        raise Refused(str(error)) from None
    if login:
        # With other methods than CONNECT, clients put the origin into the hash of Digest instead of the target.
        targets = (request.target, request.origin)
        verdict = check_credentials(
            request.credentials, login, request.method, targets, lambda nonce, count: nonces.accept(nonce, count, now)
        )
        if verdict != "granted":
            challenges = make_challenges(nonces.make(now), stale=verdict == "stale")
            fields = [("Proxy-Authenticate", challenge) for challenge in challenges]
            yield error_page(407, "say who you are", fields=fields)
            if request.credentials is None or verdict == "stale":
                raise Unidentified("it has to show who it is")
            raise Refused("a wrong user or password")
    if request.hops == 0:
        yield _answer_of_the_last(request.method, head)
        return None, rest
    return request.asked, rest


def _answer_of_the_last(method: str, head: bytes) -> bytes:
    """The answer to a TRACE or an OPTIONS that must not be passed on (RFC 9110, section 7.6.2)."""
    if method == "OPTIONS":
        return response_head(content_type=None, length=0)
    received = _joined(head.partition(b"\n")[0].rstrip(), *_lines_without(head, _SECRET))
    return response_head(content_type="message/http", length=len(received)) + received


def success_reply(asked: ConnectRequest) -> bytes:
    """The reply for a connection that was made."""
    # With other methods than CONNECT, the target's response is the reply.
    return b"" if asked.head else ESTABLISHED


def failure_reply(trouble: FailureKind, why: str) -> bytes:
    """The reply for a connection that could not be made, or a target that did not respond."""
    return error_page(STATUSES.get(trouble, OTHER_STATUS), why)


def late_reply(why: str) -> bytes:
    """The reply to a client that does not make its request in time."""
    return error_page(408, why)


def answer() -> Dialogue[tuple[bytes, bool]]:
    """The rewritten head of the target's response, and whether it is the last one: after a 1xx comes another.

    Raises Refused.
    """
    head, rest = yield from read_response_head(b"", otherwise="it does not speak HTTP")
    line = head.partition(b"\n")[0].rstrip()
    _, status, *_ = [*line.split(), b""]
    if not status.isdigit():
        raise Refused("it does not keep to HTTP")
    final = not status.startswith(b"1")
    return (_joined(line, *_end_to_end(head), *([b"Connection: close"] if final else [])), final), rest


def _request_head() -> Dialogue[bytes]:
    have = b""
    # Empty lines before a request are ignored (RFC 9112, section 2.2).
    while not have:
        have = (yield from receive_more(b"")).lstrip(b"\r\n")
    # This is TLS or SOCKS. There is no sense in waiting for an empty line from a client that speaks those.
    if have[0] <= ord(" "):
        raise BadRequest("illegal request line")
    try:
        return (yield from read_head(have))
    except HeadTooLong as error:
        raise BadRequest(str(error), 431) from None


def parse_request(head: bytes) -> ProxyRequest:
    """The request that has this head. Raises BadRequest."""
    import h11

    parser = h11.Connection(h11.SERVER)
    parser.receive_data(head)
    request = next_request(parser)
    assert request is not None, "a whole head is nothing else"
    check_framing(head, request)
    method, target, version = (part.decode() for part in (request.method, request.target, request.http_version))
    tunnel = method == "CONNECT"
    authority, origin = (target, target) if tunnel else _absolute(method, target)
    try:
        host, port = split_authority(authority)
    except Refused as error:
        raise BadRequest(str(error)) from None
    if tunnel and port is None:
        raise BadRequest("CONNECT needs a port")
    hops = _hops(request)
    replaced = {b"host"} if hops is None else {b"host", b"max-forwards"}
    limit = [f"Max-Forwards: {hops - 1}".encode()] if hops else []
    fields = (f"Host: {authority}".encode(), *_end_to_end(head, replaced), *limit, b"Connection: close")
    rewritten = b"" if tunnel else _joined(f"{method} {origin} HTTP/{version}".encode(), *fields)
    asked = ConnectRequest(host=host, port=port or HTTP_PORT, head=rewritten, size=None if tunnel else _size(request))
    credentials = _credentials(request)
    return ProxyRequest(method=method, target=target, origin=origin, credentials=credentials, hops=hops, asked=asked)


def _size(request: h11.Request) -> int | None:
    """Bytes of the request's body; None if it comes in chunks, whose sum is unknown (RFC 9112, section 6.3)."""
    fields = dict(request.headers)
    return None if b"transfer-encoding" in fields else int(fields.get(b"content-length", b"0"))


def _hops(request: h11.Request) -> int | None:
    """The value of Max-Forwards, where a proxy has to obey it (RFC 9110, section 7.6.2). Raises BadRequest."""
    values = [value for name, value in request.headers if name == b"max-forwards"]
    if not values or request.method not in (b"TRACE", b"OPTIONS"):
        return None
    if len(values) > 1 or not values[0].isdigit() or len(values[0]) > HOPS_DIGITS:
        raise BadRequest("Max-Forwards is not a number")
    return int(values[0])


def _credentials(request: h11.Request) -> str | None:
    given = (value for name, value in request.headers if name == b"proxy-authorization")
    return next((value.decode("utf-8", "surrogateescape") for value in given), None)


def _absolute(method: str, uri: str) -> tuple[str, str]:
    """The authority of an http URI, and the rest of it as it is written to the server (RFC 9112, section 3.2)."""
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme.lower() != "http":
        raise BadRequest("this is a proxy: it serves http:// and CONNECT")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    # RFC 9110, section 4.2.4. Without this check, the words about a wrong host would show the password.
    if "@" in rest[:end]:
        raise BadRequest("no user can be named in a URI")
    path = rest[end:].partition("#")[0]
    if not path:
        path = "*" if method == "OPTIONS" else "/"
    return rest[:end], path if path[0] in "/*" else f"/{path}"


def _end_to_end(head: bytes, without: Set[bytes] = frozenset()) -> list[bytes]:
    """The header lines that are passed on, without those for the next hop alone, and those whose names are given."""
    fields = [(line.partition(b":")[0].strip().lower(), line) for line in header_lines(head)]
    values = [line.partition(b":")[2] for name, line in fields if name == b"connection"]
    listed = {option.strip().lower() for value in values for option in value.split(b",")}
    dropped = _HOP_BY_HOP | _FOR_PROXIES | without | (listed - _FRAMING)
    if any(name == b"transfer-encoding" for name, _ in fields):
        # Then a Content-Length is wrong, and must not be passed on (RFC 9112, section 6.3).
        dropped.add(b"content-length")
    return _lines_without(head, dropped)


def _lines_without(head: bytes, names: Set[bytes]) -> list[bytes]:
    return [line for line in header_lines(head) if line.partition(b":")[0].strip().lower() not in names]


def _joined(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))
