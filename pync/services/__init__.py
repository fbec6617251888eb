"""Services: what a listener does with its clients.

`server.py` brings the clients, and `datagram_clients.py` those of datagrams. Each other module is a service.
"""

from __future__ import annotations

from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.endpoints.datagram_server import Crowd


class Service:
    """What is done with each client, and beside the sessions. A service opens what it needs when it is made."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.loop = context.loop
        self.config = context.config

    def room_for_clients(self) -> int:
        """With how many clients the server is full, if each has a descriptor and its logs."""
        from pync.limits import room_for_clients

        logs = self.context.logs
        return room_for_clients(self.config.max_conns, 1 + (logs.descriptors if logs else 0))

    async def run(self) -> None:
        """Do what goes on beside the sessions. When this returns, the server ends."""
        await self.loop.wait(Condition())

    # Whether a client of a listener for one has failed in such a way that its failure is that of the run.
    used_up = False
    crowd: Crowd | None = None  # what takes all datagrams of a server, if its peers need no sessions
    most: int | None = None  # peers of datagrams served at a time, unless the user has set a limit
    descriptors = 0  # those that a session holds beside its client's; what it opens for a moment is not counted

    ready_at_once = True  # whether `ready` never waits: then a client is ready when it was admitted

    async def ready(self, client: Peer) -> bool:
        """Wait until the client may be the only one of a listener for one client; False if it gets no session.

        Most services accept a client at once. Raises as `session`; what would end a session does not end the listener.
        """
        return True

    async def session(self, client: Peer) -> int | None:
        """Serve one client, and close it; the exit status of its program, if it has one.

        What it raises ends this session, unless it is one of `sessions.wall.SHARED`, which ends the server.
        """
        raise NotImplementedError
