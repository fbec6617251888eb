"""The relay between a client and a target, and its rules: when it is over, and how both connections end.

`Bridge` is between two streams, `Exchange` between two peers that send datagrams. `flow.py` moves the bytes.

The rules
1. The end-of-file of each side is passed on once, after everything that the side sent. The other direction goes on. To
   a side that has no half-close (WebSocket) it is passed on after half a second of that side's silence.
2. Both sides ended → done. One side ended and its connection is closed → done, too, once the other has been silent for
   half a second: the closed side can receive nothing more, but if the other only ends as well, nothing is missing.
3. What breaks on one side breaks on the other, so that a part of the data is never taken for the whole: a connection
   that broke, had no proper end or was idle for too long is passed on as a reset. But what a peer had sent before is
   delivered first, as far as the other one takes it. A side that has never sent a byte needs no proper end once it has
   all that the other one sent.
4. Datagrams have no end. Their exchange is over when one of the two sessions is closed or fails.
"""

from __future__ import annotations

from pync.endpoints import LINGER
from pync.endpoints.streams import SHORTEST_LOOK
from pync.errors import PeerLost
from pync.relay.patience import silence
from pync.relay.rules import Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.relay.flow import Flow


class Bridge(Relay):
    """The relay between a client and its target, both streams. The caller closes both."""

    def __init__(self, context: Context, client: Peer, target: Peer, sending: Flow, receiving: Flow) -> None:
        """`sending` flows from the target to the client, `receiving` from the client to the target."""
        super().__init__(context, sending, receiving)
        self.client = client
        self.target = target
        self.broken: Flow | None = None  # the flow into the side whose connection broke
        self.complete = False

    async def run(self) -> None:
        """Relay until the rules say that it is over. If it did not end properly, both connections are reset."""
        try:
            await super().run()
        except PeerLost:
            await self._delivered()
            raise
        finally:
            if not self.complete:
                self.client.abort()
                self.target.abort()

    async def conduct(self) -> None:
        """Relay both directions by rules 1 and 2."""
        receiving = self.loop.spawn(self._pass(self.receiving, self.sending, self.client), self.ended)
        sending = self.loop.spawn(self._pass(self.sending, self.receiving, self.target), self.ended)
        try:
            await self.one_of(receiving, sending)
            peer, self.broken, going = (self.client, self.sending, sending)
            self.ended_by = "peer" if receiving.done else "target"
            if not receiving.done:
                peer, self.broken, going = (self.target, self.receiving, receiving)
            await self.work_or_task(peer.wait_closed(), going)
            if not going.done:
                await self.work_or_task(silence(self.broken), going)
            self.complete = going.done
        finally:
            await self.loop.cancel_and_wait(receiving, sending)
        if not self.complete:
            await self._delivered()

    async def _pass(self, flow: Flow, back: Flow, source: Peer) -> None:
        """Copy one direction. If its sink breaks, what that peer had sent is received before the error is raised."""
        try:
            await flow.copy()
            # A side that has never sent a byte, and has all that the other sent, has nothing that could be missing.
            if flow.reads or not back.ended:
                source.check_clean_end()
        except PeerLost:
            # If bytes are left unwritten, the sink broke; otherwise the source did.
            first, self.broken = self.broken is None, flow if flow.unsent() else back
            if first and self.broken is flow:
                await silence(back)
            raise
        # The kernel reports a reset once. After a write has raised it, reading returns what looks like an end-of-file.
        if self.broken is not back:
            if not (self.target if source is self.client else self.client).has_half_close:
                await silence(back)
            await flow.send_eof()

    def unsent(self) -> int:
        """Bytes that do not reach the peer whose connection broke."""
        return self.broken.unsent() if self.broken else 0

    async def _delivered(self) -> None:
        """Wait until the peer whose connection did not break has all that it was sent, LINGER seconds at most."""
        other = self.target if self.broken is self.sending else self.client
        until, pause = self.loop.clock() + LINGER, SHORTEST_LOOK
        while other.unacknowledged() and self.loop.clock() < until:
            await self.loop.sleep(pause)
            pause *= 2


class Exchange(Relay):
    """The relay between two peers that send each other datagrams."""

    ended_by = "limit"

    async def conduct(self) -> None:
        """Relay both directions by rule 4."""
        await self.loop.first(self.receiving.copy(), self.sending.copy())
