"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each.

Theory: a port that cannot be reached is a failure only if no port can be. A conversation that breaks is always one.
"""

from __future__ import annotations

from pync.connections.outgoing import UNREACHED, open_connection, prepare
from pync.endpoints.stdio import Stdout
from pync.errors import PortRefused, ProxyError
from pync.events import Outcome
from pync.modes import in_order
from pync.sessions.conversation import converse, open_stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink
    from pync.errors import PyncError


async def connect(context: Context) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; else the failure of the last one is raised.

    By a `Behaviour` a port of UDP that refuses probes undoes the success of those before it.
    """
    prepare(context)
    ports: tuple[int | None, ...] = in_order(context) or (None,)
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    stdout, behaviour = _stdout(context, shared=len(ports) > 1), context.config.behaviour
    for port in ports:
        try:
            peer = await _open(context, port)
        except UNREACHED as error:
            if behaviour and isinstance(error, ProxyError) and error.asked:
                raise
            failure, opened = error, opened and not isinstance(error, PortRefused)
        else:
            opened = True
            status = await _session(context, port, peer, stdout)
            if context.config.pass_descriptor or _is_over(context):  # only one connection can be passed
                break
        if behaviour and behaviour.port_pause:
            await context.loop.sleep(behaviour.port_pause)
    if failure and not opened:
        raise failure
    return Outcome(opened=True, child_status=status)


def _is_over(context: Context) -> bool:
    if not context.config.behaviour:
        return False
    from pync.relay.other_reads import Run

    return context.loop.shared(Run).over


async def _open(context: Context, port: int | None) -> Peer:
    if context.config.retry is None:
        return await open_connection(context, port)
    from pync.connections.retry import with_retry

    return await with_retry(context, lambda: open_connection(context, port))


def _stdout(context: Context, *, shared: bool) -> Sink:
    """stdout; where several conversations share it, the end of one must not close it for the next."""
    stdout = Stdout(context.loop)
    if not shared:
        return stdout
    from pync.endpoints.shared_stdio import SharedStdout

    return SharedStdout(context.loop, stdout, lines=False).join()


async def _session(context: Context, port: int | None, peer: Peer, stdout: Sink) -> int | None:
    config = context.config
    if config.pass_descriptor:
        from pync.sessions.program import pass_descriptor

        pass_descriptor(peer)
        return None
    if config.program:
        from pync.sessions.program import run_program

        return await run_program(context, peer, config.program)
    if config.reconnect:
        from pync.modes.reconnecting import converse_again

        await converse_again(context, port, peer, stdout)
        return None
    stdio = open_stdio(context, stdout)
    if stdio.source and port is not None and config.datagram and not config.behaviour:
        from pync.connections.next_address import converse_with_next_address

        await converse_with_next_address(context, port, peer, stdio, converse)
    else:
        await converse(context, peer, stdio)
    return None
