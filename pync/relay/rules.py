"""The rules of ending: when a conversation of two flows is over, and how its ends of file are passed on.

`Conversation` is between us (stdin and stdout) and a peer; `Service` is between a program and a peer. Nothing here
knows what a socket is, and nothing here moves a byte: `flow.py` does.

The rules
1. stdin's end → flush, half-close, go on receiving. If stdin ended without a single byte (cron, systemd, an empty
   pipe), the half-close waits until the peer has been silent for half a second, unless asked for `at_once`: many
   netcats stop sending at a half-close, and somebody who never had anything to say owes none. It waits likewise
   if it has to pass through a proxy: many end the whole connection at a half-close, answer or not.
2. The peer's end → everything received is flushed, stdout is closed. Then, if stdin may still have something to say:
   a peer that had sent data gets what stdin yields until it has been silent for half a second; a peer that never
   sent a byte only listens, and gets all of it until stdin ends or the connection is gone.
3. Both ended → done. A stdin that is a terminal, or is not read at all, has ended once the peer has.
4. Datagrams have no end. A client whose stdin has ended leaves when it was answered and then left alone for half a
   second; a listener stays. `quit_after` and `idle_timeout` end both.
5. A program's session is over when its output has ended and it is gone, or the peer's half has ended too.
6. An error on one side ends the conversation: it is raised, and the caller closes everything. But what a peer said
   before it was lost is received first.
"""

from __future__ import annotations

from pync.errors import PeerLost, TimedOut
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from pync.config import Ending
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task
    from pync.relay.flow import Flow
    from pync.stages.telnet import Telnet

SILENCE = 0.5  # seconds without a word after which somebody has nothing more to say
IDLE_STEPS = 8  # how finely the idle limit looks: it strikes after 1 to 1 + 1/8 of its time


class Relay:
    """Two flows between near (us, or a program) and far (the peer), until the rules say that it is over."""

    def __init__(
        self, loop: Loop, sending: Flow, receiving: Flow, ending: Ending, telnet: Telnet | None = None
    ) -> None:
        self.loop = loop
        self.sending = sending
        self.receiving = receiving
        self.ending = ending
        self.telnet = telnet
        self.ended = Condition()  # one of our tasks has

    async def run(self) -> None:
        """Relay until it is over. Raises what broke it: PeerLost, TimedOut, OutputError, InputError."""
        works = [self.conduct()]
        if self.ending.idle_timeout:
            works.append(self._idle(self.ending.idle_timeout))
        if self.telnet:
            works.append(self._answer(self.telnet))
        try:
            await (self.loop.first(*works) if len(works) > 1 else works[0])
        except PeerLost as error:
            raise error.also_unsent(self.unsent()) from None

    def unsent(self) -> int:
        """Bytes that the peer which was lost will not get."""
        return self.sending.unsent()

    async def conduct(self) -> None:
        """Run both flows by the rules."""
        raise NotImplementedError

    async def one_of(self, *tasks: Task, until: float | None = None) -> None:
        """Wait until one of the tasks has ended, or until that moment; raises a task's failure."""
        while not any(task.done for task in tasks):
            if not await self.loop.wait(self.ended, until):
                return
        for task in tasks:
            if task.done:
                task.result()

    async def one_of_both(self, work: Awaitable[None] | None, task: Task, until: float | None = None) -> None:
        """Wait until the task or the work has ended, or until that moment; raises what one of them raised."""
        if work is None:
            return await self.one_of(task, until=until)
        other = self.loop.spawn(work, self.ended)  # type: ignore[arg-type]
        try:
            await self.one_of(task, other, until=until)
        finally:
            await self.loop.cancel_and_wait(other)

    async def silence(self, flow: Flow) -> None:
        """Wait until the flow has ended, or has had nothing to read for half a second from now on."""
        start = self.loop.clock()
        while not flow.ended:
            until = None  # while it is writing, or its source holds bytes back (pacing), it is not silent
            if flow.waiting_since is not None and not flow.unsent():
                until = max(flow.waiting_since, start) + SILENCE
                if self.loop.clock() >= until:
                    return
            await self.loop.wait(flow.progress, until)

    async def _idle(self, limit: float) -> None:
        seen, since = self._progress(), self.loop.clock()
        while self.loop.clock() - since < limit:
            await self.loop.sleep(limit / IDLE_STEPS)
            if (progress := self._progress()) != seen:
                seen, since = progress, self.loop.clock()
        raise TimedOut("idle connection", f"nothing came or went for {limit:g} s")

    def _progress(self) -> int:
        return self.sending.moved + self.sending.reads + self.receiving.moved + self.receiving.reads

    async def _answer(self, telnet: Telnet) -> None:
        while True:
            while answers := telnet.take_answers():
                await self.sending.send(answers)
            await self.loop.wait(self.receiving.progress)


