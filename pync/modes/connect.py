"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each."""

from __future__ import annotations

from functools import partial

from pync.endpoints import CHUNK
from pync.endpoints.datagrams import LARGEST, DatagramSocket, address
from pync.endpoints.shared import SharedStdout
from pync.endpoints.sockets import StreamSocket
from pync.endpoints.stdio import STDIN, Stdin, Stdout, is_terminal
from pync.errors import ConnectError, TimedOut
from pync.events import Outcome
from pync.modes.attempts import in_order, patiently
from pync.modes.session import Local, converse, serve
from pync.net.dial import dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from pync.endpoints import Sink
    from pync.errors import PyncError
    from pync.modes.session import Far, Run


async def connect(run: Run) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; otherwise raises what the last one failed of."""
    ports: list[int | None] = list(in_order(run)) or [None]
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    stdout: Sink = Stdout(run.loop)
    if len(ports) > 1:  # the end of one conversation must not close it for the next
        stdout = SharedStdout(run.loop, stdout, lines=False).join()
    for port in ports:
        try:
            sock, name = await patiently(run, partial(dial, run.loop, run.config, port, run.report))
        except (ConnectError, TimedOut) as error:
            failure = error
            continue
        opened = True
        status = await _session(run, _endpoint(run, sock, name), stdout)
    if failure and not opened:
        raise failure
    return Outcome(opened=True, child_status=status)


async def _session(run: Run, far: Far, stdout: Sink) -> int | None:
    if run.config.program:
        return await serve(run, far, run.config.program)
    size = LARGEST if run.config.datagram else CHUNK
    stdin = Stdin(run.loop, size=size) if run.config.send else None
    await converse(run, far, Local(stdin, stdout, terminal=is_terminal(STDIN)), client=True)
    return None


def _endpoint(run: Run, sock: socket.socket, name: Any) -> Far:
    if run.config.datagram:
        return DatagramSocket(run.loop, sock, name)
    return StreamSocket(run.loop, sock, address(name))
