"""What the options put between the ends of a session's flows: pacing, delays, stages, logs, many datagrams at a time.

A module of its own, because a plain conversation does without all of it, and does not import it.
"""

from __future__ import annotations

from pync.endpoints.stdio import STDOUT
from pync.relay.flow import Flow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink, Source
    from pync.relay.rules import Flows
    from pync.stages import Stage
    from pync.stages.telnet import Telnet


def flows_with_extras(context: Context, peer: Peer, source: Source, sink: Sink) -> Flows:
    """The flows from the source to the peer and from the peer to the sink, and the telnet stage if there is one."""
    config, loop, limit = context.config, context.loop, context.config.ending.receive_limit
    sending, receiving, telnet = _stages(context, peer)
    from_peer: Source = peer
    into_peer: Sink = peer
    if config.datagram:
        from pync.endpoints.lines import LineEnds, as_datagrams

        source = as_datagrams(config, source)
        sink = LineEnds(sink) if config.lines else sink
    if config.pace or config.delay:
        source, from_peer = _slowed(context, source, peer)
    if config.datagram and not config.program:
        from pync.endpoints.segments import shows_boundaries

        if not sending:
            source, into_peer = peer.sending_ends(source)
        if not (config.delay or config.lines or receiving or limit or shows_boundaries(STDOUT)):
            from_peer = peer.as_stream()
    return Flow(loop, source, into_peer, sending), Flow(loop, from_peer, sink, receiving, limit), telnet


def _slowed(context: Context, source: Source, peer: Source) -> tuple[Source, Source]:
    from pync.endpoints.wrappers import Delayed, Paced

    config, loop = context.config, context.loop
    if config.pace and config.behaviour and config.behaviour.pauses != "between":
        from pync.endpoints.wrappers import PacedAfter

        source = PacedAfter(loop, source, config.pace, around=config.behaviour.pauses == "around")
    elif config.pace:
        source = Paced(loop, source, config.pace)
    if config.delay:
        return Delayed(loop, source, config.delay), Delayed(loop, peer, config.delay)
    return source, peer


def _stages(context: Context, peer: Peer) -> tuple[list[Stage], list[Stage], Telnet | None]:
    """The stages for what is sent and for what is received. Logs stand next to the peer, and sums next to us."""
    sending: list[Stage] = []
    receiving: list[Stage] = []
    telnet: Telnet | None = None
    if context.config.crlf:
        from pync.stages.crlf import Crlf

        sending.append(Crlf())
    if context.config.telnet:
        telnet, escapes = _telnet(context)
        sending += escapes
        receiving.append(telnet)
    if context.config.checksum:
        from pync.stages.checksum import Checksum

        sending.insert(0, Checksum())
        receiving.append(Checksum())
    if context.logs:
        from pync.relay.log_files import RECEIVED, SENT

        logs = context.logs.of(peer)
        # Of what is sent a dump that runs on has the bytes that were read.
        place = 0 if logs.dumps else len(sending)
        sending[place:place] = logs.copy(SENT)
        receiving[:0] = logs.copy(RECEIVED)
    return sending, receiving, telnet


def _telnet(context: Context) -> tuple[Telnet, list[Stage]]:
    """The stage that answers negotiation, and what has to be done with what is sent."""
    from pync.stages.telnet import Telnet, TelnetEscape, TelnetKept

    if (behaviour := context.config.behaviour) and behaviour.telnet_keeps:
        return TelnetKept(), []
    return Telnet(), [TelnetEscape()]
