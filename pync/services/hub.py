"""A hub: what one client says goes to all the others (`--broker`), or line by line with names to it (`--chat`).

Theory: each client has a task that hears it, and an outbox (`endpoints/outbox.py`). Before anything is told, room is
waited for in all outboxes: so who is slow but moving slows those down who speak, and nobody loses anything, while who
takes nothing is cut off and stops nobody (`endpoints/queues.py`).

A client that half-closes has nothing more to say but goes on listening, until its connection is gone. One that has
closed its socket looks the same until something is sent to it; so a chat tells it at once that it is heard no more.

Our stdin speaks too; nothing is written to stdout. Must never give a client its own words back, nor mix those of two
within a read (`--broker`) or a line (`--chat`).
"""

from __future__ import annotations

from pync.endpoints import CHUNK
from pync.endpoints.client_queues import Queues
from pync.endpoints.hangups import Hangups
from pync.endpoints.outbox import Outbox
from pync.endpoints.streams import Stream, StreamSocket
from pync.errors import PeerLost, TimedOut
from pync.loop.tasks import Condition
from pync.services.server import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pync.context import Context
    from pync.endpoints import Source
    from pync.loop.tasks import Task
    from pync.sessions.conversation import Peer
    from pync.stages import Stage

IDLE_STEPS = 8  # how finely the idle limit looks: it strikes after 1 to 1 + 1/8 of its time


class Member(Outbox):
    """One client, which has a task that hears it from the moment it is among the others."""

    __slots__ = ("heard", "hearing", "label", "left", "name", "stages")
    hearing: Task

    def __init__(self, hub: HubService, far: Stream, name: str) -> None:
        super().__init__(hub.queues, far)
        self.name = name
        self.label = ""  # how a newcomer is told of it, once the others know it
        self.stages = hub.stages_of_client(name)
        self.heard = 0  # how often it said something
        self.left: Condition | None = None  # once it has nothing more to say: its connection is gone

    def lost(self, error: PeerLost) -> None:
        """Its session ends; if it was only listening, this is how it leaves."""
        if self.left:
            self.left.notify()
        else:
            self.hearing.cancel(error)

    def cut_off(self, error: PeerLost) -> None:
        """Its session ends."""
        self.hearing.cancel(error)


