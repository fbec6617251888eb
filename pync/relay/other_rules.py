"""The rules of ending that other netcats have, each of which `Behaviour` may put in the place of one in `rules.py`.

The rules
1. stdin's end → half-close at once, if that is asked for at all, and go on receiving. A stdin that is not read ends
   with the first event of the peer's, as it does in the loop of nc.openbsd.
2. The peer's end (`after_peer`) → `stay`: all of stdin is sent, until its end or until the connection is closed;
   `drain`: what stdin has ready is sent, which is a file to its end and a pipe until it would block; `leave`: only what
   was read already. Then it is over. stdout stays open until then.
3. Whatever was read from stdin is sent before an end, unless the connection breaks (`loss_ends`) or the peer takes
   nothing for as long as the idle limit allows (`idle_ends`).
4. Datagrams have no end, and a client stays (`datagrams_stay`). An empty one is no read. Over a unix socket even the
   break of the connection is none, where that would be an end at all (`loss_ends`).
5. `quit_after` runs from stdin's end, or follows the end of the conversation (`quit_from`), in which the peer is
   received from, or not (`quit_discards`).
6. The idle limit ends the conversation. With `idle_periods` it begins at stdin's end, and only the peer counts. A limit
   of 0 seconds ends the conversation as soon as stdin has nothing ready.
7. A stdout that fails is a failure of the conversation: at once, or once rule 2 has been followed (`sends_on`).

A module of its own, because pync's own command line has no use for it.
"""

from __future__ import annotations

from pync.endpoints import Source
from pync.endpoints.stdio import Stdin
from pync.endpoints.wrappers import PacedAfter
from pync.errors import InputError, OutputError, PeerLost
from pync.loop.tasks import Condition
from pync.relay.idle import IDLE, Idle, movement, unsent, watch
from pync.relay.other_reads import FirstRead, Reads, Run
from pync.relay.patience import after_stdin, silence
from pync.relay.rules import Conversation, Relay
from pync.system import looks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.behaviour import Behaviour
    from pync.context import Context
    from pync.endpoints import Peer, Sink
    from pync.endpoints.stdio import Stdio
    from pync.loop.tasks import Task, Work
    from pync.relay.rules import Flows

    MakeFlows = Callable[[Context, Peer, Source, Sink], Flows]

LOOK = 0.05  # seconds between two looks whether stdin has anything ready


def other_conversation(context: Context, peer: Peer, stdio: Stdio, make_flows: MakeFlows) -> Conversation:
    """A conversation by these rules. `make_flows` makes its flows."""
    config = context.config
    behaviour = config.behaviour
    assert behaviour is not None
    source = stdio.source
    if source and behaviour.repeat_first_read and len(config.ports) > 1:
        source = FirstRead(context.loop.shared(Run), source, behaviour.read_size)
    flows = make_flows(context, peer, source or Source(), stdio.sink)
    return OtherConversation(context, behaviour, peer, stdio, flows)


