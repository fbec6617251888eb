"""An HTTP request as a source: what a client of `--http` sends, as it is shown on stdout.

Theory: the parser (`protocols/http_request.py`) decides where the request ends, and so where the source does. Logs
record what came before it is parsed. A terminal would obey what a client has put into its request, so what is shown
there is cleaned (`stages/visible.py`).
"""

from __future__ import annotations

import os

from pync.endpoints import Source
from pync.endpoints.stdio import STDOUT
from pync.protocols.http_request import PIECE
from pync.stages import feed_all, flush_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.protocols.http_request import Request
    from pync.stages import Stage


class RequestSource(Source):
    """What is shown of a request: its head as it comes, and its body without what frames it. Ends where it does."""

    def __init__(self, context: Context, client: Peer, request: Request) -> None:
        self.client = client
        self.request = request
        self.latest = b""  # the last bytes that were parsed, as they came
        self.left = memoryview(b"")  # what came and was not parsed yet
        self.came = 0  # bytes that the client has sent so far
        self.logs: tuple[Stage, ...] = ()
        if context.logs:
            from pync.relay.log_files import RECEIVED

            self.logs = context.logs.of(client).copy(RECEIVED)
        self.stages = _cleaners()

    async def read(self) -> bytes | None:
        """The next bytes; None at the end of the request. Raises PeerLost, and BadRequest for what is no request."""
        while not self.request.complete:
            if self.left:
                await self.client.loop.sleep(0)  # parsing gives the other clients their turn
            else:
                await self._fill()
            self.latest, self.left = bytes(self.left[:PIECE]), self.left[PIECE:]
            if not self.latest:
                self.request.end()
                return None
            if shown := self.show(self.request.feed(self.latest), last=self.request.complete):
                return shown
        return None

    def show(self, data: bytes, *, last: bool) -> bytes:
        """How bytes of the request are written to stdout, where these may be the last ones."""
        return b"".join([feed_all(self.stages, data), *(flush_all(self.stages) if last else ())])

    async def _fill(self) -> None:
        """Read what the client sends next; nothing at its end."""
        data = await self.client.read() or b""
        self.came += len(data)
        self.left = memoryview(feed_all(self.logs, data))


def _cleaners() -> tuple[Stage, ...]:
    """The stages in front of stdout: a terminal would obey what a client has put into its request."""
    if not os.isatty(STDOUT):
        return ()
    from pync.stages.visible import Visible

    return (Visible(),)
