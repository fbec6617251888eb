"""The clients of a server of datagrams: which are served at the same time, and which has to go for another.

Theory: a datagram announces no end and can come from a forged address. So a session ends when there was no traffic for
a while, and a new peer is never turned away for want of room: the peer that is silent for longest goes. The new session
begins when that one has ended, with its program and its descriptors. Until then its datagrams wait.
"""

from __future__ import annotations

from pync.endpoints.datagram_server import PEERS, DatagramServer
from pync.errors import TimedOut
from pync.listener_events import SessionFailed
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.endpoints.datagram_server import DatagramPeer
    from pync.loop.tasks import Work
    from pync.services import Service
    from pync.services.server import Server

QUIET = 120.0  # seconds without a datagram that end a session (RFC 4787, REQ-5: at least two minutes)


class DatagramClients:
    """The sessions of all peers of the server's sockets."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loop = server.loop
        self.service = server.service
        self.most = most_sessions(server.config, server.service)
        self.running = 0  # sessions that have begun and not ended: a session that was dismissed takes time to end
        self.left = Condition()  # notified when a session has ended
        report = server.context.report
        self.datagrams = DatagramServer(
            self.loop, report, self._welcome, server.wall.report, self.most, self.service.crowd
        )

    def works(self) -> list[Work[None]]:
        """What has to run as long as the server does."""
        works = [self.datagrams.receive(sock) for sock in self.server.bound.sockets]
        asked = self.server.config.ending.idle_timeout
        if self.service.crowd or not asked:  # a session has a limit of its own, if one was asked for
            works.append(self.datagrams.dismiss_silent(asked or QUIET, self._dismissed))
        return works

    def _welcome(self, peer: DatagramPeer) -> bool:
        """A new peer has sent datagrams: begin its session, or refuse it."""
        if not self.server.admit(peer.address):
            return False
        if not self.service.crowd:
            peer.session = self.loop.spawn(self._serve(peer))
        return True

    async def _serve(self, peer: DatagramPeer) -> None:
        while self.running >= self.most:
            await self.loop.wait(self.left)
        self.running += 1
        if not self.server.config.program:  # all sessions but a program's end with what their peer has sent
            peer.session = None
        try:
            await self.server.serve(peer)
        finally:
            self.running -= 1
            self.left.notify()

    def _dismissed(self, peer: DatagramPeer) -> None:
        """A peer was silent for too long: report it if there was a limit asked for, as a session does."""
        config = self.server.config
        if (limit := config.ending.idle_timeout) and not (config.behaviour and config.behaviour.idle_ends):
            error = TimedOut("idle connection", f"nothing came or went for {limit:g} s")
            self.server.context.report(SessionFailed(peer=peer.address, error=error))


def most_sessions(config: Config, service: Service) -> int:
    """Sessions at a time: as many as were asked for, and as there are descriptors for."""
    most = min(config.max_conns or service.most or PEERS, PEERS)
    if service.descriptors:
        from pync.limits import free_descriptors

        most = min(most, free_descriptors() // service.descriptors)
    return max(1, most)
