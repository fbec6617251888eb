"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each.

Theory: a port that cannot be reached is no failure while another one may answer; a conversation that broke is.
"""

from __future__ import annotations

from pync.connections.attempts import in_order, with_retry
from pync.endpoints.stdio import STDIN, Stdout, is_terminal
from pync.errors import ConnectError, ProxyError, TimedOut
from pync.events import Outcome
from pync.net.dial import dial
from pync.sessions.conversation import Stdio, converse, endpoint, read_stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Sink, Source
    from pync.errors import PyncError
    from pync.loop.tasks import Work
    from pync.sessions.conversation import Peer

UNREACHED = (ConnectError, ProxyError, TimedOut)  # another port may answer


async def connect(context: Context) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; otherwise raises what the last one failed of."""
    if context.config.proxy or context.config.tls:
        from pync.connections.outgoing import prepare

        prepare(context)
    ports: list[int | None] = list(in_order(context)) or [None]
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    stdout: Sink = Stdout(context.loop)
    if len(ports) > 1:  # the end of one conversation must not close it for the next
        from pync.endpoints.shared_stdio import SharedStdout

        stdout = SharedStdout(context.loop, stdout, lines=False).join()
    for port in ports:
        try:
            far = await _reach(context, port)
        except UNREACHED as error:
            failure = error
            continue
        opened = True
        status = await _session(context, port, far, stdout)
        if context.config.pass_descriptor:  # there is only one to be handed over
            break
    if failure and not opened:
        raise failure
    return Outcome(opened=True, child_status=status)


async def _reach(context: Context, port: int | None) -> Peer:
    return await with_retry(context, lambda: _once(context, port))


async def _once(context: Context, port: int | None) -> Peer:
    if context.config.proxy or context.config.tls:
        from pync.connections.outgoing import reach

        return await reach(context, port)
    return endpoint(context, *await dial(context.loop, context.config, port, context.report))


async def _session(context: Context, port: int | None, far: Peer, stdout: Sink) -> int | None:
    if context.config.pass_descriptor:
        from pync.sessions.hand_over import hand_over

        hand_over(far)
        return None
    if context.config.program:
        from pync.sessions.program import serve

        return await serve(context, far, context.config.program)
    stdin = read_stdin(context) if context.config.send else None

    def conversation(far: Peer, stdin: Source | None) -> Work[None]:
        return converse(context, far, Stdio(stdin, stdout, terminal=is_terminal(STDIN)), client=True)

    if stdin and port is not None and context.config.datagram:
        from pync.connections.next_address import with_next_address

        await with_next_address(context, port, far, stdin, conversation)  # type: ignore[arg-type]
    else:
        await conversation(far, stdin)
    return None
