"""The service of an only client: its conversation with our stdin and stdout.

A module of its own, beside `shared_stdio.py`: the only client has stdin and stdout themselves, so the kernel can move
the bytes. Many clients share them.
"""

from __future__ import annotations

from pync.endpoints.stdio import STDIN
from pync.loop.tasks import Cancelled, Condition
from pync.services import Service
from pync.sessions.conversation import converse, open_stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.loop.tasks import Task

LOOK = 0.5  # seconds between two looks at a stdin that nothing reads yet


class StdioService(Service):
    """A conversation with the only client. stdin and stdout are opened before privileges are dropped."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stdio = open_stdio(context)
        self.watching: Task | None = None  # watches stdout until the client is there, whose conversation does so then

    async def run(self) -> None:
        """Raise OutputClosed when no process reads stdout, and stdin has nothing to give, before there is a client."""
        if self.stdio.watched and not self.config.behaviour:  # other netcats wait for a client all the same
            ended = Condition()
            self.watching = self.loop.spawn(self._unread(), ended)
            await self.loop.wait(ended)
            if not isinstance(self.watching.error, Cancelled):  # or else the client is there
                self.watching.result()
        await super().run()

    async def _unread(self) -> None:
        from pync.relay.unread import has_ended, output_closed, reader_left

        await reader_left(self.loop)
        while self.stdio.source and not has_ended(STDIN):
            await self.loop.sleep(LOOK)
        raise output_closed()

    async def session(self, client: Peer) -> int | None:
        """Converse with the client. Raises PeerLost, TimedOut, InputError, OutputError."""
        if self.watching:
            await self.loop.cancel_and_wait(self.watching)
        await converse(self.context, client, self.stdio)
        return None
