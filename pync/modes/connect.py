"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each.

Theory: a port that cannot be reached is no failure while another one may answer; a conversation that broke is.
"""

from __future__ import annotations

from pync.connections.attempts import in_order, patiently
from pync.endpoints.stdio import STDIN, Stdout, is_terminal
from pync.errors import ConnectError, ProxyError, TimedOut
from pync.events import Outcome
from pync.net.dial import dial
from pync.sessions.conversation import Local, converse, endpoint, read_stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Run
    from pync.endpoints import Sink, Source
    from pync.errors import PyncError
    from pync.loop.tasks import Work
    from pync.sessions.conversation import Far

UNREACHED = (ConnectError, ProxyError, TimedOut)  # another port may answer


async def connect(run: Run) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; otherwise raises what the last one failed of."""
    if run.config.proxy or run.config.tls:
        from pync.connections.outgoing import prepare

        prepare(run)
    ports: list[int | None] = list(in_order(run)) or [None]
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    stdout: Sink = Stdout(run.loop)
    if len(ports) > 1:  # the end of one conversation must not close it for the next
        from pync.endpoints.shared_stdio import SharedStdout

        stdout = SharedStdout(run.loop, stdout, lines=False).join()
    for port in ports:
        try:
            far = await _reach(run, port)
        except UNREACHED as error:
            failure = error
            continue
        opened = True
        status = await _session(run, port, far, stdout)
        if run.config.pass_descriptor:  # there is only one to be handed over
            break
    if failure and not opened:
        raise failure
    return Outcome(opened=True, child_status=status)


async def _reach(run: Run, port: int | None) -> Far:
    return await patiently(run, lambda: _once(run, port))


async def _once(run: Run, port: int | None) -> Far:
    if run.config.proxy or run.config.tls:
        from pync.connections.outgoing import reach

        return await reach(run, port)
    return endpoint(run, *await dial(run.loop, run.config, port, run.report))


async def _session(run: Run, port: int | None, far: Far, stdout: Sink) -> int | None:
    if run.config.pass_descriptor:
        from pync.sessions.hand_over import hand_over

        hand_over(far)
        return None
    if run.config.program:
        from pync.sessions.program import serve

        return await serve(run, far, run.config.program)
    stdin = read_stdin(run) if run.config.send else None

    def conversation(far: Far, stdin: Source | None) -> Work[None]:
        return converse(run, far, Local(stdin, stdout, terminal=is_terminal(STDIN)), client=True)

    if stdin and port is not None and run.config.datagram:
        from pync.connections.next_address import until_heard

        await until_heard(run, port, far, stdin, conversation)  # type: ignore[arg-type]
    else:
        await conversation(far, stdin)
    return None
