"""Connecting: to one port, or to each of several one after the other, with a conversation or a program on each."""

from __future__ import annotations

from pync.endpoints import CHUNK
from pync.endpoints.datagrams import LARGEST, DatagramSocket, address
from pync.endpoints.sockets import StreamSocket
from pync.endpoints.stdio import STDIN, Stdin, Stdout, is_terminal
from pync.errors import AddressError, ConnectError, PyncError, TimedOut
from pync.events import Outcome, Retrying
from pync.modes.session import Local, converse, serve
from pync.net.dial import dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from typing import Any

    from pync.modes.session import Far, Run

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two attempts with --retry
NOT_YET = (AddressError, ConnectError, TimedOut)  # what may be otherwise in a moment


async def connect(run: Run) -> Outcome:
    """Connect, and relay. Of several ports one that answers is enough; otherwise raises what the last one failed of."""
    ports: list[int | None] = list(in_order(run)) or [None]
    status: int | None = None
    failure: PyncError | None = None
    opened = False
    for port in ports:
        try:
            sock = await patiently(run, lambda port=port: dial(run.loop, run.config, port, run.report))  # type: ignore[misc]
        except (ConnectError, TimedOut) as error:
            failure = error
            continue
        opened = True
        status = await _session(run, sock)
    if failure and not opened:
        raise failure
    return Outcome(opened=True, child_status=status)


def in_order(run: Run) -> tuple[int, ...]:
    """The ports in the order to be tried."""
    if not run.config.shuffle:
        return run.config.ports
    import random

    return tuple(random.sample(run.config.ports, len(run.config.ports)))


async def patiently(run: Run, attempt: Callable[[], Coroutine[Any, Any, socket.socket]]) -> socket.socket:
    """What the attempt gives, trying again for as long as `retry` says. Raises TimedOut when that is over."""
    retry = run.config.retry
    if retry is None:
        return await attempt()
    failures: list[PyncError] = []

    async def keep_trying() -> socket.socket:
        pause = FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except NOT_YET as error:
                failures[:] = [error]
            run.report(Retrying(error=failures[0], pause=pause))
            await run.loop.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    try:
        return await run.loop.within(retry, keep_trying())
    except TimeoutError:
        last = failures[0] if failures else TimedOut(f"connect to {run.config.host}", "no answer")
        raise TimedOut(last.what, f"{last.why} (tried for {retry:g} s)") from None


async def _session(run: Run, sock: socket.socket) -> int | None:
    far = _endpoint(run, sock)
    if run.config.program:
        return await serve(run, far, run.config.program)
    size = LARGEST if run.config.datagram else CHUNK
    stdin = Stdin(run.loop, size=size) if run.config.send else None
    await converse(run, far, Local(stdin, Stdout(run.loop), terminal=is_terminal(STDIN)), client=True)
    return None


def _endpoint(run: Run, sock: socket.socket) -> Far:
    if run.config.datagram:
        return DatagramSocket(run.loop, sock, sock.getpeername())
    return StreamSocket(run.loop, sock, address(sock.getpeername()))
