"""A hub: what one client sends goes to all the others, as it comes (`--broker`) or as lines with names (`--chat`).

Theory: each client has a task that receives from it, and an outbox (`endpoints/client_queues.py`). Before anything is
sent to all, the hub waits for room in every outbox. So a client that is slow but takes something slows the senders
down, and no byte is dropped, while a client that takes nothing is cut off and stops no other. The outboxes share what
was read, and few clients are read at a time, so memory is bounded for all clients together.

A client that half-closes sends nothing more but goes on receiving until its connection is closed. A client that has
closed its socket looks the same until something is sent to it. So a chat sends it a line, which finds that out, and a
broker has it go first when another client needs its place (`endpoints/half_closed.py`).

Our stdin is sent to all clients; nothing is written to stdout. A hub must never send a client its own bytes, nor mix
those of two clients within a read (`--broker`) or a line (`--chat`).
"""

from __future__ import annotations

from pync.endpoints.client_queues import Queues
from pync.endpoints.half_closed import HalfClosed
from pync.endpoints.wrappers import Attended
from pync.errors import PyncError, TimedOut
from pync.events import Address
from pync.loop.hangups import Hangups
from pync.loop.tasks import Cancelled, Condition
from pync.relay.flow import Session
from pync.services import Service
from pync.sessions.hub_member import LoggedMember, Member
from pync.stages import feed_all, flush_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pync.context import Context
    from pync.endpoints import Peer, Source
    from pync.stages import Stage


HOLDERS = 64  # clients of which something is read and waits for room, at most: 16 MiB
NAMES = 50  # names of clients that a newcomer to a chat is sent; of more clients it is sent the number