class HubService(Service):
    """All the clients, and what they tell each other."""

    def __init__(self, context: Context, stdin: Source | None) -> None:
        super().__init__(context)
        self.stdin = stdin
        self.members: dict[Member, None] = {}
        self.queues = Queues(context.loop)
        self.hangups = Hangups(context.loop)
        self.joined = Condition()
        self.chats = context.config.hub == "chat"
        self.names = 0  # given so far: none is given twice

    async def run(self) -> None:
        """Tell what stdin says, while somebody is there; after its end go on without. Raises InputError."""
        if self.stdin:
            await self._speak(self.stdin)
        await super().run()

    async def session(self, far: Peer) -> None:
        """Have one client in until it is gone. Raises PeerLost, TimedOut, OutputError."""
        assert isinstance(far, Stream)
        self.names += 1
        member = Member(self, far, f"user{self.names}")
        try:
            await self._enter(member)
            await self._attend(member)
            await self._leave(member)
        finally:
            far.close()
        member.hearing.result()

    async def _attend(self, member: Member) -> None:
        """See to it that one client is heard, told everything, and not idle for too long; until it is gone."""
        limit = self.config.ending.idle_timeout
        member.hearing = self.loop.spawn(self._hear(member), Condition())
        watching = self.loop.spawn(self._watch(member, limit), Condition()) if limit else None
        try:
            while not member.hearing.done:
                await self.loop.wait(member.hearing.ended)
        finally:
            self._forget(member)  # first: whatever is told from now on is not for it
            await self.loop.cancel_and_wait(*(task for task in (member.hearing, member.writing, watching) if task))
        if isinstance(member.hearing.error, PeerLost):
            member.far.abort()  # an end-of-file would say that this is all

    async def _hear(self, member: Member) -> None:
        """Tell the others what one client says; after its last word, wait until it is gone."""
        far = member.far
        while True:
            if isinstance(far, StreamSocket):
                far.size = CHUNK  # what is read once is sent to many: the fewer reads, the better
            data = await far.read()
            if data is None:
                break
            member.heard += 1
            for stage in member.stages:
                data = stage.feed(data)
            await self.tell(data, member)
        far.check_clean_end()
        await self._finish(member.stages, member)
        member.left = Condition()
        if self.chats:
            member.put(b"<announce> you are only listening now.\n")  # a client that has closed answers with a reset
        await self.hangups.of(far.sock.fileno(), member.left)

    async def tell(self, data: bytes, speaker: Member | None = None) -> None:
        """Tell all but the speaker, once there is room for it."""
        if data:
            await self.queues.room()
            self._put(data, speaker)

    def _put(self, data: bytes, speaker: Member | None) -> None:
        for member in self.members:
            if member is not speaker:
                member.put(data)

    async def _speak(self, stdin: Source) -> None:
        stages = self._stages_of_stdin()
        while True:
            await self._somebody()
            data = await stdin.read()
            if data is None:
                break
            for stage in stages:
                data = stage.feed(data)
            await self._somebody()  # all may have left meanwhile: it is for the next who comes
            await self.tell(data)
        await self._finish(stages)

    async def _somebody(self) -> None:
        while not self.members:
            await self.loop.wait(self.joined)

    async def _finish(self, stages: Sequence[Stage], speaker: Member | None = None) -> None:
        """Tell what the stages still hold: a last line that was not ended."""
        for position, stage in enumerate(stages):
            tail = stage.flush()
            for later in stages[position + 1 :]:
                tail = later.feed(tail)
            await self.tell(tail, speaker)

    async def _enter(self, member: Member) -> None:
        """Have it among the others. In a chat everybody learns of it, and it learns who the others are."""
        if self.chats:
            await self.queues.room()  # also for announcements: nothing else may hold up a flood of them
            self._announce(member)
        self.members[member] = None
        self.joined.notify()

    def _announce(self, member: Member) -> None:
        from pync.stages.chat_lines import clean

        host = clean(member.far.address.host) or "a unix client"
        others = ", ".join([other.label for other in self.members]) or "nobody"
        member.label = f"{host} as <{member.name}>"
        arrival = f"<announce> {host} is connected as <{member.name}>.\n"
        self._put(arrival.encode(), None)
        member.put(f"{arrival}<announce> already connected: {others}.\n".encode())

    async def _leave(self, member: Member) -> None:
        """Tell the others its last line, and that it has gone."""
        await self._finish(member.stages)
        if self.chats:
            await self.tell(f"<announce> <{member.name}> is disconnected.\n".encode())

    def _forget(self, member: Member) -> None:
        self.members.pop(member, None)
        self.queues.discard(member)

    async def _watch(self, member: Member, limit: float) -> None:
        """End the session of a client that has neither said nor taken anything for so many seconds."""
        seen, since = -1, self.loop.clock()
        while self.loop.clock() - since < limit:
            await self.loop.sleep(limit / IDLE_STEPS)
            if member.heard + member.moved != seen:
                seen, since = member.heard + member.moved, self.loop.clock()
        idle = TimedOut(f"connection to {member.far.address}", f"nothing came or went for {limit:g} s")
        member.hearing.cancel(idle)

    def stages_of_client(self, name: str) -> Sequence[Stage]:
        """What a client's words go through: the logs, then, in a chat, what makes clean lines of them."""
        return (*self._logs(sent=False), *self._lines(name))

    def _stages_of_stdin(self) -> Sequence[Stage]:
        stages = [*self._lines("user0")]
        if self.config.crlf:
            from pync.stages.crlf import Crlf

            stages.append(Crlf())
        return (*stages, *self._logs(sent=True))

    def _lines(self, name: str) -> Sequence[Stage]:
        if not self.chats:
            return ()
        from pync.stages.chat_lines import Lines

        return (Lines(f"<{name}> "),)

    def _logs(self, *, sent: bool) -> Sequence[Stage]:
        if not self.context.logs:
            return ()
        from pync.relay.log_files import RECEIVED, SENT

        return self.context.logs.copy(SENT if sent else RECEIVED)
