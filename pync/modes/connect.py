"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each.

Theory: "connecting" a UDP socket asks nobody, so the first address of a name always seems to be the right one. If it
turns out that nobody is there (`localhost` is often ::1 first, and the server on 127.0.0.1 only), the next address is
told again all that was said.
"""

from __future__ import annotations

from pync.endpoints.stdio import STDIN, Stdout, is_terminal
from pync.errors import ConnectError, PeerLost, ProxyError, TimedOut
from pync.events import ConnectFailed, Outcome, address
from pync.modes.attempts import in_order, patiently
from pync.modes.session import Local, converse, endpoint, read_stdin
from pync.net.dial import dial, transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.endpoints import Sink
    from pync.endpoints.datagrams import DatagramSocket
    from pync.endpoints.memory import Remembered
    from pync.errors import PyncError
    from pync.events import Event
    from pync.modes.run import Run
    from pync.modes.session import Far


UNREACHED = (ConnectError, ProxyError, TimedOut)  # another port may answer


async def connect(run: Run) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; otherwise raises what the last one failed of."""
    if run.config.proxy or run.config.tls:
        from pync.modes.reach import prepare

        prepare(run)
    ports: list[int | None] = list(in_order(run)) or [None]
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    stdout: Sink = Stdout(run.loop)
    if len(ports) > 1:  # the end of one conversation must not close it for the next
        from pync.endpoints.shared import SharedStdout

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
        from pync.modes.reach import reach

        return await reach(run, port)
    return endpoint(run, *await dial(run.loop, run.config, port, run.report))


async def _session(run: Run, port: int | None, far: Far, stdout: Sink) -> int | None:
    if run.config.pass_descriptor:
        from pync.modes.hand_over import hand_over

        hand_over(far)
        return None
    if run.config.program:
        from pync.modes.program import serve

        return await serve(run, far, run.config.program)
    stdin = read_stdin(run) if run.config.send else None
    if stdin and port is not None and run.config.datagram:
        from pync.endpoints.memory import Remembered

        await _ask(run, port, far, Remembered(stdin), stdout)  # type: ignore[arg-type]
    else:
        await converse(run, far, Local(stdin, stdout, terminal=is_terminal(STDIN)), client=True)
    return None


async def _ask(run: Run, port: int, far: DatagramSocket, said: Remembered, stdout: Sink) -> None:
    """Converse by UDP, with the next address if one is lost before it was heard. Raises how the last one was lost."""
    lost: list[Any] = []
    while True:
        try:
            return await converse(run, far, Local(said, stdout, terminal=is_terminal(STDIN)), client=True)
        except PeerLost as error:
            lost.append(far.name)
            again = None if far.heard else said.again()
            following = await _next(run, port, lost, error.cause) if again else None
            if not again or not following:
                raise
            far, said = following, again


async def _next(run: Run, port: int, lost: list[Any], why: str) -> DatagramSocket | None:
    """The next address, and word of the one that was lost; None if that was the last."""
    events: list[Event] = []
    try:
        sock, name = await dial(run.loop, run.config, port, events.append, lost)
    except ConnectError:
        return None
    if name in lost:  # under another name: 0.0.0.0 is this host
        sock.close()
        return None
    host, where, kind = run.config.host or "", address(lost[-1]), transport(run.config)
    for event in ConnectFailed(host=host, address=where, transport=kind, why=why), *events:
        run.report(event)
    return endpoint(run, sock, name)  # type: ignore[return-value]