class HubService(Service):
    """All the clients, and what they send each other."""

    ended_by = "us"
    sent = property(lambda self: sum(member.sent for member in self.members))
    received = property(lambda self: sum(member.received for member in self.members))

    def __init__(self, context: Context, stdin: Source | None) -> None:
        super().__init__(context)
        self.members: dict[Member, None] = {}
        self.joined = Condition()
        self.queues = Queues(context.loop)
        self.half_closed = HalfClosed(self.members, self.room_for_clients())
        self.chats = context.config.hub == "chat"
        self.holders = 0  # clients of which something was read and not sent yet
        self.released = Condition()  # notified when there is one less
        self.names = 0  # names given so far; none is given twice
        self.stdin = Attended(context.loop, stdin, self.members, self.joined) if stdin else None
        context.running[Session(context, Address(host="all members"), self)] = None

    async def run(self) -> None:
        """Send stdin to the clients while there are any; after its end go on without it. Raises InputError."""
        if self.stdin:
            stages = self._stages_of_stdin()
            while (data := await self.stdin.read()) is not None:
                await self.send(feed_all(stages, data))
            await self._flush(stages)
        await super().run()

    async def session(self, client: Peer) -> int | None:
        """Keep one client among the others until it leaves. Raises PeerLost, TimedOut, OutputError."""
        member = self._new_member(client)
        failure: BaseException | None = None
        try:
            await self._enter(member)
            await self._attend(member)
            await self._leave(member)
            failure = member.receiving.error
        except BaseException as error:
            failure = error
            if isinstance(error, Cancelled):
                # The server ends before the other clients have. What is broken off must not look whole to this one.
                client.abort()
            raise
        finally:
            client.close()
            self._note_end(member, failure)
            del failure  # it holds this frame
        member.receiving.result()
        return None

    def _new_member(self, client: Peer) -> Member:
        self.names += 1
        name = f"user{self.names}"
        if self.context.logs and self.context.logs.descriptors:
            from pync.relay.log_files import SENT

            return LoggedMember(self, client, name, self.context.logs.own(client).copy(SENT))
        return Member(self, client, name)

    def _note_end(self, member: Member, error: BaseException | None) -> None:
        # A session that is made only now: while there are thousands of members, the hub itself is one for all of them.
        session = Session(self.context, member.peer.address, member)
        session.since = member.since
        session.__exit__(None, error, None)

    async def _attend(self, member: Member) -> None:
        """Run the tasks of one client until it leaves, fails, is cut off, or is idle for too long."""
        limit = self.config.ending.idle_timeout
        member.receiving = self.loop.spawn(self._receive(member), Condition())
        watching = self.loop.spawn(self._watch(member, limit), Condition()) if limit else None
        try:
            while not member.receiving.done:
                await self.loop.wait(member.receiving.ended)
        finally:
            # The member goes first: what is sent from now on is not for it.
            self.members.pop(member, None)
            self.queues.discard(member)
            self.half_closed.discard(member)
            tasks = (member.receiving, member.writing, watching)
            await self.loop.cancel_and_wait(*(task for task in tasks if task))
        error = member.receiving.error
        if isinstance(error, PyncError) and not isinstance(error, TimedOut):
            member.peer.abort()  # an end-of-file would look as if nothing was missing

    async def _receive(self, member: Member) -> None:
        """Send the others what one client sends; after its half-close, wait until its connection is closed."""
        peer = member.peer
        while await self._pass_on(member):
            pass
        peer.check_clean_end()
        await self._flush(member.stages, member)
        if not peer.has_half_close:
            return
        member.left = Condition()
        if self.chats:
            # A client that has closed its socket answers this with a reset.
            member.put(b"<announce> you are only listening now.\n")
        else:
            self.half_closed.add(member)
        await self.loop.shared(Hangups).wait(peer.sock.fileno(), member.left)

    async def _pass_on(self, member: Member) -> bool:
        """Send the others what one read gives; False at the client's end."""
        peer = member.peer
        plain = peer.raw()  # TLS may hold decrypted bytes, which a descriptor does not show
        takes_turns = plain is not None and len(self.members) > HOLDERS
        if plain is not None and takes_turns:
            await self.loop.readable(plain)
            while self.holders >= HOLDERS:
                await self.loop.wait(self.released)
        self.holders += takes_turns
        try:
            peer.expect_much()  # what is read once is sent to many: fewer reads are better
            data = await peer.read()
            if data is None:
                return False
            member.reads += 1
            member.received += len(data)
            await self.send(feed_all(member.stages, data), member)
            member.passed_on = member.reads
            return True
        finally:
            if takes_turns:
                self.holders -= 1
                self.released.notify()

    async def send(self, data: bytes, sender: Member | None = None) -> None:
        """Send data to all clients but the sender, once there is room for it."""
        if data:
            await self.queues.room()
            self._put(data, sender)

    def _put(self, data: bytes, sender: Member | None) -> None:
        self.half_closed.sent_to_all()
        for member in self.members:
            if member is not sender:
                member.put(data)

    async def _flush(self, stages: Sequence[Stage], sender: Member | None = None) -> None:
        """Send what the stages still hold: a last line without an end."""
        for tail in flush_all(stages):
            await self.send(tail, sender)

    async def _enter(self, member: Member) -> None:
        """Put the client among the others. In a chat all are informed of it, and it is informed of them."""
        if self.chats:
            # Announcements wait for room like data, because nothing else limits a flood of them.
            await self.queues.room()
            self._announce(member)
        self.members[member] = None
        self.half_closed.make_room()
        self.joined.notify()

    def _announce(self, member: Member) -> None:
        from pync.stages.chat_lines import printable_line

        host = printable_line(member.peer.address.host) or "a unix client"
        count = len(self.members)
        others = ", ".join([other.label for other in self.members]) if count <= NAMES else f"{count} clients"
        member.label = f"{host} as <{member.name}>"
        arrival = f"<announce> {host} is connected as <{member.name}>.\n"
        self._put(arrival.encode(), None)
        member.put(f"{arrival}<announce> already connected: {others or 'nobody'}.\n".encode())

    async def _leave(self, member: Member) -> None:
        """Send the others the client's last line, and in a chat that it has left."""
        await self._flush(member.stages)
        if self.chats:
            await self.send(f"<announce> <{member.name}> is disconnected.\n".encode())

    async def _watch(self, member: Member, limit: float) -> None:
        """End the session of a client that has neither sent nor taken anything for `limit` seconds."""
        from pync.relay.idle import held, watch

        peer = member.peer

        def progress() -> object:
            # A client that is not read, because another one is slow, is not idle.
            waits = member.passed_on < member.reads
            return self.loop.clock() if waits else (member.reads, member.writes, held(peer))

        def unsent() -> int:
            return member.size + peer.unacknowledged()

        try:
            await watch(self.loop, f"connection to {peer.address}", limit, progress, unsent)
        except TimedOut as idle:
            member.receiving.cancel(idle)

    def stages_of_client(self, peer: Peer, name: str) -> Sequence[Stage]:
        """What a client's bytes pass: the logs, and then, in a chat, the stage that makes clean lines of them."""
        if not self.context.logs:
            return self._lines(name)
        from pync.relay.log_files import RECEIVED

        return (*self.context.logs.of(peer).copy(RECEIVED), *self._lines(name))

    def _stages_of_stdin(self) -> Sequence[Stage]:
        stages = [*self._lines("user0")]
        if self.config.crlf:
            from pync.stages.crlf import Crlf

            stages.append(Crlf())
        if self.context.logs:
            from pync.relay.log_files import SENT

            stages += self.context.logs.copy(SENT)
        return stages

    def _lines(self, name: str) -> Sequence[Stage]:
        if not self.chats:
            return ()
        from pync.stages.chat_lines import ChatLines

        return (ChatLines(f"<{name}> ", self.members),)
