"""A program on a connection: what it prints is sent to the peer, and what the peer sends is its stdin.

`pass_descriptor` gives the connection to a program that runs already and waits for it at our stdout.

Theory: a program gets the socket itself where nothing has to see the bytes, as under inetd. Otherwise it is relayed.
The rule of ending: the session is over once the program's output has ended, and after it the program itself or the
peer's sending. A connection that breaks ends the session at once, because a program that does not read would not
notice.
"""

from __future__ import annotations

import os
import sys

from pync.endpoints import CHUNK, child
from pync.endpoints.stdio import STDOUT
from pync.errors import OutputError, reason
from pync.events import as_address
from pync.loop.tasks import Condition
from pync.relay.rules import Relay
from pync.sessions.conversation import end, flows
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config, Program
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.endpoints.child import Child
    from pync.relay.flow import Flow
    from pync.stages.telnet import Telnet


async def run_program(context: Context, peer: Peer, program: Program) -> int:
    """Put the program on the connection; its exit status. Raises PeerLost, TimedOut, ProgramError, OutputError."""
    try:
        local = as_address(peer.sock.getsockname())
        environment = child.environment(context.transport, local, peer.address)
        if peer.raw() is not None and _may_hand_over(context.config):
            return await _hand_over(context, peer, program, environment)
        return await _relay(context, peer, program, environment)
    finally:
        peer.close()


def _may_hand_over(config: Config) -> bool:
    """Whether nothing has to see what the program and the peer send each other."""
    watched = config.crlf or config.telnet or config.pace or config.delay or config.logs.raw or config.logs.hexadecimal
    limited = config.ending.idle_timeout or config.ending.receive_limit or not config.ending.half_close
    return not (watched or limited or (config.program and config.program.filters))


async def _hand_over(context: Context, peer: Peer, program: Program, environment: dict[str, str]) -> int:
    process = child.hand_over(context.loop, program, peer.sock, environment)
    try:
        status: int = await context.loop.first(process.ended(), _broken(peer))
    finally:
        await process.terminate()
    peer.sock.setblocking(False)
    await end(peer, lingers=True)
    return status


async def _relay(context: Context, peer: Peer, program: Program, environment: dict[str, str]) -> int:
    most = CHUNK
    if context.config.datagram:
        from pync.endpoints.segments import LARGEST

        most = LARGEST
    process = child.start(context.loop, program, environment, most)
    try:
        sending, receiving, telnet = flows(context, peer, process.output, process.input)
        await ProgramRelay(context, peer, process, sending, receiving, telnet).run()
        status = await process.ended()
    finally:
        await process.terminate()
    await end(peer, lingers=not receiving.ended)
    return status


async def _broken(peer: Peer) -> None:
    """Raise PeerLost when the connection is reset; a connection that has merely ended is the program's to notice."""
    await peer.wait_closed()
    await peer.loop.wait(Condition())


class ProgramRelay(Relay):
    """The relay between a program and a peer."""

    def __init__(
        self,
        context: Context,
        peer: Peer,
        process: Child,
        sending: Flow,
        receiving: Flow,
        telnet: Telnet | None = None,
    ) -> None:
        super().__init__(context, sending, receiving, telnet)
        self.peer = peer
        self.process = process

    async def conduct(self) -> None:
        """Relay until the program's session is over, or the connection breaks."""
        await self.loop.first(self._serve(), _broken(self.peer))

    async def _serve(self) -> None:
        feeding = self.loop.spawn(self.receiving.run(), self.ended)
        answering = self.loop.spawn(self.sending.run(), self.ended)
        living = self.loop.spawn(self.process.ended(), self.ended)
        try:
            while not answering.done:
                await self.one_of(*(task for task in (feeding, answering) if not task.done))
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
        if peer.raw() is None:
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
