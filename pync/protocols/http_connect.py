"""A client of an HTTP proxy: the CONNECT method (RFC 9110, section 9.3.6).

Theory: one request; any 2xx means that after the empty line the target speaks, whatever the headers say about a
body. 1xx are passed over. h11 words the request and reads the answer's head, and is given nothing else.

Must never send anything that is not one well-formed request, whatever the host is called, and must not wait for a
line end from something that obviously does not speak HTTP.
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

LONGEST_REASON = 100  # characters


def connect(host: str, port: int, authorization: str | None = None) -> Dialogue[list[str] | None]:
    """Have an HTTP proxy connect to `host`, an address or a name; `authorization` as `authentication` makes it.

    The result is None once the tunnel stands. It is the proxy's challenges if it wants other credentials (407):
    then ask again, on a new connection. Raises Refused.
    """
    import h11

    client = h11.Connection(h11.CLIENT)
    yield client.send(_request(authority(host, port), authorization)) or b""
    client.send(h11.EndOfMessage())
    event, rest = yield from _answer(client, b"")
    while isinstance(event, h11.InformationalResponse):
        event, rest = yield from _answer(client, rest)
    if event.status_code // 100 == 2:
        return None, rest
    if event.status_code != 407:
        raise Refused(f"{event.status_code} {_reason(event)}".rstrip())
    return [_text(value) for name, value in event.headers if name == b"proxy-authenticate"], rest


def _request(target: str, authorization: str | None) -> h11.Request:
    import h11

    headers = [(b"Host", target.encode())]
    if authorization is not None:
        headers.append((b"Proxy-Authorization", authorization.encode("utf-8", "surrogateescape")))
    try:
        return h11.Request(method="CONNECT", target=target, headers=headers)
    except h11.LocalProtocolError:
        raise Refused("the credentials do not fit into a header") from None


def _answer(client: h11.Connection, have: bytes) -> Dialogue[h11.Response | h11.InformationalResponse]:
    import h11

    text, rest = yield from read_response_head(have, otherwise="it is not an HTTP proxy")
    client.receive_data(text)
    try:
        event = client.next_event()
    except h11.RemoteProtocolError:
        raise Refused("it does not keep to HTTP") from None
    assert isinstance(event, h11.Response | h11.InformationalResponse)  # a whole head is nothing else
    return event, rest


def _reason(response: h11.Response) -> str:
    """The proxy's own words, as far as they are fit for a terminal."""
    words = response.reason.decode("utf-8", "replace")[:LONGEST_REASON]
    return printable(words, question_mark)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
