"""The idle limit: it ends a session in which nothing moves.

Theory: a flow moves when it reads or writes, and also while it can do neither, because the kernel's buffer is full, but
the buffer gets emptier: bytes that the peer acknowledges, or that a program takes out of a pipe, are traffic. A peer
that takes 1 kB/s leaves a buffer of megabytes full for minutes, and is slow, not idle.

A module of its own, because relays and hubs share it and a run without a limit does not import it.
"""

from __future__ import annotations

import os
import stat

from pync.endpoints import Peer
from pync.errors import PeerLost, TimedOut
from pync.system import TO_SEND, queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.endpoints import Sink
    from pync.loop.kernel import Loop
    from pync.relay.flow import Flow
    from pync.relay.rules import Relay

IDLE = "idle connection"
STEPS = 8  # checks within the limit, which therefore ends a session 1 to 1 + 1/8 of its time after the last byte


class Idle(TimedOut):
    """Nothing has moved for too long. `cause` is why, without the bytes that were not sent."""

    def __init__(self, what: str, why: str, unsent: int) -> None:
        super().__init__(what, PeerLost(what, why, unsent=unsent).why)
        self.cause = why


async def watch(
    loop: Loop, what: str, limit: float, progress: Callable[[], object], unsent: Callable[[], int] = lambda: 0
) -> None:
    """Raise TimedOut about `what` once what `progress` returns has not changed for `limit` seconds.

    `unsent` is asked then for the number of bytes that do not reach their peer.
    """
    seen, since = progress(), loop.clock()
    while loop.clock() - since < limit:
        await loop.sleep(limit / STEPS)
        if (now := progress()) != seen:
            seen, since = now, loop.clock()
    raise idle(what, f"nothing came or went for {limit:g} s", unsent())


def idle(what: str, why: str, unsent: int) -> TimedOut:
    """The error of an idle limit. The bytes that were not sent are worded as if the connection had broken."""
    return Idle(what, why, unsent)


async def watch_relay(relay: Relay, limit: float) -> None:
    """Watch both flows of a relay, unless it has suspended the limit. Raises TimedOut."""
    flows = relay.sending, relay.receiving

    def progress() -> object:
        return relay.loop.clock() if relay.idle_suspended else movement(*flows)

    await watch(relay.loop, IDLE, limit, progress, lambda: unsent(*flows))


def movement(*flows: Flow) -> list[int]:
    """Numbers of which one changes whenever anything moves in these flows."""
    numbers: list[int] = []
    for flow in flows:
        numbers += flow.moved, flow.reads
        if flow.moved or flow.reads:  # a server has thousands of clients to which nothing was sent
            numbers.append(held(flow.sink))
    return numbers


def held(sink: Sink) -> int:
    """What the kernel holds for the reader of a sink, in bytes, or for a unix socket in memory.

    It shrinks when the reader takes some. 0 for a sink of which that is not known, or that is always ready.
    """
    while sink.below:
        sink = sink.below
    if isinstance(sink, Peer):
        return queued(sink.sock.fileno(), TO_SEND) if sink.has_eof else 0
    fd = sink.raw()
    return queued(fd) if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode) else 0


def unsent(*flows: Flow) -> int:
    """Bytes of these flows that do not reach their peer, with those that the kernel holds for it.

    Under TLS the kernel holds other bytes, which are not counted.
    """
    into_peers = [(flow, flow.sink) for flow in flows if isinstance(flow.sink, Peer)]
    return sum(flow.unsent() + (peer.unacknowledged() if peer.raw() is not None else 0) for flow, peer in into_peers)
