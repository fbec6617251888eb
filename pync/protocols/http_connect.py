"""A client of an HTTP proxy: the CONNECT method (RFC 9110, section 9.3.6).

Theory: one request. After a 2xx response and its empty line the target speaks, whatever the headers state about a body.
1xx responses are skipped. h11 writes the request and parses the heads of the responses, and is given nothing else.

Must never send anything that is not one well-formed request, whatever the text of the host is.
"""

from __future__ import annotations

from pync.printable import printable, question_mark
from pync.protocols.dialogue import Refused
from pync.protocols.hosts import authority
from pync.protocols.http_head import read_response_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    import h11

    from pync.protocols.dialogue import Dialogue

REASON_LIMIT = 100  # characters of the proxy's own words that are shown


def connect(host: str, port: int, authorization: str | None = None) -> Dialogue[list[str] | None]:
    """Have an HTTP proxy connect to `host`, an address or a name.

    `authorization` is the value of a Proxy-Authorization header (`http_auth.py` makes it). The result is None once the
    tunnel is open. If the proxy wants other credentials (407), it is the list of the proxy's challenges: then a caller
    that can answer one must do that on a new connection. Raises Refused.
    """
    import h11

    client = h11.Connection(h11.CLIENT)
    yield client.send(_request(authority(host, port), authorization)) or b""
    client.send(h11.EndOfMessage())
    response, rest = yield from _response(client, b"")
    while isinstance(response, h11.InformationalResponse):
        response, rest = yield from _response(client, rest)
    if response.status_code // 100 == 2:
        return None, rest
    if response.status_code != 407:
        raise Refused(f"{response.status_code} {_reason(response)}".rstrip())
    return [_text(value) for name, value in response.headers if name == b"proxy-authenticate"], rest


def _request(target: str, authorization: str | None) -> h11.Request:
    import h11

    headers = [(b"Host", target.encode())]
    if authorization is not None:
        headers.append((b"Proxy-Authorization", authorization.encode("utf-8", "surrogateescape")))
    try:
        return h11.Request(method="CONNECT", target=target, headers=headers)
    except h11.LocalProtocolError:
        raise Refused("the credentials do not fit into a header") from None


def _response(client: h11.Connection, have: bytes) -> Dialogue[h11.Response | h11.InformationalResponse]:
    import h11

    head, rest = yield from read_response_head(have, otherwise="it is not an HTTP proxy")
    client.receive_data(head)
    try:
        response = client.next_event()
    except h11.RemoteProtocolError:
        raise Refused("it does not keep to HTTP") from None
    assert isinstance(response, h11.Response | h11.InformationalResponse), "a whole head is nothing else"
    return response, rest


def _reason(response: h11.Response) -> str:
    """The proxy's own words about its refusal, as far as they are fit for a terminal."""
    return printable(response.reason.decode("utf-8", "replace")[:REASON_LIMIT], question_mark)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
