"""The service that runs a program for each client.

With `keep_open` and without a limit of the user's, `MOST` programs run at the same time. The other clients wait for
their turn, in the order in which they were ready. So a client that is accepted and begins no handshake takes no turn
from another. A limit of the user's is that of the server, which denies the others when they come.
"""

from __future__ import annotations

from collections import deque

from pync.listener_events import ProgramsAtLimit
from pync.loop.tasks import Condition
from pync.services import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config, Program
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.events import Address

ALL_ADDRESSES = ("0.0.0.0", "::")
MOST = 100
REPORTED = 60.0  # seconds in which it is reported once that clients wait


def is_open(config: Config, address: Address) -> bool:
    """Whether any host can have a program run by a server that listens on this address, again and again."""
    restricted = config.access.allow or config.access.allow_files or (config.tls and config.tls.verify)
    return config.keep_open and address.host in ALL_ADDRESSES and not restricted


class ProgramService(Service):
    """A process for each client."""

    descriptors = 2  # our ends of its pipes
    most: int

    def __init__(self, context: Context, program: Program) -> None:
        super().__init__(context)
        self.program = program
        self.most = self.config.max_conns or MOST
        self.running = 0
        self.waiting: deque[Condition] = deque()  # one for each client that waits for its turn
        self.reported: float | None = None  # when it was reported last that clients wait

    async def session(self, client: Peer) -> int | None:
        """Put the program on the connection; its exit status. Raises PeerLost, TimedOut, ProgramError."""
        from pync.sessions.program import run_program

        await self._turn()
        try:
            return await run_program(self.context, client, self.program)
        finally:
            self._pass_on()

    async def _turn(self) -> None:
        """Wait until one more program may run."""
        if self.running < self.most:
            self.running += 1
            return
        self._report()
        turn = Condition()
        self.waiting.append(turn)
        try:
            await self.loop.wait(turn)
        except BaseException:
            if turn in self.waiting:
                self.waiting.remove(turn)
            else:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """One program less runs: the client that waits for longest has its place."""
        if self.waiting:
            self.waiting.popleft().notify()
        else:
            self.running -= 1

    def _report(self) -> None:
        now = self.loop.clock()
        if self.reported is None or now > self.reported + REPORTED:
            self.reported = now
            self.context.report(ProgramsAtLimit(limit=self.most))
