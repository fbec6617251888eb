"""A program on a connection: the other thing that a session can be, beside a conversation (`session.py`).

Theory: a program gets the socket itself where nothing has to see the bytes; otherwise it is relayed.
"""

from __future__ import annotations

from pync.endpoints import child
from pync.endpoints.streams import Stream, StreamSocket
from pync.events import address
from pync.loop.tasks import Signal
from pync.net.dial import transport
from pync.relay.rules import Service
from pync.sessions.conversation import chunk, flows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config, Program
    from pync.context import Run
    from pync.sessions.conversation import Far


async def serve(run: Run, far: Far, program: Program) -> int:
    """Put the program on the connection; its exit status. Raises PeerLost, TimedOut, ProgramError."""
    try:
        local = address(far.sock.getsockname())
        environment = child.environment(transport(run.config), local, far.peer)
        if isinstance(far, StreamSocket) and _may_hand_over(run.config):
            return await _hand_over(run, far, program, environment)
        return await _pump(run, far, program, environment)
    finally:
        far.close()


def _may_hand_over(config: Config) -> bool:
    """Whether nothing has to see what the program and the peer say to each other."""
    watched = config.crlf or config.telnet or config.pace or config.delay or config.logs.raw or config.logs.hexadecimal
    limited = config.ending.idle_timeout or config.ending.receive_limit or not config.ending.half_close
    return not (watched or limited or (config.program and config.program.filters))


async def _hand_over(run: Run, far: StreamSocket, program: Program, environment: dict[str, str]) -> int:
    process = child.hand_over(run.loop, program, far.sock, environment)
    try:
        status: int = await run.loop.first(process.ended(), _lost(far))
    finally:
        await process.dismiss()
    far.sock.setblocking(False)
    await far.linger()
    return status


async def _lost(far: Stream) -> None:
    """Raises PeerLost when the connection is reset; one that has merely ended is the program's to notice."""
    await far.gone()
    await far.loop.wait(Signal())


async def _pump(run: Run, far: Far, program: Program, environment: dict[str, str]) -> int:
    process = child.start(run.loop, program, environment, chunk(run.config))
    try:
        outward, inward, telnet = flows(run, process.output, far, process.input)
        lost = (lambda: _lost(far)) if isinstance(far, Stream) else None
        relay = Service(run.loop, outward, inward, run.config.ending, telnet, program_ended=process.ended, lost=lost)
        await relay.run()
        status = await process.ended()
    finally:
        await process.dismiss()
    if isinstance(far, Stream):
        if not inward.ended:
            await far.linger()
        await far.part()
    return status
