"""One client of a hub: its outbox, with what the hub knows of it, and in `LoggedMember` a log of its own.

A member never decides what it is sent, and reads nothing: the hub does (`services/hub.py`). It only says how its
session ends when its outbox or its log fails, and that must never be the sender's failure.
"""

from __future__ import annotations

from pync.endpoints.client_queues import Outbox
from pync.errors import PyncError
from pync.events import SessionEnded
from pync.stages import feed_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pync.endpoints import Bytes, Peer
    from pync.loop.tasks import Condition, Task
    from pync.services.hub import HubService
    from pync.stages import Stage


class Member(Outbox):
    """One client, with a task that receives from it as long as it is among the others."""

    __slots__ = ("hub", "label", "left", "name", "passed_on", "reads", "received", "receiving", "since", "stages")
    ended_by = "peer"
    receiving: Task

    def __init__(self, hub: HubService, peer: Peer, name: str) -> None:
        super().__init__(hub.queues, peer)
        self.hub = hub
        self.name = name
        self.label = ""  # how it is announced to a newcomer, once the others know it
        self.stages = hub.stages_of_client(peer, name)
        self.reads = 0
        self.received = 0  # bytes
        self.since = hub.loop.clock() if hub.context.wants(SessionEnded) else 0.0
        self.passed_on = 0  # reads that were passed on; the latest may wait for room
        self.left: Condition | None = None  # made when it half-closes; notified when its connection is closed

    def write_failed(self, error: Exception) -> None:
        """Its session ends; a client that was only receiving leaves in this way."""
        if self.left:
            self.left.notify()
        else:
            self.receiving.cancel(error)

    def stalled(self, why: str) -> None:
        """It is cut off: its session ends."""
        self.hub.members.pop(self, None)
        self.receiving.cancel(self.cut_off(why, self.size))


class LoggedMember(Member):
    """A client with a log of its own. What is put into its outbox is logged there as sent."""

    __slots__ = ("log",)

    def __init__(self, hub: HubService, peer: Peer, name: str, log: Sequence[Stage]) -> None:
        super().__init__(hub, peer, name)
        self.log: Sequence[Stage] | None = log  # None once it has failed

    def put(self, data: Bytes) -> None:
        """Log the data and send it. If the log fails, this client's session does, and not that of the sender."""
        if self.log is None:
            return
        try:
            feed_all(self.log, bytes(data))
        except PyncError as error:
            self.log = None
            self.hub.loop.spawn(self._fail(error))  # later: nothing receives from a client that has just come
        else:
            super().put(data)

    async def _fail(self, error: PyncError) -> None:
        self.hub.members.pop(self, None)
        self.receiving.cancel(error)
