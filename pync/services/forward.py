"""Forwarding: each client is relayed to a connection of its own (`--to`).

Theory: a session has two endpoints here, the client's and the one that is made for it, and closes both. `bridge` is
for whoever has got them, by whatever dialogue. A client whose connection cannot be made learns it by a reset. Who sends
datagrams never says goodbye, so such a session ends when both sides have been silent for a while, and the next
datagram begins a new one. Nor does it learn whether anybody is there: see `again.py`.
"""

from __future__ import annotations

from pync.connections.outgoing import prepare, reach
from pync.endpoints.streams import Stream
from pync.errors import TimedOut
from pync.relay.bridge import Bridge, Exchange
from pync.relay.flow import Flow
from pync.services.server import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.context import Context
    from pync.endpoints import Sink, Source
    from pync.endpoints.datagrams import DatagramSocket
    from pync.sessions.conversation import Peer

QUIET = 120.0  # seconds without a datagram either way that end a session (RFC 4787, REQ-5: at least two minutes)


def outgoing(config: Config) -> Config:
    """How the target of the clients of such a listener is reached."""
    target = config.target
    assert target is not None
    family = config.family if config.family in {"ipv4", "ipv6"} else "any"
    return config.but(  # type: ignore[no-any-return]
        mode="connect",
        family="unix" if target.port is None else family,
        host=target.host,
        ports=() if target.port is None else (target.port,),
        source_host=None,
        source_port=None,
        tls=target.tls,
    )


class ForwardService(Service):
    """A connection to the target for each client."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.onward = context.towards(outgoing(context.config))
        prepare(self.onward)
        if context.config.datagram:  # as `prepare`
            from pync.connections import next_address  # noqa: F401
            from pync.endpoints import datagrams  # noqa: F401

    async def session(self, far: Peer) -> None:
        """Relay one client. Raises what `reach`, `bridge` and `exchange` raise."""
        try:
            near = await self._reach(far)
        except BaseException:
            if isinstance(far, Stream):
                far.abort()
            raise
        if isinstance(far, Stream) and isinstance(near, Stream):
            await bridge(self.context, far, near)
        elif near:
            await self._exchange(far, near)  # type: ignore[arg-type]

    @property
    def port(self) -> int | None:
        """The target's; None if that is a path."""
        return next(iter(self.onward.config.ports), None)

    async def _reach(self, far: Peer) -> Peer | None:
        """The connection to the target; None if the client is gone before it stands."""
        reaching = reach(self.onward, self.port)
        return await (self.loop.first(reaching, far.wait_closed()) if isinstance(far, Stream) else reaching)

    async def _exchange(self, far: Peer, near: DatagramSocket) -> None:
        from pync.connections.next_address import with_next_address

        try:
            await with_next_address(
                self.onward, self.port, near, far, lambda near, said: exchange(self.context, far, said, near)
            )
        finally:
            far.close()


async def bridge(
    context: Context, far: Stream, near: Stream, question: Source | None = None, answer: Source | None = None
) -> None:
    """Relay between a client and the connection made for it, and close both.

    `question` is read for the target, `answer` for the client, where that is not simply what comes from the other side.

    Raises PeerLost, TimedOut, OutputError (a log).
    """
    try:
        sending, receiving = _flows(context, (answer or near, far), (question or far, near))
        await Bridge(context.loop, sending, receiving, context.config.ending, far=far, near=near).run()
    finally:
        far.close()
        near.close()


async def exchange(context: Context, far: Peer, said: Source, near: DatagramSocket) -> None:
    """Relay datagrams between a client, who says what is `said`, and the target, and close the target.

    Raises PeerLost, TimedOut (if a limit was asked for), OutputError (a log).
    """
    ending = context.config.ending
    try:
        sending, receiving = _flows(context, (near, far), (said, near))
        await Exchange(context.loop, sending, receiving, ending.but(idle_timeout=ending.idle_timeout or QUIET)).run()
    except TimedOut:
        if ending.idle_timeout:
            raise
    finally:
        near.close()


def _flows(context: Context, out: tuple[Source, Sink], back: tuple[Source, Sink]) -> tuple[Flow, Flow]:
    """Out to the client, which the logs call sent, and back from it, which they call received."""
    if not context.logs:
        return Flow(context.loop, *out), Flow(context.loop, *back)
    from pync.relay.log_files import RECEIVED, SENT

    return Flow(context.loop, *out, context.logs.copy(SENT)), Flow(context.loop, *back, context.logs.copy(RECEIVED))
