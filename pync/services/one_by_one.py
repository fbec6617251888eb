"""Conversations with many clients by a `Behaviour`, one after the other: stdin is one stream for all of them.

Theory: the server accepts the next client when the last one has left. What stdin gives goes to the client that is there
at that moment. Once it has ended, each later client finds it ended: where an end-of-file is passed on, that client gets
one at once. The conversation in which `quit_after` has passed is the last (`relay/other_rules.py`).

The senders of datagrams are not told apart: what they send is one stream, and none of them is sent anything.

A module of its own, beside `shared_stdio.py`, in which the clients are there at the same time.
"""

from __future__ import annotations

from pync.endpoints.null import Null
from pync.endpoints.shared_stdio import SharedStdout
from pync.endpoints.stdio import Stdio
from pync.loop.tasks import Condition
from pync.relay.other_reads import Run
from pync.services.crowd import CrowdService
from pync.services.stdio import StdioService
from pync.sessions.conversation import converse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Source


class OneByOneService(StdioService):
    """A conversation with one client at a time, which has stdin for itself."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stdout = SharedStdout(context.loop, self.stdio.sink, lines=False)
        self.over = Condition()

    async def run(self) -> None:
        """Wait until the conversation has ended that is to be the last."""
        await self.loop.wait(self.over)

    async def session(self, client: Peer) -> int | None:
        """Converse with one client. Raises PeerLost, TimedOut, InputError, OutputError."""
        stdout = self.stdout.join()
        stdio = Stdio(self.stdio.source, stdout, terminal=self.stdio.terminal)
        stdio.watched = self.stdio.watched
        try:
            await converse(self.context, client, stdio)
        finally:
            await stdout.send_eof()
        if self.loop.shared(Run).over:
            self.over.notify()
        return None


class ReceivingService(CrowdService):
    """What all senders of datagrams send goes to stdout. A stdin that ends without a byte begins `quit_after`."""

    def source(self, stdin: Source | None) -> Source:
        """Nothing is sent."""
        return Null()

    async def send(self) -> None:
        """Return when the server is to end."""
        stdin, seconds = self.stdio.source, self.config.ending.quit_after
        if seconds is None or stdin is None or await stdin.read() is not None:
            await self.loop.wait(Condition())
        await self.loop.sleep(seconds or 0)
