"""Connecting again (`--reconnect`): one stdin and one stdout, and a connection after the other between them.

Theory: what stdin has given and no connection has taken goes to the next one. The flow from stdin is the same all the
time, so what its stages and wrappers hold stays in it, and only its sink changes. What a connection has taken is never
sent again, because it may have arrived, and a reset can even have acknowledged it. So the bytes without an
acknowledgement are counted, and one line reports their number.

The rules
1. When stdin has ended and all of it is sent, the rules of every conversation hold, and there is no other connection:
   also if stdin ends while there is none.
2. Before, the peer's end is the end of the connection, at once. With `--send-only` it ends once it is closed in both
   directions, because then the peer may only receive. What breaks the connection, or the idle limit, ends it, too.
3. There is a pause before each attempt, as with `--retry`. It is as short as the first one again after a connection
   that has lasted for a while. The time allowed begins at the end of a connection on which something has moved.
4. A proxy whose server is not there accepts a connection and ends it at once. So nothing is sent until a new connection
   has lasted for a moment. One that ends before is an attempt that has failed.
5. What breaks on our side (stdin, stdout, a signal) is the end.
"""

from __future__ import annotations

from pync.connections.outgoing import open_connection
from pync.connections.retry import FIRST_PAUSE, LONGEST_PAUSE, RETRIED, longer
from pync.endpoints import Sink, Source
from pync.endpoints.stdio import STDIN
from pync.errors import PeerLost, TimedOut, TlsError
from pync.events import Retrying
from pync.listener_events import ConnectionOver
from pync.relay.idle import Idle, idle
from pync.relay.rules import Conversation
from pync.sessions.conversation import converse, flows, open_stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Bytes, Peer
    from pync.endpoints.stdio import Stdio
    from pync.errors import PyncError
    from pync.loop.tasks import Task
    from pync.relay.flow import Flow
    from pync.relay.rules import Flows


class KeptOpen(Sink):
    """A sink that passes no end-of-file on: that of a connection is not that of stdout."""

    def __init__(self, below: Sink) -> None:
        self.below: Sink = below

    async def write(self, data: Bytes) -> int:
        """Write to the sink below."""
        return await self.below.write(data)

    async def send_eof(self) -> None:
        """Pass nothing on."""

    def raw(self) -> int | None:
        """The descriptor of the sink below."""
        return self.below.raw()

    def failed(self, error: OSError) -> PyncError:
        """The exception of the sink below."""
        return self.below.failed(error)


class OneOfSeveral(Conversation):
    """A conversation that ends as rule 2 says."""

    def __init__(self, context: Context, peer: Peer, stdio: Stdio, flows: Flows, rest: bytes) -> None:
        """`rest` is what the last connection has not taken."""
        super().__init__(context, peer, stdio, flows)
        self.rest = rest
        self.unacknowledged = 0  # when it was over

    @property
    def is_last(self) -> bool:
        """Whether all of stdin is sent."""
        return self.stdio.source is not None and self.sending.ended

    async def conduct(self) -> None:
        """Relay both directions."""
        try:
            await super().conduct()
            if not self.is_last and self.peer.unacknowledged():
                await self.peer.linger()  # it may have half-closed, and still takes what it was sent
        finally:
            self.unacknowledged = self.peer.unacknowledged()

    async def _send(self) -> None:
        rest, self.rest = self.rest, b""
        if rest:
            await self.sending.send(rest)
        await super()._send()

    async def _peer_ended(self, sending: Task) -> None:
        if not (sending.done or self.receives):
            await self.work_or_task(self.peer.wait_closed(), sending)

    def left(self) -> bytes:
        """Take out what was read from stdin, and what the peer cannot have received."""
        return self.rest + self.sending.take_rest()[self.peer.taken :]


