"""A session: what is done with one connected peer, whoever connected.

Theory: a session owns its endpoint and closes it. It is a conversation with stdin and stdout, which is here, or puts
a program on the connection (`program.py`). What the config does not ask for is not imported.
"""

from __future__ import annotations

from pync.endpoints import CHUNK
from pync.endpoints.stdio import STDOUT, Discard, Stdin
from pync.endpoints.streams import LINGER, Stream, StreamSocket
from pync.errors import TimedOut
from pync.events import as_address
from pync.relay.flow import Flow
from pync.relay.rules import Conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from pync.config import Config
    from pync.context import Context
    from pync.endpoints import Sink, Source
    from pync.endpoints.datagram_server import DatagramPeer
    from pync.endpoints.datagrams import DatagramSocket
    from pync.stages import Stage
    from pync.stages.telnet import Telnet

    Peer = Stream | DatagramSocket | DatagramPeer


class Stdio:
    """Our side of a conversation: stdin (None: it has nothing to say) and stdout."""

    def __init__(self, stdin: Source | None, stdout: Sink, *, terminal: bool = False) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.terminal = terminal


def endpoint(context: Context, sock: socket.socket, name: Any) -> StreamSocket | DatagramSocket:
    """The endpoint of a connected socket, whose peer has this name."""
    if not context.config.datagram:
        return StreamSocket(context.loop, sock, as_address(name))
    from pync.endpoints.datagrams import DatagramSocket

    return DatagramSocket(context.loop, sock, name)


def chunk(config: Config) -> int:
    """How many bytes of what is to be sent are read at a time: of datagrams, no more than one can hold."""
    if not config.datagram:
        return CHUNK
    from pync.endpoints.segments import LARGEST

    return LARGEST


def read_stdin(context: Context) -> Stdin:
    """Our stdin, as datagrams if the peer takes those."""
    if not context.config.datagram:
        return Stdin(context.loop)
    from pync.endpoints.segments import Packets

    return Packets(context.loop)


async def converse(context: Context, far: Peer, local: Stdio, *, client: bool) -> None:
    """Relay between stdin, stdout and the peer by the rules of ending.

    Raises PeerLost, TimedOut, InputError, OutputError.
    """
    config = context.config
    try:
        stdout = local.stdout if config.receive else Discard()
        sending, receiving, telnet = flows(context, local.stdin or _nothing(), far, stdout)
        relay = Conversation(
            context.loop,
            sending,
            receiving,
            config.ending,
            telnet,
            gone=far.wait_closed if isinstance(far, Stream) else None,
            speaks=local.stdin is not None,
            listens=config.receive,
            terminal=local.terminal,
            client=client,
            fragile=config.proxy is not None and not config.tls,  # under TLS no proxy sees it
        )
        await relay.run()
        if isinstance(far, Stream) and sending.moved and not receiving.ended:
            await _leave(far, config)
        if isinstance(far, Stream):
            await far.shutdown()
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


def flows(context: Context, near: Source, far: Peer, back: Sink) -> tuple[Flow, Flow, Telnet | None]:
    """The flows from near to far and from far to back, with what the config puts in between."""
    config, loop = context.config, context.loop
    speech: Source = near
    heard: Source = far
    if config.pace or config.delay:
        from pync.endpoints.pacing import Delayed, Paced

        if config.pace:
            speech = Paced(loop, speech, config.pace)
        if config.delay:
            speech, heard = Delayed(loop, speech, config.delay), Delayed(loop, heard, config.delay)
    sending, receiving, telnet = _stages(context)
    sink: Sink = far
    if not isinstance(far, Stream) and not config.program:
        from pync.endpoints.datagrams import DatagramSocket
        from pync.endpoints.segments import Burst, Joined, shows_boundaries

        if isinstance(far, DatagramSocket) and not sending:
            speech = sink = Burst(speech, far)
        if heard is far and not (receiving or config.ending.receive_limit or shows_boundaries(STDOUT)):
            heard = Joined(far)
    return Flow(loop, speech, sink, sending), Flow(loop, heard, back, receiving, config.ending.receive_limit), telnet


def _stages(context: Context) -> tuple[list[Stage], list[Stage], Telnet | None]:
    """What changes, or sees, the bytes on their way out and on their way in. The logs see those of the network."""
    sending: list[Stage] = []
    receiving: list[Stage] = []
    telnet: Telnet | None = None
    if context.config.crlf:
        from pync.stages.crlf import Crlf

        sending.append(Crlf())
    if context.config.telnet:
        from pync.stages.telnet import Telnet, TelnetEscape

        telnet = Telnet()
        sending.append(TelnetEscape())
        receiving.append(telnet)
    if context.logs:
        from pync.relay.log_files import RECEIVED, SENT

        sending += context.logs.copy(SENT)
        receiving[:0] = context.logs.copy(RECEIVED)
    return sending, receiving, telnet
