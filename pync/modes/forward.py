"""Forwarding: each client is relayed to a connection of its own (`--to`).

Theory: a session has two endpoints here, the client's and the one that is made for it, and closes both. `bridge` is
for whoever has got them, by whatever dialogue. A client whose connection cannot be made learns it by a reset. Who sends
datagrams never says goodbye, so such a session ends when both sides have been silent for a while, and the next
datagram begins a new one.
"""

from __future__ import annotations

from pync.bridge import Bridge, Exchange
from pync.endpoints.sockets import Stream
from pync.errors import TimedOut
from pync.flow import Flow
from pync.modes.keep_open import Service
from pync.modes.reach import prepare, reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.endpoints import Source
    from pync.modes.run import Run
    from pync.modes.session import Far

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


class Forward(Service):
    """A connection to the target for each client."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.onward = run.towards(outgoing(run.config))
        prepare(self.onward)

    async def session(self, far: Far) -> None:
        """Relay one client. Raises what `reach` and `bridge` raise."""
        try:
            near = await self._reach(far)
        except BaseException:
            if isinstance(far, Stream):
                far.abort()
            raise
        if near:
            await bridge(self.work, far, near)

    async def _reach(self, far: Far) -> Far | None:
        """The connection to the target; None if the client is gone before it stands."""
        target = self.config.target
        assert target is not None
        reaching = reach(self.onward, target.port)
        return await (self.loop.first(reaching, far.gone()) if isinstance(far, Stream) else reaching)


async def bridge(run: Run, far: Far, near: Far, answer: Source | None = None) -> None:
    """Relay between a client and the connection made for it, and close both. Both are streams, or neither is.

    `answer` is read for the client where that is not simply what comes from the other side.

    Raises PeerLost, TimedOut, OutputError (a log).
    """
    ending = run.config.ending
    try:
        outward, inward = _flows(run, far, near, answer or near)
        if isinstance(far, Stream) and isinstance(near, Stream):
            return await Bridge(run.loop, outward, inward, ending, far=far, near=near).run()
        try:
            await Exchange(run.loop, outward, inward, ending.but(idle_timeout=ending.idle_timeout or QUIET)).run()
        except TimedOut:
            if ending.idle_timeout:
                raise
    finally:
        far.close()
        near.close()


def _flows(run: Run, far: Far, near: Far, said: Source) -> tuple[Flow, Flow]:
    """From near to far, which the logs call sent, and from far to near, which they call received."""
    heard: Source = far
    if delay := run.config.delay:
        from pync.endpoints.pacing import Delayed

        said, heard = Delayed(run.loop, said, delay), Delayed(run.loop, far, delay)
    if not run.logs:
        return Flow(run.loop, said, far), Flow(run.loop, heard, near)
    from pync.endpoints.logs import RECEIVED, SENT

    return Flow(run.loop, said, far, run.logs.copy(SENT)), Flow(run.loop, heard, near, run.logs.copy(RECEIVED))
