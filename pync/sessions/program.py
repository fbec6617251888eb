"""A program on a connection: what it prints is sent to the peer, and what the peer sends is its stdin.

`pass_descriptor` gives the connection to a program that runs already and waits for it at our stdout.

Theory: a program gets the socket itself where nothing has to see the bytes, as under inetd. Otherwise it is relayed.
The rule of ending: the session of a relayed program is over once its output has ended, and after it the program itself
or the peer's sending. The session of a program with the socket is over once it has ended, and what it leaves in its
process group has closed the socket, too. A connection that breaks ends the session at once, because a program that does
not read would not notice. Then all of the group is terminated. After a session that has ended as it should, what the
program leaves behind is left alone, because it holds nothing of the connection.

What broke off must not look complete to the program. A program that has the socket reads the error of a reset itself,
so nothing here may ask for that error (SO_ERROR), because the kernel reports it once. A program that is relayed gets
SIGHUP before the end-of-file, unless the peer has sent a proper one. After an end of TLS without a close_notify the
peer may still receive: what the program answers all the same is sent, and the truncation is reported at the end.
"""

from __future__ import annotations

import errno
import os
import sys

from pync.endpoints import CHUNK, child
from pync.endpoints.child_environment import environment
from pync.endpoints.handed_over import HandedOver
from pync.endpoints.stdio import STDOUT
from pync.errors import OutputError, PeerLost, ProgramError, reason
from pync.events import as_address
from pync.loop.hangups import Hangups
from pync.loop.tasks import Cancelled, Condition
from pync.relay.flow import Session
from pync.relay.rules import Relay
from pync.sessions.conversation import end, flows
from pync.system import socket
from pync.system.looks import is_broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config, Program
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.endpoints.child import Child
    from pync.loop.tasks import Work
    from pync.relay.rules import Flows
    from pync.stages.telnet import Telnet


async def run_program(context: Context, peer: Peer, program: Program) -> int:
    """Put the program on the connection; its exit status. Raises PeerLost, TimedOut, ProgramError, OutputError."""
    try:
        local = as_address(peer.sock.getsockname())
        protocol = "unix" if local.port is None else context.transport
        variables = environment(protocol, local, peer.address)
        if (peer.raw() is not None or program.keeps_datagrams) and _may_hand_over(context.config, program):
            return await _hand_over(context, peer, program, variables)
        return await _relay(context, peer, program, variables)
    except BaseException as error:
        # What breaks off the program breaks the connection, so that the client does not take a part for the whole.
        if not isinstance(error, (PeerLost, ProgramError)):
            peer.abort()
        raise
    finally:
        peer.close()


def _may_hand_over(config: Config, program: Program) -> bool:
    """Whether nothing has to see what the program and the peer send each other."""
    watched = config.crlf or config.telnet or config.pace or config.delay or config.logs.raw or config.logs.hexadecimal
    limited = config.ending.idle_timeout or config.ending.receive_limit or not config.ending.half_close
    return not (watched or limited or program.filters or program.pipes or program.terminal)


class Terminating:
    """A context manager: a program that was not reaped within it is terminated at its end, with its group."""

    def __init__(self, context: Context, process: Child) -> None:
        self.keeps_open = context.config.keep_open
        self.process = process

    async def __aenter__(self) -> Child:
        return self.process

    async def __aexit__(self, kind: object, error: BaseException | None, where: object) -> None:
        # What not even SIGKILL ends is waited for by its session alone, and does not hold up pync's own end.
        ends = isinstance(error, Cancelled) or not self.keeps_open
        await self.process.terminate(child.STUCK if ends else None)


async def _hand_over(context: Context, peer: Peer, program: Program, variables: dict[str, str]) -> int:
    counts = HandedOver(peer)
    with Session(context, peer.address, counts) as session:
        async with Terminating(context, child.hand_over(context.loop, program, peer.sock, variables)) as process:
            # A socket of datagrams has errors that are the program's to read.
            watches = [_reset(peer)] if peer.has_eof else []
            status: int | None = await context.loop.first(process.left(peer.sock), *watches)
            if status is None and context.config.behaviour:  # it may have read the error itself, and end by that
                await process.ended_within(child.TAKING)
                status = process.status
            if status is not None:
                process.reap()
        session.status = status
        counts.end()
        if status is None:  # only now: a program that has not read the error yet would read an end-of-file instead
            code = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            raise peer.failed(OSError(code, os.strerror(code)))
        peer.sock.setblocking(False)
        await end(peer, lingers=True)
    return -process.signal if process.signal and context.config.behaviour else status