class Conversation(Relay):
    """Between stdin and stdout and a peer."""

    def __init__(
        self,
        loop: Loop,
        sending: Flow,
        receiving: Flow,
        ending: Ending,
        telnet: Telnet | None = None,
        *,
        gone: Callable[[], Coroutine[Any, Any, None]] | None,
        speaks: bool = True,
        listens: bool = True,
        terminal: bool = False,
        client: bool = True,
        fragile: bool = False,
    ) -> None:
        """`gone` waits for the connection's end when nobody reads it; datagrams have no such thing (None).

        `speaks`: stdin is read; `listens`: what the peer sends is wanted; `terminal`: stdin is one;
        `client`: we began it; `fragile`: something on the way may take a half-close for the end of all.
        """
        super().__init__(loop, sending, receiving, ending, telnet)
        self.gone = gone
        self.speaks = speaks
        self.listens = listens
        self.terminal = terminal
        self.client = client
        self.fragile = fragile

    async def conduct(self) -> None:
        """Rules 1 to 4."""
        if not self.speaks:
            return await self.receiving.run()
        listening = self.loop.spawn(self.receiving.run(), self.ended)
        speaking = self.loop.spawn(self._speak(), self.ended)
        try:
            await self.one_of(listening, speaking)
            if listening.done:
                await self._peer_ended(speaking)
            else:
                await self._stdin_ended(listening)
        finally:
            await self.loop.cancel_and_wait(listening, speaking)

    async def _speak(self) -> None:
        try:
            await self.sending.copy()
        except PeerLost:  # a server may answer early and leave: what it said is heard before that is told
            if self.listens and self.gone is not None:
                await self.silence(self.receiving)
            raise
        if not self.ending.half_close:
            return
        patient = self.listens and not self.ending.at_once and self.ending.quit_after is None
        if patient and (self.fragile or not self.sending.reads) and self.gone is not None:
            await self.silence(self.receiving)
        await self.sending.send_eof()

    async def _stdin_ended(self, listening: Task) -> None:
        """Rules 1 and 4: go on receiving, with what limits were asked for."""
        if not self.listens:
            return
        quit_after = self.ending.quit_after
        until = None if quit_after is None else self.loop.clock() + quit_after
        answered = self._answered() if self.client and self.gone is None else None
        await self.one_of_both(answered, listening, until)

    async def _peer_ended(self, speaking: Task) -> None:
        """Rules 2 and 3: how much longer stdin is read."""
        limited = self.receiving.reads == self.receiving.read_limit
        if speaking.done or self.terminal or limited or self.gone is None:
            return
        await self.one_of_both(self.silence(self.sending) if self.receiving.reads else self.gone(), speaking)

    async def _answered(self) -> None:
        while not self.receiving.reads:
            await self.loop.wait(self.receiving.progress)
        await self.silence(self.receiving)


class ProgramRelay(Relay):
    """Between a program and a peer."""

    def __init__(
        self,
        loop: Loop,
        sending: Flow,
        receiving: Flow,
        ending: Ending,
        telnet: Telnet | None = None,
        *,
        program_ended: Callable[[], Coroutine[Any, Any, object]],
        lost: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """`lost` raises PeerLost at a reset, even while nobody reads the connection; datagrams know none (None)."""
        super().__init__(loop, sending, receiving, ending, telnet)
        self.program_ended = program_ended
        self.lost = lost

    async def conduct(self) -> None:
        """Rule 5, unless the connection is lost: a program that does not read would not notice."""
        await (self.loop.first(self._serve(), self.lost()) if self.lost else self._serve())

    async def _serve(self) -> None:
        feeding = self.loop.spawn(self.receiving.run(), self.ended)
        answering = self.loop.spawn(self.sending.run(), self.ended)
        living = self.loop.spawn(self.program_ended(), self.ended)
        try:
            while not answering.done:
                await self.one_of(*(task for task in (feeding, answering) if not task.done))
            await self.one_of(feeding, living)
        finally:
            await self.loop.cancel_and_wait(feeding, answering, living)
