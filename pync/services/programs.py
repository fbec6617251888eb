"""A program for each of many clients (`program.py`)."""

from __future__ import annotations

from pync.services.server import Service
from pync.sessions.program import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Program
    from pync.context import Run
    from pync.sessions.conversation import Far


class Programs(Service):
    """A process for each client."""

    def __init__(self, work: Run, program: Program) -> None:
        super().__init__(work)
        self.program = program

    async def session(self, far: Far) -> None:
        """Put the program on the connection. Raises PeerLost, TimedOut, ProgramError."""
        await serve(self.work, far, self.program)
