"""A program for each of many clients (`program.py`)."""

from __future__ import annotations

from pync.services.server import Service
from pync.sessions.program import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Program
    from pync.context import Context
    from pync.sessions.conversation import Peer


class ProgramService(Service):
    """A process for each client."""

    def __init__(self, context: Context, program: Program) -> None:
        super().__init__(context)
        self.program = program

    async def session(self, far: Peer) -> None:
        """Put the program on the connection. Raises PeerLost, TimedOut, ProgramError."""
        await serve(self.context, far, self.program)
