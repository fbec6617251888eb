"""A service whose clients have logs of their own: it opens them before a session begins, and closes them at its end.

A module of its own, around any other service: only a listener with `%` in the name of a log imports it.
"""

from __future__ import annotations

from pync.services import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Peer
    from pync.relay.client_logs import LogsByName


class LoggedService(Service):
    """Another service, with logs for each client."""

    def __init__(self, service: Service, logs: LogsByName) -> None:
        super().__init__(service.context)
        self.service = service
        self.logs = logs
        self.most = service.most
        self.descriptors = service.descriptors + logs.descriptors
        self.ready_at_once = service.ready_at_once

    async def run(self) -> None:
        """Do what the service does beside the sessions."""
        await self.service.run()

    async def ready(self, client: Peer) -> bool:
        """As the service. One that has to wait may do all that it does with a client here."""
        if self.ready_at_once:
            return True
        self.logs.begin(client)
        try:
            return await self.service.ready(client)
        finally:
            self.logs.end(client)
            self.used_up = self.service.used_up

    async def session(self, client: Peer) -> int | None:
        """As the service. Raises LogError, too."""
        if not self.ready_at_once:
            return await self.service.session(client)
        self.logs.begin(client)
        try:
            return await self.service.session(client)
        finally:
            self.logs.end(client)
