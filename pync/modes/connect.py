"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each.

Theory: a port that cannot be reached is no failure while another port may answer. A conversation that breaks is one.
"""

from __future__ import annotations

import os
import sys

from pync.connections.outgoing import UNREACHED, open_connection, prepare, with_retry
from pync.endpoints.stdio import STDOUT, Stdout
from pync.errors import OutputError, reason
from pync.events import Outcome
from pync.sessions.conversation import converse, open_stdio
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink, Source
    from pync.errors import PyncError
    from pync.loop.tasks import Work


async def connect(context: Context) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; else the failure of the last one is raised."""
    prepare(context)
    ports: tuple[int | None, ...] = in_order(context) or (None,)
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    stdout = _stdout(context, shared=len(ports) > 1)
    for port in ports:
        try:
            peer = await with_retry(context, open_connection, context, port)
        except UNREACHED as error:
            failure = error
            continue
        opened = True
        status = await _session(context, port, peer, stdout)
        if context.config.pass_descriptor:  # stdout can take one connection
            break
    if failure and not opened:
        raise failure
    return Outcome(opened=True, child_status=status)


def in_order(context: Context) -> tuple[int, ...]:
    """The ports in the order in which they shall be tried."""
    if not context.config.shuffle:
        return context.config.ports
    import random

    return tuple(random.sample(context.config.ports, len(context.config.ports)))


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
        _pass_descriptor(peer)
        return None
    if config.program:
        from pync.sessions.program import run_program

        return await run_program(context, peer, config.program)
    stdio = open_stdio(context, stdout)
    if stdio.source and port is not None and config.datagram:
        from pync.connections.next_address import with_next_address

        def conversation(peer: Peer, source: Source) -> Work[None]:
            stdio.source = source
            return converse(context, peer, stdio)

        await with_next_address(context, port, peer, stdio.source, conversation)
    else:
        await converse(context, peer, stdio)
    return None


def _pass_descriptor(peer: Peer) -> None:
    """Send the connected socket over the unix socket that stdout is, as ssh's ProxyUseFdpass wants it.

    One byte goes over it, and the descriptor with it (unix(7), SCM_RIGHTS), made blocking, as programs expect of one.
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
