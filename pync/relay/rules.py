"""The rules of ending: when a conversation of two flows is over, and how its ends-of-file are passed on.

`Conversation` is between a peer and our stdin and stdout. It shares `Relay` with `bridge.py` (between two peers) and
`sessions/program.py` (between a program and a peer). Nothing here knows a socket, and `flow.py` moves the bytes.

The rules
1. stdin's end → flush, half-close, go on receiving. `at_once` and sessions that only send half-close without waiting.
   Otherwise a client is patient after a short question, because many servers take a half-close for a client that has
   left: the half-close waits until the peer has been silent for as long as `patience.py` says. Every session is
   patient if stdin has ended without a single byte (cron, systemd), and if the half-close has to pass through a proxy:
   many proxies end the whole connection then. `quit_after` seconds after stdin's end the conversation is over.
2. The peer's end → everything received is flushed, stdout is closed. Then, if stdin may still give something: a peer
   that had sent data gets what stdin gives until stdin has been silent for half a second. A peer that never sent a
   byte only receives, and gets all of stdin until its end or until the connection is closed; and so does every peer
   if stdin and stdout are the ends of a loop through a named fifo, because what answers there may think for long.
3. Both ended → done. A stdin that is our terminal, or is not read at all, has ended once the peer has.
4. Datagrams have no end. A client whose stdin has ended leaves when it was answered and then received nothing for half
   a second, or after `answer_wait` without an answer; a listener stays. `quit_after` and `idle_timeout` end both.
5. An error on one side ends the conversation: it is raised, and the caller closes everything. But what the peer had
   sent before its connection broke is received first. What breaks on our side breaks on the peer's: if an error, a
   limit or a signal ends a conversation in which stdin has not ended, the peer gets a reset, so that it does not take
   a part for the whole. A person at a terminal has finished, and the peer gets an end.
6. No process reads stdout any more, and stdin is not read or all of it is sent → that is the end (`unread.py`).
"""

from __future__ import annotations

from pync.errors import PeerLost
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.endpoints.stdio import Stdio
    from pync.loop.tasks import Task, Work
    from pync.protocols.http_completeness import HttpAnswer
    from pync.relay.flow import Flow
    from pync.stages.telnet import Telnet

    Flows = tuple[Flow, Flow, Telnet | None]  # the sending and the receiving flow, and what answers negotiation


class Relay:
    """Two flows that run until the rules end them. `sending` goes to the peer, `receiving` comes from it."""

    answer: HttpAnswer | None = None  # what comes from the peer, if that is watched
    ended_by = "us"  # the side whose end was first
    knows_its_end = False  # `ended_by` is what has ended the conversation, and not the side whose end was first
    sent = property(lambda self: self.sending.moved)
    received = property(lambda self: self.receiving.moved)

    def __init__(self, context: Context, sending: Flow, receiving: Flow, telnet: Telnet | None = None) -> None:
        self.loop = context.loop
        self.ending = context.config.ending
        self.sending = sending
        self.receiving = receiving
        self.telnet = telnet
        self.idle_limit = self.ending.idle_timeout
        self.report = context.report
        self.idle_suspended = False  # whether silence is no failure now
        self.ended = Condition()  # one of the relay's tasks has ended

    async def run(self) -> None:
        """Relay until the rules end it. Raises what broke it: PeerLost, TimedOut, OutputError, InputError."""
        works = self.works()
        try:
            await (self.loop.first(*works) if len(works) > 1 else works[0])
        except PeerLost as error:
            raise error.also_unsent(self.unsent()) from None

    def works(self) -> list[Work[None]]:
        """What runs at the same time: the first that ends, ends the relay."""
        works: list[Work[None]] = [self.conduct()]
        if self.idle_limit:
            from pync.relay.idle import watch_relay

            works.append(watch_relay(self, self.idle_limit))
        if self.telnet:
            works.append(self._answer(self.telnet))
        return works

    def unsent(self) -> int:
        """Bytes that do not reach the peer whose connection broke."""
        return self.sending.unsent()

    async def conduct(self) -> None:
        """Run both flows by the rules, until they say that the relay is over."""
        raise NotImplementedError

    async def one_of(self, *tasks: Task) -> None:
        """Wait until one of the tasks has ended. Raises the failure of a task."""
        while not any(task.done for task in tasks):
            await self.loop.wait(self.ended)
        for task in tasks:
            if task.done:
                task.result()

    async def work_or_task(self, work: Work[None], task: Task) -> None:
        """Wait until the work or the task has ended. Raises what one of them raised."""
        other = self.loop.spawn(work, self.ended)
        try:
            await self.one_of(task, other)
        finally:
            await self.loop.cancel_and_wait(other)

    async def _answer(self, telnet: Telnet) -> None:
        from pync.relay.negotiation import answer

        await answer(self, telnet)


