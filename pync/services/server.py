"""Serving any number of clients at once, each in a session of its own.

Theory: a session that breaks is reported and ends alone; what concerns all of them (stdout, stdin, a log) ends the
server. Clients are accepted in batches. What is done with a client is none of the server's business: that is a
`Service`, of which there is one for each way of being used.
"""

from __future__ import annotations

from pync.connections.incoming import accept, admit
from pync.endpoints.datagram_server import DatagramServer
from pync.endpoints.streams import Stream
from pync.errors import (
    AddressError,
    ConnectError,
    PeerLost,
    ProgramError,
    ProtocolError,
    ProxyError,
    TimedOut,
    TlsError,
)
from pync.events import Denied, SessionFailed
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.context import Context
    from pync.endpoints.datagram_server import DatagramPeer
    from pync.events import Address
    from pync.net.access import Rules
    from pync.sessions.conversation import Peer

BATCH = 64  # clients accepted before the others have their turn
# Failures that end one session.
ITS_OWN = (AddressError, ConnectError, PeerLost, ProgramError, ProtocolError, ProxyError, TimedOut, TlsError)


class Service:
    """What is done with each client, and beside them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.loop = context.loop
        self.config = context.config

    async def run(self) -> None:
        """What goes on beside the sessions. The server ends with it."""
        await self.loop.wait(Condition())

    async def session(self, far: Peer) -> None:
        """Serve one client. Raises what ends this session, one of `ITS_OWN`, or what ends the server."""
        raise NotImplementedError


class Server:
    """The clients of one listener."""

    def __init__(self, context: Context, sockets: list[socket.socket], allowed: Rules, service: Service) -> None:
        self.context = context
        self.loop = context.loop
        self.config = context.config
        self.sockets = sockets
        self.allowed = allowed
        self.service = service
        self.sessions = 0

    async def run(self) -> None:
        """Serve until the service has come to its end."""
        if self.config.datagram:
            mailroom = DatagramServer(self.loop, self.context.report, self._welcome)
            works = [mailroom.receive(sock) for sock in self.sockets]
        else:
            works = [self._accept(sock) for sock in self.sockets]
        for work in works:
            self.loop.spawn(work)
        await self.service.run()

    async def _accept(self, sock: socket.socket) -> None:
        while True:
            await self.loop.readable(sock.fileno())
            for _ in range(BATCH):
                client = await accept(self.context, sock)
                if client is None:
                    break
                if self._refused(client.address):
                    client.close()
                else:
                    self.loop.spawn(self._session(client))

    def _welcome(self, peer: DatagramPeer) -> bool:
        if self._refused(peer.address):
            return False
        self.loop.spawn(self._session(peer))
        return True

    def _refused(self, peer: Address) -> bool:
        limit = self.config.max_conns
        if limit is not None and self.sessions >= limit:
            self.context.report(Denied(peer=peer, why=f"connection limit reached ({limit})"))
            return True
        if not admit(self.context, self.allowed, peer):
            return True
        self.sessions += 1
        return False

    async def _session(self, far: Peer) -> None:
        try:
            if self.config.tls and isinstance(far, Stream):
                from pync.connections.secured import secured

                far = await secured(self.context, far)
            await self.service.session(far)
        except ITS_OWN as error:
            self.context.report(SessionFailed(peer=far.address, error=error))
        finally:
            far.close()
            self.sessions -= 1