async def _reset(peer: Peer) -> None:
    """Wait until the connection has an error, and leave the error for the program.

    A connection that has ended without an error, or whose error the program has read already, is the program's to
    notice.
    """
    await peer.loop.shared(Hangups).wait(peer.sock.fileno(), Condition())
    if not is_broken(peer.sock.fileno()):
        await peer.loop.wait(Condition())


async def _relay(context: Context, peer: Peer, program: Program, variables: dict[str, str]) -> int:
    most = CHUNK
    if context.logs:
        context.logs.own(peer)  # no program starts whose log cannot be opened
    if context.config.datagram:
        from pync.endpoints.segments import LARGEST

        most = LARGEST
    async with Terminating(context, _start(context, program, variables, most)) as process:
        relay = ProgramRelay(context, peer, process, flows(context, peer, process.output, process.input))
        if context.config.window_size:
            _take_sizes(relay, process)
        with Session(context, peer.address, relay) as session:
            await relay.run()
            session.status = status = await process.ended()
            process.reap()
            await end(peer, lingers=not relay.receiving.ended, relay=relay)
    return status


def _start(context: Context, program: Program, variables: dict[str, str], most: int) -> Child:
    if not program.terminal:
        return child.start(context.loop, program, variables, most)
    from pync.endpoints.child_terminal import start

    return start(context.loop, program, variables)


def _take_sizes(relay: Relay, process: Child) -> None:
    """Give the program's terminal each size that the peer sends."""
    from pync.endpoints.child_terminal import ChildOnTerminal
    from pync.stages.window_size import WindowSizes

    assert isinstance(process, ChildOnTerminal), "only a terminal has a size"
    relay.receiving.stages = (*relay.receiving.stages, WindowSizes(process.resize))


class ProgramRelay(Relay):
    """The relay between a program and a peer."""

    def __init__(self, context: Context, peer: Peer, process: Child, flows: Flows) -> None:
        super().__init__(context, *flows)
        self.peer = peer
        self.process = process
        self.broken = False  # a task has found that the connection is broken

    async def conduct(self) -> None:
        """Relay until the program's session is over, or the connection breaks."""
        await self.loop.first(self._serve(), self._watch())

    async def _watch(self) -> None:
        """Raise PeerLost when the connection is broken, after the program has taken what was received before."""
        try:
            await self._noting_a_break(self.peer.wait_closed())
        except PeerLost:
            while not self.receiving.ended:
                if not await self.loop.wait(self.receiving.progress, self.loop.clock() + child.TAKING):
                    break
            raise
        await self.loop.wait(Condition())  # a connection that has merely ended is the program's to notice

    async def _noting_a_break(self, work: Work[None]) -> None:
        try:
            await work
        except PeerLost:
            self.broken = True
            raise

    async def _answer(self, telnet: Telnet) -> None:
        await self._noting_a_break(super()._answer(telnet))

    async def _send(self) -> None:
        await self._noting_a_break(self.sending.run())

    async def _feed(self) -> None:
        await self.receiving.copy()
        # The kernel reports a reset once. After another task has found it, reading returns what looks like an end.
        if self.broken:
            return
        try:
            self.peer.check_clean_end()
        except PeerLost:  # `end` raises it again when the session is over
            if self.receiving.reads or not self.sending.ended:
                await self.process.hang_up()
        await self.receiving.send_eof()

    async def _serve(self) -> None:
        feeding = self.loop.spawn(self._feed(), self.ended)
        answering = self.loop.spawn(self._send(), self.ended)
        living = self.loop.spawn(self.process.ended(), self.ended)
        try:
            while not answering.done:
                await self.one_of(*(task for task in (feeding, answering, living) if not task.done))
            await self.one_of(feeding, living)
        finally:
            await self.loop.cancel_and_wait(feeding, answering, living)


def pass_descriptor(peer: Peer) -> None:
    """Send the connected socket over the unix socket that stdout is, as ssh's ProxyUseFdpass wants it.

    The descriptor is sent with one byte (unix(7), SCM_RIGHTS). It is made blocking first, as programs expect it.
    Raises OutputError.
    """
    what = "handing the connection over"
    try:
        if peer.raw() is None and peer.has_eof:
            raise OutputError(what, "there is TLS on it")
        stdout = socket.socket(fileno=os.dup(STDOUT))
        peer.sock.setblocking(True)
        descriptor = peer.sock.fileno().to_bytes(4, sys.byteorder)
        stdout.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
        stdout.close()
    except OSError as error:
        raise OutputError(f"{what} by stdout", reason(error)) from None
    finally:
        peer.close()
