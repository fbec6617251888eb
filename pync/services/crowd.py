"""All senders of datagrams in one conversation with stdin and stdout: none of them has a session of its own.

Theory: a datagram is written whole, and stdin goes to all peers that are known. So one flow each way does for all of
them, and a peer costs no more than its address. Only what counts for one peer alone needs sessions: see
`needs_no_sessions`.

A module of its own, because only a server of datagrams imports it.
"""

from __future__ import annotations

from pync.endpoints.datagram_server import Crowd
from pync.endpoints.null import Null
from pync.endpoints.stdio import STDIN, is_regular
from pync.endpoints.wrappers import Attended
from pync.events import Address
from pync.listener_events import SessionFailed
from pync.relay.flow import Session
from pync.relay.rules import Relay
from pync.services import Service
from pync.sessions.conversation import flows, open_stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Source
    from pync.endpoints.datagram_server import DatagramPeer
    from pync.errors import PeerLost


def needs_no_sessions(context: Context) -> bool:
    """Whether nothing distinguishes the peers: no file that each gets from its start, no count, dialogue or log."""
    config, ending = context.config, context.config.ending
    own_file = config.send and is_regular(STDIN)
    own_log = context.logs and context.logs.descriptors
    return not (own_file or own_log or config.telnet or ending.receive_limit or ending.quit_after is not None)


class CrowdService(Service):
    """One flow from all peers to stdout, and one from stdin to all of them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stdio = stdio = open_stdio(context)
        self.crowd = crowd = Crowd(context.loop, self._report)
        self.sending, self.receiving, _ = flows(context, crowd, self.source(stdio.source), stdio.sink)

    def source(self, stdin: Source | None) -> Source:
        """What the peers are sent, of a stdin that is read only while there are peers."""
        crowd = self.crowd
        return Attended(self.loop, stdin, crowd.peers, crowd.joined) if stdin and crowd else Null()

    async def run(self) -> None:
        """Relay until stdout or stdin fails, or stdout's reader leaves. Raises OutputError, InputError."""
        # One session, which lasts as long as the server.
        relay = Relay(self.context, self.sending, self.receiving)
        self.context.running[Session(self.context, Address(host="all peers"), relay)] = None
        works = [self.receiving.copy(), self.send()]
        if self.stdio.watched:
            from pync.relay.unread import unread

            works.append(unread(self.loop, self.stdio, self.sending))
        await self.loop.first(*works)

    async def send(self) -> None:
        """Send what the source gives to all peers. When this returns, the server ends."""
        await self.sending.copy()
        await super().run()

    def _report(self, peer: DatagramPeer, error: PeerLost) -> None:
        self.context.report(SessionFailed(peer=peer.address, error=error))
