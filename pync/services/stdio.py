"""Two services: the conversation of an only client with our stdin and stdout, and a program for each client.

A module of its own, beside `shared_stdio.py`: the only client has stdin and stdout themselves, so the kernel can move
the bytes. Many clients share them.
"""

from __future__ import annotations

from pync.endpoints.stdio import STDIN
from pync.loop.tasks import Condition
from pync.services import Service
from pync.sessions.conversation import converse, open_stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Program
    from pync.context import Context
    from pync.endpoints import Peer

LOOK = 0.5  # seconds between two looks at a stdin that nothing reads yet


class StdioService(Service):
    """A conversation with the only client. stdin and stdout are opened before privileges are dropped."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stdio = open_stdio(context)
        self.came = Condition()  # notified when the client is there, whose conversation then watches stdout
        self.waits = True

    async def run(self) -> None:
        """While there is no client: end when no process reads stdout and stdin has nothing to give.

        Raises OutputClosed then.
        """
        if self.stdio.watched:
            from pync.relay.unread import has_ended, output_closed, reader_left

            await reader_left(self.loop, self.came)
            while self.waits and self.stdio.source and not has_ended(STDIN):
                await self.loop.sleep(LOOK)
            if self.waits:
                raise output_closed()
        await super().run()

    async def session(self, client: Peer) -> int | None:
        """Converse with the client. Raises PeerLost, TimedOut, InputError, OutputError."""
        self.waits = False
        self.came.notify()
        await converse(self.context, client, self.stdio)
        return None


class ProgramService(Service):
    """A process for each client."""

    descriptors = 3  # both its pipes, and the one that is waited for to learn of its end

    def __init__(self, context: Context, program: Program) -> None:
        super().__init__(context)
        self.program = program

    async def session(self, client: Peer) -> int | None:
        """Put the program on the connection; its exit status. Raises PeerLost, TimedOut, ProgramError."""
        from pync.sessions.program import run_program

        return await run_program(self.context, client, self.program)
