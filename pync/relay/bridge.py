"""Between two peers: when a connection that is passed on to another one is over, and how it ends.

`Bridge` is between two streams, `Exchange` between two who send datagrams. As in `relay.py` nothing here moves a byte.

The rules
1. The end-of-file of each side is passed on once, after all that it said, and the other direction goes on.
2. Both ended → done. A side that has ended and is then gone altogether has nobody left to hear the other one.
3. What breaks on one side breaks on the other: nobody may take a part of something for the whole. So a connection that
   was lost, or had no proper end, or was idle for too long, is passed on as a reset. But what a peer had said before
   is delivered first, as far as the other one takes it.
4. Datagrams have no end: it is over when one of the two sessions is closed, or lost.
"""

from __future__ import annotations

from pync.endpoints.streams import LINGER, SHORTEST_LOOK
from pync.errors import PeerLost
from pync.relay.rules import Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Ending
    from pync.endpoints.streams import Stream
    from pync.loop.kernel import Loop
    from pync.relay.flow import Flow


class Bridge(Relay):
    """Between far (a client) and near (the connection that was made for it). The caller closes both."""

    def __init__(
        self, loop: Loop, sending: Flow, receiving: Flow, ending: Ending, *, far: Stream, near: Stream
    ) -> None:
        """`outward` flows from near to far, `inward` from far to near."""
        super().__init__(loop, sending, receiving, ending)
        self.far = far
        self.near = near
        self.lost: Flow | None = None  # the flow to whom we have lost
        self.complete = False

    async def run(self) -> None:
        """Relay until it is over. What did not come to its end is broken on both sides then."""
        try:
            await super().run()
        except PeerLost:
            await self._delivered()
            raise
        finally:
            if not self.complete:
                self.far.abort()
                self.near.abort()

    async def conduct(self) -> None:
        """Rules 1 and 2."""
        hearing = self.loop.spawn(self._pass(self.receiving, self.sending, self.far), self.ended)
        speaking = self.loop.spawn(self._pass(self.sending, self.receiving, self.near), self.ended)
        try:
            await self.one_of(hearing, speaking)
            peer, self.lost, going = (self.far, self.sending, speaking)
            if not hearing.done:
                peer, self.lost, going = (self.near, self.receiving, hearing)
            await self.one_of_both(peer.wait_closed(), going)
            self.complete = going.done
        finally:
            await self.loop.cancel_and_wait(hearing, speaking)
        if not self.complete:
            await self._delivered()

    async def _pass(self, flow: Flow, back: Flow, source: Stream) -> None:
        """One direction. A peer that takes nothing any more is heard out before that is told."""
        try:
            await flow.copy()
            source.check_clean_end()
        except PeerLost:
            first, self.lost = self.lost is None, flow if flow.unsent() else back  # what could not be written is left
            if first and self.lost is flow:
                await self.silence(back)
            raise
        if self.lost is not back:  # a reset is told once, here to who wrote; reading finds something like an end then
            await flow.send_eof()

    def unsent(self) -> int:
        """Bytes that the peer which was lost will not get."""
        return self.lost.unsent() if self.lost else 0

    async def _delivered(self) -> None:
        """Wait until the other peer has all that it was sent, or for as long as one waits at an end."""
        other = self.near if self.lost is self.sending else self.far
        until, pause = self.loop.clock() + LINGER, SHORTEST_LOOK
        while other.unacknowledged() and self.loop.clock() < until:
            await self.loop.sleep(pause)
            pause *= 2


class Exchange(Relay):
    """Between two who send each other datagrams."""

    async def conduct(self) -> None:
        """Rule 4."""
        await self.loop.first(self.receiving.copy(), self.sending.copy())
