"""Forwarding: each client is relayed to a connection of its own to the target (`--to`).

Theory: a session has two peers here, the client and the target, and it closes both. `bridge` relays between them, for
`proxy.py`, too. A client whose target cannot be reached is reset; with `retry`, when that time has passed. The attempts
end when the client has closed or broken its connection, but not when it has half-closed it, and waits for an answer.

Datagrams have no end-of-file: their session ends when both sides have been silent for a while, and the next datagram
begins a new one. A sender of datagrams does not learn at once whether the target's port is open: see
`connections/next_address.py`.
"""

from __future__ import annotations

from pync.connections.outgoing import open_connection, prepare
from pync.errors import TimedOut
from pync.relay.bridge import Bridge, Exchange
from pync.relay.flow import Flow, Session
from pync.services import Service
from pync.stages import feed_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from pync.config import Config
    from pync.context import Context
    from pync.endpoints import Peer, Sink, Source
    from pync.stages import Stage

QUIET = 120.0  # seconds without a datagram that end a session (RFC 4787, REQ-5: at least two minutes)


def outgoing_config(config: Config, **changes: Any) -> Config:
    """The config by which a listener connects to targets for its clients: its own, with these changes."""
    family = config.family if config.family in ("ipv4", "ipv6") else "any"
    if config.socket.interface:  # it is that of the clients' group
        changes["socket"] = config.socket.but(interface=None)
    changes = {"family": family, "websocket": None, **changes}
    return config.but(mode="connect", source_host=None, source_port=None, **changes)


def target_config(config: Config) -> Config:
    """The config by which a forwarding listener connects to its target."""
    target = config.target
    assert target is not None
    layers = {"tls": target.tls, "websocket": target.websocket}
    if target.port is None:
        return outgoing_config(config, family="unix", host=target.host, ports=(), **layers)
    return outgoing_config(config, host=target.host, ports=(target.port,), **layers)


class ForwardService(Service):
    """A connection to the target for each client."""

    descriptors = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.outgoing_context = context.derive(target_config(context.config))
        prepare(self.outgoing_context)
        self.plain_context = context.derive(self.outgoing_context.config.but(tls=None, websocket=None))

    async def session(self, client: Peer) -> int | None:
        """Relay one client. Raises what `open_connection`, `bridge` and `exchange` raise."""
        try:
            target: Peer | None = await self.loop.first(self._reach(client), client.wait_closed())
        except BaseException:
            client.abort()
            raise
        if target is None:  # the client has left already
            client.close()
        elif client.has_eof:
            await bridge(self.context, client, target)
        else:
            await self._exchange(client, target)
        return None

    async def _reach(self, client: Peer) -> Peer:
        if self.config.retry is None:
            return await self._open(client)
        from pync.connections.retry import with_retry

        return await with_retry(self.outgoing_context, lambda: self._open(client))

    def _open(self, client: Peer) -> Coroutine[Any, Any, Peer]:
        context, version = self.outgoing_context, self.config.target and self.config.target.proxy_header
        if not version:
            return open_connection(context, self.port)
        from pync.connections.through_balancer import open_naming

        return open_naming(context, self.plain_context, self.port, client, version)

    @property
    def port(self) -> int | None:
        """The target's port; None if the target is a unix path."""
        return next(iter(self.outgoing_context.config.ports), None)

    async def _exchange(self, client: Peer, target: Peer) -> None:
        from pync.connections.next_address import OneEnd, with_next_address

        try:
            with OneEnd(self.context) as context:
                await with_next_address(
                    self.outgoing_context,
                    self.port,
                    target,
                    client,
                    lambda target, source: exchange(context, client, source, target),
                )
        finally:
            client.close()


async def bridge(
    context: Context,
    client: Peer,
    target: Peer,
    request: Source | None = None,
    answer: Source | None = None,
    passed_on: bytes = b"",
) -> None:
    """Relay between a client and the target, and close both.

    `request` is read for the target and `answer` for the client, where that is not simply what the other side sends.
    `passed_on`: what of the client the target has already.
    Raises PeerLost, TimedOut, OutputError (a log).
    """
    try:
        sending, receiving = _flows(context, client, (answer or target, client), (request or client, target))
        receiving.moved = len(passed_on)
        feed_all(receiving.stages, passed_on)
        relay = Bridge(context, client, target, sending, receiving)
        with Session(context, client.address, relay):
            await relay.run()
    finally:
        client.close()
        target.close()


async def exchange(context: Context, client: Peer, source: Source, target: Peer) -> None:
    """Relay datagrams between a client and the target, and close the target. `source` gives the client's datagrams.

    Raises PeerLost, TimedOut (if a limit was asked for), OutputError (a log).
    """
    asked = context.config.ending.idle_timeout
    try:
        relay = Exchange(context, *_flows(context, client, (target, client), (source, target)))
        relay.idle_limit = asked or QUIET
        with Session(context, client.address, relay):
            await relay.run()
    except TimedOut:
        if asked:
            raise
    finally:
        target.close()


def _flows(
    context: Context, client: Peer, sending: tuple[Source, Sink], receiving: tuple[Source, Sink]
) -> tuple[Flow, Flow]:
    """The flows to the client and from it. The logs record the first as sent, the second as received."""
    sent: tuple[Stage, ...] = ()  # not lists: a server has thousands of these flows
    received: tuple[Stage, ...] = ()
    if context.logs:
        from pync.relay.log_files import RECEIVED, SENT

        logs = context.logs.of(client)
        sent += logs.copy(SENT)
        received += logs.copy(RECEIVED)
    if context.config.checksum:
        from pync.stages.checksum import Checksum

        sent += (Checksum(),)
        received += (Checksum(),)
    return Flow(context.loop, *sending, sent), Flow(context.loop, *receiving, received)
