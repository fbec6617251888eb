"""A session: what is done with one connected peer, whoever connected.

Theory: a session owns its endpoint and closes it. It is a conversation with stdin and stdout, or puts a program on
the connection. A program gets the socket itself where nothing has to see the bytes; otherwise it is relayed.
"""

from __future__ import annotations

from pync.endpoints import CHUNK, child
from pync.endpoints.datagrams import LARGEST, address
from pync.endpoints.logs import RECEIVED, SENT
from pync.endpoints.memory import Chain
from pync.endpoints.pacing import Delayed, Paced
from pync.endpoints.sockets import LINGER, StreamSocket
from pync.endpoints.stdio import Discard
from pync.errors import TimedOut
from pync.flow import Flow
from pync.net.dial import transport
from pync.relay import Conversation, Service
from pync.stages.crlf import Crlf
from pync.stages.telnet import Telnet, TelnetEscape
from pync.tasks import Signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config, Program
    from pync.endpoints import Sink, Source
    from pync.endpoints.datagrams import DatagramSocket, Peer
    from pync.endpoints.logs import LogFiles
    from pync.events import Report
    from pync.loop import Loop
    from pync.stages import Stage

    Far = StreamSocket | DatagramSocket | Peer


class Run:
    """What all sessions of a run share."""

    def __init__(self, loop: Loop, config: Config, report: Report, logs: LogFiles) -> None:
        self.loop = loop
        self.config = config
        self.report = report
        self.logs = logs


class Local:
    """Our side of a conversation: stdin (None: it has nothing to say) and stdout."""

    def __init__(self, stdin: Source | None, stdout: Sink, *, terminal: bool = False) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.terminal = terminal


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


async def _lost(far: StreamSocket) -> None:
    """Raises PeerLost when the connection is reset; one that has merely ended is the program's to notice."""
    await far.gone()
    await far.loop.wait(Signal())


async def _pump(run: Run, far: Far, program: Program, environment: dict[str, str]) -> int:
    size = LARGEST if run.config.datagram else CHUNK
    process = child.start(run.loop, program, environment, size)
    try:
        outward, inward, telnet = _flows(run, process, far, process)
        lost = (lambda: _lost(far)) if isinstance(far, StreamSocket) else None
        relay = Service(run.loop, outward, inward, run.config.ending, telnet, program_ended=process.ended, lost=lost)
        await relay.run()
        status = await process.ended()
    finally:
        await process.dismiss()
    if isinstance(far, StreamSocket) and not inward.ended:
        await far.linger()
    return status


async def converse(run: Run, far: Far, local: Local, *, client: bool) -> None:
    """Relay between stdin, stdout and the peer by the rules of ending.

    Raises PeerLost, TimedOut, InputError, OutputError.
    """
    config = run.config
    try:
        stdout = local.stdout if config.receive else Discard()
        outward, inward, telnet = _flows(run, local.stdin or Chain([], None), far, stdout)
        relay = Conversation(
            run.loop,
            outward,
            inward,
            config.ending,
            telnet,
            gone=far.gone if isinstance(far, StreamSocket) else None,
            speaks=local.stdin is not None,
            listens=config.receive,
            terminal=local.terminal,
            client=client,
        )
        await relay.run()
        if isinstance(far, StreamSocket) and outward.moved and not inward.ended:
            await _leave(far, config)
    finally:
        far.close()


async def _leave(far: StreamSocket, config: Config) -> None:
    """Give the peer time to take the end of what it was sent: who only sends has nothing else to wait for."""
    patient = not config.receive and config.ending.quit_after is None
    limit = config.ending.idle_timeout
    step = min(LINGER, limit or LINGER)
    left, idle = 0, 0.0
    while not await far.linger(step) and patient and (unsent := far.unacknowledged()):
        idle = idle + step if unsent == left else 0.0
        left = unsent
        if limit is not None and idle >= limit:
            raise TimedOut("idle connection", f"nothing was taken for {limit:g} s")


def _flows(run: Run, near: Source, far: Far, back: Sink) -> tuple[Flow, Flow, Telnet | None]:
    """The flows from near to far and from far to back, with what the config puts in between."""
    config, loop = run.config, run.loop
    telnet = Telnet() if config.telnet else None
    outward: list[Stage] = [*([Crlf()] if config.crlf else []), *([TelnetEscape()] if telnet else [])]
    inward: list[Stage] = [telnet] if telnet else []
    speech: Source = Paced(loop, near, config.pace) if config.pace else near
    heard: Source = far
    if config.delay:
        speech, heard = Delayed(loop, speech, config.delay), Delayed(loop, heard, config.delay)
    return (
        Flow(loop, speech, far, (*outward, *run.logs.copy(SENT))),
        Flow(loop, heard, back, (*run.logs.copy(RECEIVED), *inward), config.ending.receive_limit),
        telnet,
    )