class Reconnecting:
    """A stdin and a stdout, and what stays when a connection ends."""

    def __init__(self, context: Context, port: int | None, stdout: Sink) -> None:
        self.context = context
        self.loop = context.loop
        self.port = port
        self.stdio = open_stdio(context, KeptOpen(stdout))
        self.sending: Flow | None = None  # the flow from stdin, once there is one
        self.rest = b""  # what stdin has given and no connection has taken
        self.allowed = context.config.reconnect or 0.0  # seconds
        self.until = 0.0  # the moment when they are over
        self.pause = FIRST_PAUSE

    async def run(self, peer: Peer) -> None:
        """Converse with the peer, and connect again until stdin has ended. Raises TimedOut after the time allowed."""
        following: Peer | None = peer
        while following:
            peer, since = following, self.loop.clock()
            relay = self._relay(peer)
            moved = relay.sending.moved
            why: PyncError | None = None
            try:
                await converse(self.context, peer, self.stdio, relay)
            except (PeerLost, TimedOut) as error:
                if relay.is_last:
                    raise
                why = error
            if relay.is_last:
                return
            self.rest = relay.left()
            self._note(since, relay.sending.moved + relay.receiving.moved > moved)
            if not self._is_over():
                text = _cause(why) if why else None
                self.context.report(ConnectionOver(peer=peer.address, why=text, unacknowledged=relay.unacknowledged))
            following = await self._again(why or _ended(peer))
        if why or relay.unacknowledged:
            raise why or _ended(peer).also_unsent(relay.unacknowledged)

    def _relay(self, peer: Peer) -> OneOfSeveral:
        """The conversation with a new peer. The flow from stdin that there is gets a new sink."""
        sending, receiving, telnet = flows(self.context, peer, self.stdio.source or Source(), self.stdio.sink)
        if self.sending:
            self.sending.sink = sending.sink
        self.sending = self.sending or sending
        return OneOfSeveral(self.context, peer, self.stdio, (self.sending, receiving, telnet), self.rest)

    def _is_over(self) -> bool:
        """Whether stdin has nothing more to give, and all of it is sent."""
        if self.stdio.source is None or self._left():
            return False
        from pync.relay.unread import has_ended

        return has_ended(STDIN)

    def _left(self) -> int:
        """Bytes that are known to be left to be sent."""
        return len(self.rest) + (self.sending.unsent() if self.sending else 0)

    def _note(self, since: float, moved: bool) -> None:
        """Take note of the end of a connection, by rule 3."""
        now = self.loop.clock()
        if moved or not self.until:
            self.until = now + self.allowed
        if now - since > LONGEST_PAUSE:
            self.pause = FIRST_PAUSE

    async def _again(self, failure: PyncError) -> Peer | None:
        """A new connection, after a pause; None if there is nothing left to send. Raises TimedOut after the time."""
        failures = [failure]
        connecting = self.loop.within(max(0.0, self.until - self.loop.clock()), self._connect(failures))
        try:
            if not (self.stdio.watched and self.sending):
                return await connecting
            from pync.relay.unread import unread

            peer: Peer | None = await self.loop.first(connecting, unread(self.loop, self.stdio, self.sending))
            return peer
        except TimeoutError:
            last = failures[-1]
            raise idle(last.what, f"{_cause(last)} (tried for {self.allowed:g} s)", self._left()) from None

    async def _connect(self, failures: list[PyncError]) -> Peer | None:
        while not self._is_over():
            await self.loop.sleep(self.pause)
            self.pause = longer(self.pause)
            try:
                peer = await open_connection(self.context, self.port)
                await self._last_for_a_moment(peer)
                return peer
            except (*RETRIED, TlsError, PeerLost) as error:
                failures[:] = [error]
            self.context.report(Retrying(error=failures[0], pause=self.pause))
        return None

    async def _last_for_a_moment(self, peer: Peer) -> None:
        """Raise PeerLost if the connection ends at once, by rule 4; the peer is closed then."""
        if not self.context.config.receive:
            return
        try:
            if await self.loop.within(FIRST_PAUSE, peer.peek()) is None:
                raise _ended(peer)
        except TimeoutError:
            pass
        except BaseException:
            peer.close()
            raise


def _ended(peer: Peer) -> PeerLost:
    return PeerLost(f"connection to {peer.address}", "the peer has ended it")


def _cause(error: PyncError) -> str:
    """Why it failed, without the bytes that were not sent: they go to the next connection."""
    return error.cause if isinstance(error, PeerLost | Idle) else error.why


async def converse_again(context: Context, port: int | None, peer: Peer, stdout: Sink) -> None:
    """Converse with the peer, and with the next ones at the same place, until stdin has ended.

    Raises as `converse`, for the last connection; TimedOut if there is none for too long.
    """
    await Reconnecting(context, port, stdout).run(peer)