class Conversation(Relay):
    """The relay between a peer and our stdin and stdout."""

    def __init__(self, context: Context, peer: Peer, stdio: Stdio, flows: Flows) -> None:
        super().__init__(context, *flows)
        config = context.config
        self.peer = peer
        self.stdio = stdio
        self.receives = config.receive
        self.is_client = config.mode == "connect"
        # A proxy may take a half-close for the end of both directions. It does not see a half-close inside TLS.
        self.half_close_ends_all = (config.proxy is not None and not config.tls) or not peer.has_half_close
        self.half_closes = self.receives and peer.has_eof and self.ending.half_close

    def works(self) -> list[Work[None]]:
        """As for every relay, and the limit of `quit_after`."""
        works = super().works()
        if self.ending.quit_after is not None and self.stdio.source:
            from pync.relay.patience import after_stdin

            works.append(after_stdin(self.sending, self.ending.quit_after))
        return works

    async def run(self) -> None:
        """Relay as every relay does. If that fails before stdin has ended, the peer sees its connection break."""
        try:
            await super().run()
        except BaseException:
            if self.stdio.source and not (self.sending.ended or self.stdio.terminal):
                self.peer.abort()
            raise

    async def conduct(self) -> None:
        """Relay both directions by rules 1 to 4."""
        if self.stdio.source is None:
            return await self.receiving.run()
        receiving = self.loop.spawn(self.receiving.run(), self.ended)
        sending = self.loop.spawn(self._send(), self.ended)
        try:
            await self.one_of(receiving, sending)
            if receiving.done:
                self.ended_by = "us" if self.sending.eof_sent else "peer"
                await self._peer_ended(sending)
            else:
                await self._stdin_ended(receiving)
        finally:
            await self.loop.cancel_and_wait(receiving, sending)

    async def _send(self) -> None:
        http = False
        try:
            if self.half_closes and self.is_client:
                from pync.relay.patience import copy_first_line

                http = await copy_first_line(self)
            await self.sending.copy()
        except PeerLost:
            # A server may answer early and close. What it sent is received before the error is raised.
            if self.receives and self.peer.has_eof:
                from pync.relay.patience import silence

                await silence(self.receiving)
            raise
        if self.half_closes and (self.is_client or not self.sending.reads):
            from pync.relay.patience import half_close

            await half_close(self, http=http)
        elif self.ending.half_close:
            await self.sending.send_eof()

    async def _stdin_ended(self, receiving: Task) -> None:
        """Go on receiving by rules 1 and 4."""
        if not self.receives:
            return
        if self.peer.has_eof or not self.is_client:
            await self.one_of(receiving)
        else:
            from pync.relay.answers import answered

            await self.work_or_task(answered(self), receiving)

    async def _peer_ended(self, sending: Task) -> None:
        """Go on reading stdin as long as rules 2 and 3 allow."""
        limited = self.receiving.reads == self.receiving.read_limit
        if sending.done or self.stdio.terminal or limited or not self.peer.has_eof:
            return
        from pync.relay.patience import silence

        soon = self.receiving.reads and not self.stdio.loops
        await self.work_or_task(silence(self.sending) if soon else self.peer.wait_closed(), sending)
