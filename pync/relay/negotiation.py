"""The answers to a peer that negotiates TELNET (`-t`): they are sent beside what the sending flow sends.

Theory: a request of three bytes makes an answer of three, and a peer need not take what it is sent. So the peer is not
read while too many answers wait for it: then its requests fill its own buffers, and not ours.

A module of its own, because only `-t` needs it.
"""

from __future__ import annotations

from pync.endpoints import Source
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop
    from pync.relay.rules import Relay
    from pync.stages.telnet import Telnet

ANSWERS_LIMIT = 64 * 1024  # bytes of answers that may wait before the next read of the peer


async def answer(relay: Relay, telnet: Telnet) -> None:
    """Send the answers to the peer as they arise, for ever. Raises PeerLost."""
    peer = relay.receiving.source = HeldBack(relay.loop, relay.receiving.source, telnet)
    while True:
        while answers := telnet.take_refusals():
            peer.sending = len(answers)
            await relay.sending.send(answers)
            peer.sending = 0
            peer.answered.notify()
        await relay.loop.wait(relay.receiving.progress)


class HeldBack(Source):
    """The peer, which is not read while more answers than the limit wait for it."""

    def __init__(self, loop: Loop, source: Source, telnet: Telnet) -> None:
        self.loop = loop
        self.source = source
        self.telnet = telnet
        self.sending = 0  # bytes of answers that were taken from `telnet` and are being sent
        self.answered = Condition()  # to be notified when they are sent

    async def read(self) -> bytes | None:
        """What the peer sends, once it has taken most of its answers."""
        while self.telnet.waiting + self.sending >= ANSWERS_LIMIT:
            await self.loop.wait(self.answered)
        return await self.source.read()

    def unread(self) -> int:
        """Bytes known to be left."""
        return self.source.unread()
