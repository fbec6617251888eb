"""A session: what is done with one connected peer, whoever connected.

Theory: a session owns its endpoint and closes it. It is a conversation with stdin and stdout, which is here, or puts
a program on the connection (`program.py`). What the config does not ask for is not imported.
"""

from __future__ import annotations

from pync.endpoints import CHUNK
from pync.endpoints.stdio import STDOUT, Discard, Stdin
from pync.endpoints.streams import LINGER, Stream, StreamSocket
from pync.errors import TimedOut
from pync.events import address
from pync.relay.flow import Flow
from pync.relay.rules import Conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from pync.config import Config
    from pync.context import Run
    from pync.endpoints import Sink, Source
    from pync.endpoints.datagram_server import Peer
    from pync.endpoints.datagrams import DatagramSocket
    from pync.stages import Stage
    from pync.stages.telnet import Telnet

    Far = Stream | DatagramSocket | Peer


class Local:
    """Our side of a conversation: stdin (None: it has nothing to say) and stdout."""

    def __init__(self, stdin: Source | None, stdout: Sink, *, terminal: bool = False) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.terminal = terminal


def endpoint(run: Run, sock: socket.socket, name: Any) -> StreamSocket | DatagramSocket:
    """The endpoint of a connected socket, whose peer has this name."""
    if not run.config.datagram:
        return StreamSocket(run.loop, sock, address(name))
    from pync.endpoints.datagrams import DatagramSocket

    return DatagramSocket(run.loop, sock, name)


def chunk(config: Config) -> int:
    """How many bytes of what is to be sent are read at a time: of datagrams, no more than one can hold."""
    if not config.datagram:
        return CHUNK
    from pync.endpoints.segments import LARGEST

    return LARGEST


def read_stdin(run: Run) -> Stdin:
    """Our stdin, as datagrams if the peer takes those."""
    if not run.config.datagram:
        return Stdin(run.loop)
    from pync.endpoints.segments import Packets

    return Packets(run.loop)


async def converse(run: Run, far: Far, local: Local, *, client: bool) -> None:
    """Relay between stdin, stdout and the peer by the rules of ending.

    Raises PeerLost, TimedOut, InputError, OutputError.
    """
    config = run.config
    try:
        stdout = local.stdout if config.receive else Discard()
        outward, inward, telnet = flows(run, local.stdin or _nothing(), far, stdout)
        relay = Conversation(
            run.loop,
            outward,
            inward,
            config.ending,
            telnet,
            gone=far.gone if isinstance(far, Stream) else None,
            speaks=local.stdin is not None,
            listens=config.receive,
            terminal=local.terminal,
            client=client,
            fragile=config.proxy is not None and not config.tls,  # under TLS no proxy sees it
        )
        await relay.run()
        if isinstance(far, Stream) and outward.moved and not inward.ended:
            await _leave(far, config)
        if isinstance(far, Stream):
            await far.part()
    finally:
        far.close()


async def _leave(far: Stream, config: Config) -> None:
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


def _nothing() -> Source:
    from pync.endpoints.wrappers import Chain

    return Chain([], None)


def flows(run: Run, near: Source, far: Far, back: Sink) -> tuple[Flow, Flow, Telnet | None]:
    """The flows from near to far and from far to back, with what the config puts in between."""
    config, loop = run.config, run.loop
    speech: Source = near
    heard: Source = far
    if config.pace or config.delay:
        from pync.endpoints.pacing import Delayed, Paced

        if config.pace:
            speech = Paced(loop, speech, config.pace)
        if config.delay:
            speech, heard = Delayed(loop, speech, config.delay), Delayed(loop, heard, config.delay)
    outward, inward, telnet = _stages(run)
    sink: Sink = far
    if not isinstance(far, Stream) and not config.program:
        from pync.endpoints.datagrams import DatagramSocket
        from pync.endpoints.segments import Burst, Joined, shows_boundaries

        if isinstance(far, DatagramSocket) and not outward:
            speech = sink = Burst(speech, far)
        if heard is far and not (inward or config.ending.receive_limit or shows_boundaries(STDOUT)):
            heard = Joined(far)
    return Flow(loop, speech, sink, outward), Flow(loop, heard, back, inward, config.ending.receive_limit), telnet


def _stages(run: Run) -> tuple[list[Stage], list[Stage], Telnet | None]:
    """What changes, or sees, the bytes on their way out and on their way in. The logs see those of the network."""
    outward: list[Stage] = []
    inward: list[Stage] = []
    telnet: Telnet | None = None
    if run.config.crlf:
        from pync.stages.crlf import Crlf

        outward.append(Crlf())
    if run.config.telnet:
        from pync.stages.telnet import Telnet, TelnetEscape

        telnet = Telnet()
        outward.append(TelnetEscape())
        inward.append(telnet)
    if run.logs:
        from pync.relay.log_files import RECEIVED, SENT

        outward += run.logs.copy(SENT)
        inward[:0] = run.logs.copy(RECEIVED)
    return outward, inward, telnet
