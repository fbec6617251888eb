"""A conversation: stdin is sent to a peer, and what the peer sends goes to stdout.

Theory: a session builds two flows, runs them by the rules of ending (`relay/rules.py`), and closes the peer. Stages,
wrappers and logs are put between the ends by `between.py`, which is imported only if the config asks for one.
"""

from __future__ import annotations

from pync.endpoints import Source
from pync.endpoints.stdio import Stdin, Stdio, Stdout, has_reader, is_null, is_readable, is_terminal
from pync.errors import Truncated
from pync.relay.flow import Flow, Session
from pync.relay.rules import Conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink
    from pync.relay.rules import Flows, Relay


def open_stdio(context: Context, sink: Sink | None = None) -> Stdio:
    """Our stdin, if it shall be sent, and our stdout or another sink."""
    config = context.config
    source, terminal = _open_stdin(context), is_terminal()
    if source and config.raw_terminal:
        from pync.endpoints.raw_terminal import RawTerminal

        source, terminal = RawTerminal(context.loop, source, sizes=config.window_size), True
    elif source and terminal:
        from pync.endpoints.terminal import Terminal

        source = Terminal(context.loop, source)
    if not config.receive:
        from pync.endpoints.null import Null

        return Stdio(source, Null(), terminal=terminal)
    stdio = Stdio(source, sink or Stdout(context.loop), terminal=terminal)
    if has_reader():
        from pync.relay.unread import is_loop

        stdio.watched = True
        # Several conversations share a stdout that none of them closes.
        stdio.loops = len(config.ports) < 2 and is_loop()
    return stdio


def _open_stdin(context: Context) -> Source | None:
    """A stdin that cannot be read, or a listener's that is /dev/null, sends nothing, not even an end-of-file."""
    config = context.config
    counts = config.mode != "listen" or (config.behaviour and config.behaviour.null_counts)
    if not (config.send and is_readable() and (counts or not is_null())):
        return None
    if not config.datagram:
        return Stdin(context.loop)
    from pync.endpoints.lines import open_datagram_stdin

    return open_datagram_stdin(context.loop, config)


async def converse(context: Context, peer: Peer, stdio: Stdio, relay: Conversation | None = None) -> None:
    """Relay between stdio and the peer by the rules of ending (or have `relay` do it), and close the peer.

    Raises PeerLost, TimedOut, InputError, OutputError.
    """
    config = context.config
    try:
        relay = relay or _conversation(context, peer, stdio)
        stdio.sending = sending = relay.sending
        with Session(context, peer.address, relay):
            running = relay.run()
            if stdio.watched:
                from pync.relay.unread import while_read

                running = while_read(running, peer, stdio, sending)
            await running
            if config.behaviour:  # its conversation has ended the connection, too
                return
            # A peer that has ended may have closed both directions, and then takes nothing that was sent afterwards.
            lingers = sending.moved > 0 and (not relay.receiving.ended or peer.unacknowledged() > 0)
            if lingers and not config.receive and config.ending.quit_after is None:
                from pync.sessions.delivery import deliver

                await deliver(peer, config.ending.idle_timeout)
            await end(peer, lingers=lingers, relay=relay)
    finally:
        peer.close()


def _conversation(context: Context, peer: Peer, stdio: Stdio) -> Conversation:
    if context.config.behaviour:
        from pync.relay.other_rules import other_conversation

        return other_conversation(context, peer, stdio, flows)
    # A conversation never reads the source that stands in for none.
    return Conversation(context, peer, stdio, flows(context, peer, stdio.source or Source(), stdio.sink))


def flows(context: Context, peer: Peer, source: Source, sink: Sink) -> Flows:
    """The flows from the source to the peer and from the peer to the sink, with what the config puts in between."""
    config = context.config
    if any((config.datagram, config.crlf, config.telnet, config.pace, config.delay, config.checksum, context.logs)):
        from pync.sessions.between import flows_with_extras

        return flows_with_extras(context, peer, source, sink)
    limit = config.ending.receive_limit
    return Flow(context.loop, source, peer), Flow(context.loop, peer, sink, read_limit=limit), None


async def end(peer: Peer, *, lingers: bool, relay: Relay | None = None) -> None:
    """End a session in the only right order: linger, then close_notify; the session closes the peer after that.

    The peer has at most LINGER seconds to take the end of what it was sent. Raises PeerLost, also if the peer has sent
    no proper end, unless the `relay` shows that nothing can be missing.
    """
    if lingers:
        await peer.linger()
    try:
        await peer.shutdown()
    except Truncated:
        from pync.relay.truncation import nothing_is_missing

        if relay is None or not nothing_is_missing(relay, peer):
            raise
