"""A conversation: stdin is sent to a peer, and what the peer sends goes to stdout.

Theory: a session builds two flows, runs them by the rules of ending (`relay/rules.py`), and closes the peer. Stages,
wrappers and logs are put between the ends by `between.py`, which is imported only if the config asks for one.
"""

from __future__ import annotations

from pync.endpoints import LINGER
from pync.endpoints.stdio import Null, Stdin, Stdio, Stdout, has_reader, is_loop, is_null, is_readable, is_terminal
from pync.errors import TimedOut, Truncated
from pync.relay.flow import Flow
from pync.relay.rules import Conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink, Source
    from pync.stages.telnet import Telnet


def open_stdio(context: Context, sink: Sink | None = None) -> Stdio:
    """Our stdin, if it shall be sent, and our stdout or another sink.

    A stdin that cannot be read, or a listener's that is /dev/null, has nothing to send, not even an end-of-file.
    """
    config = context.config
    source: Source | None = None
    if config.send and is_readable() and not (config.mode == "listen" and is_null()):
        if config.datagram:
            from pync.endpoints.lines import open_datagram_stdin

            source = open_datagram_stdin(context.loop, config)
        else:
            source = Stdin(context.loop)
    terminal = is_terminal()
    if source and terminal:
        from pync.endpoints.terminal import Terminal

        source = Terminal(context.loop, source)
    watched = config.receive and has_reader()
    loops = len(config.ports) < 2 and is_loop()  # several conversations share a stdout that none of them closes
    return Stdio(source, sink or Stdout(context.loop), terminal=terminal, watched=watched, loops=loops)


async def converse(context: Context, peer: Peer, stdio: Stdio) -> None:
    """Relay between stdio and the peer by the rules of ending, and close the peer.

    Raises PeerLost, TimedOut, InputError, OutputError.
    """
    config = context.config
    try:
        sink = stdio.sink if config.receive else Null()
        sending, receiving, telnet = flows(context, peer, stdio.source or Null(), sink)
        relay = Conversation(context, peer, stdio, sending, receiving, telnet)
        running = relay.run()
        if stdio.watched:
            from pync.relay.unread import while_read

            running = while_read(running, peer, stdio, sending)
        await running
        patient = not config.receive and config.ending.quit_after is None
        # A peer that has ended may have closed both directions, and then it does not take what was sent afterwards.
        lingers = sending.moved > 0 and (not receiving.ended or peer.unacknowledged() > 0)
        try:
            await end(peer, lingers=lingers, idle_limit=config.ending.idle_timeout, patient=patient)
        except Truncated:
            from pync.relay.truncation import nothing_is_missing

            if not nothing_is_missing(relay, peer):
                raise
    finally:
        peer.close()


def flows(context: Context, peer: Peer, source: Source, sink: Sink) -> tuple[Flow, Flow, Telnet | None]:
    """The flows from the source to the peer and from the peer to the sink, with what the config puts in between."""
    config = context.config
    if config.datagram or config.crlf or config.telnet or config.pace or config.delay or context.logs:
        from pync.sessions.between import flows_with_extras

        return flows_with_extras(context, peer, source, sink)
    limit = config.ending.receive_limit
    return Flow(context.loop, source, peer), Flow(context.loop, peer, sink, read_limit=limit), None


async def end(peer: Peer, *, lingers: bool, idle_limit: float | None = None, patient: bool = False) -> None:
    """End a session in the only right order: linger, then close_notify; the session closes the peer after that.

    The peer has at most LINGER seconds to take the end of what it was sent; if `patient`, until it has taken all: a
    session that only sends has nothing else to wait for. Raises PeerLost; and if `patient`, TimedOut after `idle_limit`
    seconds in which the peer has taken nothing.
    """
    step = min(LINGER, idle_limit or LINGER)
    left, idle = 0, 0.0
    while lingers and not await peer.linger(step) and patient and (unsent := peer.unacknowledged()):
        idle = idle + step if unsent == left else 0.0
        left = unsent
        if idle_limit is not None and idle >= idle_limit:
            raise TimedOut("idle connection", f"nothing was taken for {idle_limit:g} s")
    await peer.shutdown()
