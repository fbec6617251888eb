"""Answering an HTTP request with stdin: `pync -l --http 8080 < page.html`.

Theory: a browser opens connections that it may never use. So a listener for one client gives its one answer
to the first client whose request it has read. If that client's connection breaks before it has the whole answer, the
next request gets the answer.
"""

from __future__ import annotations

import os
import time

from pync.endpoints import write_all
from pync.endpoints.stdio import STDIN, is_regular
from pync.endpoints.wrappers import Chain
from pync.errors import ProtocolError, TimedOut
from pync.protocols.http_answer import (
    BadRequest,
    Head,
    Request,
    content_type,
    error_page,
    response_has_body,
    response_head,
)
from pync.services.shared_stdio import SharedStdioService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink, Source


class HttpService(SharedStdioService):
    """An HTTP answer for each client, or without `keep_open` for one."""

    ready_at_once = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.answering: Peer | None = None  # the client that gets the one answer

    async def ready(self, client: Peer) -> bool:
        """Answer the client's request; False if there is none to answer. Raises as `converse`, and ProtocolError."""
        stdout = self.stdout.join()
        share = None
        try:
            head = await read_request(client, stdout, self.config.ending.idle_timeout)
            if head is None or self.answering:
                return False
            if not self.config.keep_open:
                self.answering = client
            share = self.stdin.join(client) if self.stdin else None
            await self.converse(client, await response(head, share), share, stdout)
            return True
        finally:
            await self.leave(client, share, stdout)
            if self.answering is client:
                self.answering = None

    async def session(self, client: Peer) -> int | None:
        """Nothing: a client that is ready has its answer."""
        return None


async def read_request(client: Peer, stdout: Sink, limit: float | None) -> Head | None:
    """The head of the client's request, which is also written to stdout; None if the client left and sent nothing.

    Raises ProtocolError for what is no request, after an answer that refuses it; PeerLost; and TimedOut when nothing
    came for `limit` seconds. Raises OutputError for stdout.
    """
    request = Request()
    try:
        while request.head is None:
            data = await client.loop.within(limit, client.read())
            if data is None:
                request.end()
                return None
            await write_all(stdout, data)
            request.feed(data)
    except TimeoutError:
        raise TimedOut(f"request from {client.address}", f"nothing came for {limit:g} s") from None
    except BadRequest as error:
        await write_all(client, error_page(error.status, str(error), time.time()))
        await client.linger()
        raise ProtocolError(f"request from {client.address}", str(error)) from None
    return request.head


async def response(head: Head, stdin: Source | None) -> Chain:
    """What answers the request: the response's head, and stdin as its body."""
    start = await stdin.read() if stdin else None
    name, length = _file(stdin, start or b"")
    top = response_head(content_type=content_type(name, start or b""), length=length, now=time.time())
    if start is None or not response_has_body(head.method):
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
