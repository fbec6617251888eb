"""Answering an HTTP request with stdin: the few steps between accepting a client and relaying.

Theory: a browser opens connections that it may never use, so without `keep_open` it is decided when a request is read
who gets the one answer, not when a client comes.
"""

from __future__ import annotations

import os
import time

from pync.endpoints import write_all
from pync.endpoints.stdio import STDIN, is_regular
from pync.endpoints.wrappers import Chain
from pync.errors import ProtocolError, TimedOut
from pync.loop.tasks import Condition
from pync.protocols.http_answer import BadRequest, Head, Request, answers_body, content_type, error_page, response_head
from pync.services.stdio import StdioService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Sink, Source
    from pync.endpoints.streams import Stream
    from pync.sessions.conversation import Peer, Stdio


class HttpService(StdioService):
    """An HTTP answer for each client, or with `keep_open` false for one."""

    def __init__(self, context: Context, local: Stdio) -> None:
        super().__init__(context, local)
        self.chosen: Peer | None = None  # who gets the one answer
        self.over = Condition()

    async def run(self) -> None:
        """Read stdin for all, until the one answer was given."""
        await self.loop.first(super().run(), self.loop.wait(self.over))

    async def session(self, far: Peer) -> None:
        """Answer one request. Raises as a conversation does, and ProtocolError."""
        stdout = self.stdout.join()
        source: Source | None = None
        try:
            head = await read_request(far, stdout, self.config.ending.idle_timeout)  # type: ignore[arg-type]
            if head is None or self.chosen:
                return
            if not self.config.keep_open:
                self.chosen = far
            source = self.stdin.join() if self.stdin else None
            await self.converse(far, await response(head, source), source, stdout)
            if not self.config.keep_open:
                self.over.notify()
        finally:
            far.close()
            self.left(source)
            await stdout.send_eof()
            if self.chosen is far:
                self.chosen = None


def prepare() -> None:
    """Import all that an answer needs, by making one."""
    Request()
    content_type("page.html", b"")
    error_page(400, "", time.time())


async def read_request(far: Stream, stdout: Sink, limit: float | None) -> Head | None:
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
        raise TimedOut(f"request from {far.address}", f"nothing came for {limit:g} s") from None
    except BadRequest as error:
        await write_all(far, error_page(error.status, str(error), time.time()))
        await far.linger()
        raise ProtocolError(f"request from {far.address}", str(error)) from None
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