class OtherConversation(Conversation):
    """The relay between a peer and our stdin and stdout. It ends the connection, too."""

    knows_its_end = True

    def __init__(self, context: Context, behaviour: Behaviour, peer: Peer, stdio: Stdio, flows: Flows) -> None:
        super().__init__(context, peer, stdio, flows)
        self.behaviour = behaviour
        self.all = self.loop.shared(Run)
        self.keep_open = context.config.keep_open
        self.discards = behaviour.quit_discards and self.ending.quit_after is not None
        # Only a writer finds out that a path of unix datagrams was closed.
        self.waits_when_lost = behaviour.loss_ends and not peer.has_eof and peer.address.port is None
        self.lingers = True  # the peer has a while to take what it was sent
        self.failure: OutputError | None = None  # of stdout, to be raised later
        if limit := self.ending.receive_limit:
            self.receiving.source = Reads(self.receiving.source, behaviour.read_size if peer.has_eof else None)
            if behaviour.limit_over_all:
                self.receiving.read_limit = max(1, limit - self.all.reads)

    def works(self) -> list[Work[None]]:
        """The conversation, its limits, and the answers to negotiation."""
        works: list[Work[None]] = [self.conduct()]
        if self.idle_limit is not None:
            works.append(self._idle(self.idle_limit))
        if self.ending.quit_after is not None and self.behaviour.quit_from != "both":
            works.append(self._quit(self.ending.quit_after))
        if self.telnet:
            works.append(self._answer(self.telnet))
        return works

    async def run(self) -> None:
        """Relay until the rules end it, and end the connection. Raises as every relay does."""
        try:
            await Relay.run(self)
            if self.lingers and self.sending.moved and not self.receiving.ended:
                await self.peer.linger()
            await self.peer.shutdown()
        except PeerLost:
            if not self.behaviour.loss_ends:
                raise
            self.ended_by = "peer"
        finally:
            self.all.reads += self.receiving.reads
        await self._quit_later()
        if self.failure:
            raise self.failure
        if not self.keep_open:
            await self.stdio.sink.send_eof()

    async def conduct(self) -> None:
        """Relay both directions by rules 1 to 4."""
        receiving = self.loop.spawn(self._receive(), self.ended)
        sending = self.loop.spawn(self._send(), self.ended)
        try:
            await self.one_of(receiving, sending)
            if receiving.done:
                await self._peer_ended(sending)
            else:
                await self._stdin_ended(receiving)
            self.ended_by = "peer"
        finally:
            await self.loop.cancel_and_wait(receiving, sending)

    async def _receive(self) -> None:
        try:
            await self.receiving.copy()
        except PeerLost:
            if self.waits_when_lost:
                await self.loop.wait(Condition())
            raise
        except OutputError as error:
            if not self.behaviour.sends_on:
                raise
            self.failure = error

    async def _send(self) -> None:
        try:
            if self.stdio.source:
                await self.sending.copy()
            else:
                await self.loop.wait(self.receiving.progress)
        except InputError:
            if not self.behaviour.unreadable_ends:
                raise
        except PeerLost:
            # What the peer had sent before the connection broke is received first.
            if self.receives and self.peer.has_eof:
                await silence(self.receiving)
            if not self.waits_when_lost:
                raise
        self.sending.ended = True
        self.sending.progress.notify()
        if not self.discards:
            await self._half_close()

    async def _half_close(self) -> None:
        if self.ending.half_close and self.peer.has_eof and not self.all.first:
            await self.sending.send_eof()

    async def _stdin_ended(self, receiving: Task) -> None:
        if self.discards:
            while self.receiving.waiting_since is None and not receiving.done:
                await self.loop.wait(self.receiving.progress, self.loop.clock() + LOOK)
            await self.loop.cancel_and_wait(receiving)
            await self._half_close()  # only now, because the peer may answer it
            await self.peer.linger()
            self._close()
            await self.loop.wait(Condition())  # `_quit` ends the conversation
        elif self.behaviour.datagrams_stay and self.receives:
            await self.one_of(receiving)
        else:
            await super()._stdin_ended(receiving)

    async def _peer_ended(self, sending: Task) -> None:
        limited = self.receiving.reads == self.receiving.read_limit
        how = "leave" if limited or not self.peer.has_eof else self.behaviour.after_peer
        if sending.done or not self.stdio.source:
            return
        if how == "rules":
            await super()._peer_ended(sending)
        elif how == "stay":
            await self.work_or_task(self.peer.wait_closed(), sending)
        else:
            await self.work_or_task(self._sent(drains=how == "drain"), sending)

    async def _sent(self, *, drains: bool) -> None:
        """Wait until what was read from stdin is sent, and with `drains` what stdin has ready."""
        while self._holds() or (drains and self._has_ready()):
            await self.loop.wait(self.sending.progress, self.loop.clock() + LOOK)

    def _holds(self) -> bool:
        """Whether bytes were read from stdin and not sent yet."""
        if not self.stdio.source or self.sending.ended:
            return False
        return self.sending.waiting_since is None or self._holds_back()

    def _holds_back(self) -> bool:
        """Whether bytes that were read from stdin wait for something else than the peer: for the end of a pause."""
        source = self.stdio.source
        return self.sending.waiting_since is not None and self.sending.unsent() > (source.unread() if source else 0)

    def _has_ready(self) -> bool:
        """Whether stdin has something that can be read without waiting."""
        source = self.stdio.source
        if source is None or self.sending.ended:
            return False
        return source.unread() > 0 or (isinstance(source, Stdin) and looks.is_readable(source.fd))

    # -- Rules 5 and 6

    async def _quit(self, seconds: float) -> None:
        await after_stdin(self.sending, seconds)
        if self.all.first:  # what is repeated has no end
            await self.loop.wait(Condition())

    async def _quit_later(self) -> None:
        """Find out whether the run is over, perhaps after `quit_after` seconds more."""
        seconds, begins = self.ending.quit_after, self.behaviour.quit_from
        if seconds is None:
            return
        self.all.over = begins != "both" and self.sending.ended and not self.all.first
        if seconds and self.lingers and not self.all.over and begins != "stdin":
            self._close()
            await self.loop.sleep(min(seconds, self.idle_limit or seconds))
            self.all.over = True

    def _close(self) -> None:
        """Close the connection before its time: what still comes is refused."""
        self.lingers = False
        self.peer.close()

    async def _idle(self, limit: float) -> None:
        if not limit:
            await self._sent(drains=True)
            return
        try:
            if periods := self.behaviour.idle_periods:
                await self._silent_periods(periods, limit)
            else:
                await watch(self.loop, IDLE, limit, self._movement, lambda: unsent(self.sending, self.receiving))
        except Idle:
            if not self.behaviour.idle_ends:
                raise
        self.ended_by, self.lingers = "limit", False

    async def _silent_periods(self, count: int, seconds: float) -> None:
        """Wait until the peer has been silent so many times for so many seconds, since stdin's end."""
        while not self.sending.ended:
            await self.loop.wait(self.sending.progress)
        while count:
            count -= not await self.loop.wait(self.receiving.progress, self.loop.clock() + seconds)

    def _movement(self) -> object:
        source = self.sending.source
        pausing = isinstance(source, PacedAfter) and source.begun
        return self.loop.clock() if pausing or self._holds_back() else movement(self.sending, self.receiving)
