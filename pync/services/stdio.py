"""Two services: the conversation of an only client with our stdin and stdout, and a program for each client.

A module of its own, beside `shared_stdio.py`: the only client has stdin and stdout themselves, so the kernel can move
the bytes. Many clients share them.
"""

from __future__ import annotations

from pync.services import Service
from pync.sessions.conversation import converse, open_stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Program
    from pync.context import Context
    from pync.endpoints import Peer


class StdioService(Service):
    """A conversation with the only client. stdin and stdout are opened before privileges are dropped."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stdio = open_stdio(context)

    async def session(self, client: Peer) -> int | None:
        """Converse with the client. Raises PeerLost, TimedOut, InputError, OutputError."""
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
