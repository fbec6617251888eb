"""A program on a connection: the other thing that a session can be, beside a conversation (`session.py`).

Theory: a program gets the socket itself where nothing has to see the bytes; otherwise it is relayed.
"""

from __future__ import annotations

from pync.endpoints import child
from pync.endpoints.streams import Stream, StreamSocket
from pync.events import as_address
from pync.loop.tasks import Condition
from pync.net.dial import transport
from pync.relay.rules import ProgramRelay
from pync.sessions.conversation import chunk, flows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config, Program
    from pync.context import Context
    from pync.sessions.conversation import Peer


async def serve(context: Context, far: Peer, program: Program) -> int:
    """Put the program on the connection; its exit status. Raises PeerLost, TimedOut, ProgramError."""
    try:
        local = as_address(far.sock.getsockname())
        environment = child.environment(transport(context.config), local, far.address)
        if isinstance(far, StreamSocket) and _may_hand_over(context.config):
            return await _hand_over(context, far, program, environment)
        return await _pump(context, far, program, environment)
    finally:
        far.close()


def _may_hand_over(config: Config) -> bool:
    """Whether nothing has to see what the program and the peer say to each other."""
    watched = config.crlf or config.telnet or config.pace or config.delay or config.logs.raw or config.logs.hexadecimal
    limited = config.ending.idle_timeout or config.ending.receive_limit or not config.ending.half_close
    return not (watched or limited or (config.program and config.program.filters))


async def _hand_over(context: Context, far: StreamSocket, program: Program, environment: dict[str, str]) -> int:
    process = child.hand_over(context.loop, program, far.sock, environment)
    try:
        status: int = await context.loop.first(process.ended(), _lost(far))
    finally:
        await process.terminate()
    far.sock.setblocking(False)
    await far.linger()
    return status


async def _lost(far: Stream) -> None:
    """Raises PeerLost when the connection is reset; one that has merely ended is the program's to notice."""
    await far.wait_closed()
    await far.loop.wait(Condition())


async def _pump(context: Context, far: Peer, program: Program, environment: dict[str, str]) -> int:
    process = child.start(context.loop, program, environment, chunk(context.config))
    try:
        sending, receiving, telnet = flows(context, process.output, far, process.input)
        lost = (lambda: _lost(far)) if isinstance(far, Stream) else None
        relay = ProgramRelay(
            context.loop, sending, receiving, context.config.ending, telnet, program_ended=process.ended, lost=lost
        )
        await relay.run()
        status = await process.ended()
    finally:
        await process.terminate()
    if isinstance(far, Stream):
        if not receiving.ended:
            await far.linger()
        await far.shutdown()
    return status
