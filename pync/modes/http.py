"""Answering an HTTP request with stdin: the few steps between accepting a client and relaying."""

from __future__ import annotations

import os
import time

from pync.endpoints import write_all
from pync.endpoints.memory import Chain
from pync.endpoints.stdio import STDIN, is_regular
from pync.errors import ProtocolError, TimedOut
from pync.protocols.http import BadRequest, Head, Request, answers_body, content_type, error_page, response_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Sink, Source
    from pync.endpoints.sockets import StreamSocket


def prepare() -> None:
    """Import all that an answer needs, by making one."""
    Request()
    content_type("page.html", b"")
    error_page(400, "", time.time())


async def read_request(far: StreamSocket, stdout: Sink, limit: float | None) -> Head | None:
    """The head of the client's request, which is shown on stdout; None if the client left without a word.

    Raises ProtocolError for what is no request, after telling the client, PeerLost, and TimedOut after `limit` seconds
    of silence.
    """
    request = Request()
    try:
        while request.head is None:
            data = await far.loop.within(limit, far.read())
            if data is None:
                request.end()
                return None
            await write_all(stdout, data)
            request.feed(data)
    except TimeoutError:
        raise TimedOut(f"request from {far.peer}", f"nothing came for {limit:g} s") from None
    except BadRequest as error:
        await write_all(far, error_page(error.status, str(error), time.time()))
        await far.linger()
        raise ProtocolError(f"request from {far.peer}", str(error)) from None
    return request.head


async def response(head: Head, stdin: Source | None) -> Chain:
    """What answers the request: the response's head, and stdin as its body."""
    start = await stdin.read() if stdin else None
    name, length = _file(stdin, start or b"")
    top = response_head(content_type=content_type(name, start or b""), length=length, now=time.time())
    if start is None or not answers_body(head.method):
        return Chain([top], None)
    return Chain([top, start], stdin)


def _file(stdin: Source | None, start: bytes) -> tuple[str | None, int | None]:
    """Name and length of what is served, as far as they can be known; `start` of it is read already."""
    if not stdin or not start:
        return None, 0
    if not is_regular(STDIN):
        return None, None
    length = len(start) + stdin.unread()
    try:
        return os.readlink(f"/proc/self/fd/{STDIN}"), length
    except OSError:
        return None, length
