"""Connecting by a `Behaviour`: to the addresses of a name one after the other, or to the first alone.

Theory: each address has a limit of its own, and the look-up has none. Our own end is looked up and bound anew for each
address, in its family. "Connecting" UDP sends nothing, so datagrams can probe the port first. The host's refusal of one
of them is the error of the next.

A module of its own, because a connection that is made in pync's own way does not import it.
"""

from __future__ import annotations

import errno

from pync.errors import PortRefused, reason
from pync.events import as_address
from pync.net.attempt import attempt, attempt_failed
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.behaviour import Behaviour, DatagramProbes
    from pync.config import Config, Family
    from pync.context import Context
    from pync.net.attempt import Connection

FAMILIES: dict[int, Family] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
CLOSED_PORT = 31337  # of TCP: hardly any host has a service there, and the refusal shows how long an answer takes


async def connect(context: Context, port: int | None, behaviour: Behaviour) -> Connection:
    """A connection to the config's host, on this port (None: a unix path).

    Raises OSError of the last address, TimeoutError if that was silent; AddressError, BindError, ConnectError; and
    PortRefused if probes were refused.
    """
    config = context.config
    if port is None:
        return await _to_path(context, behaviour)
    found = await resolve(context, config.host, port)
    if behaviour.addresses == "race":
        from pync.net.happy_eyeballs import race

        return await context.loop.within(config.connect_timeout, race(context, found, await _own(context, config)))
    sock, name = await _first_of(context, found[:1] if behaviour.addresses == "first" else found, behaviour)
    if behaviour.probes and config.datagram:
        await _probe(context, sock, name, behaviour.probes)
    return sock, name


async def _first_of(context: Context, places: list[tuple[int, Any]], behaviour: Behaviour) -> Connection:
    """A connection to the first of these addresses that can be connected to; each failure is reported."""
    failure: OSError | None = None
    for family, name in places:
        try:
            return await _to_address(context, family, name, behaviour)
        except OSError as error:
            failure, late = error, isinstance(error, TimeoutError) and error.errno is None
            if error.errno != errno.EAFNOSUPPORT:  # without its family an address is none
                why = "timed out" if late else reason(error)
                context.report(attempt_failed(context, name, why, timed_out=late))
    assert failure, "a name has an address"
    raise failure


async def _to_address(context: Context, family: int, name: Any, behaviour: Behaviour) -> Connection:
    loop, config = context.loop, context.config
    own = await _own(context, config.but(family=FAMILIES.get(family, config.family)))

    async def connect() -> Connection:
        return await loop.within(config.connect_timeout, attempt(context, family, name, own))

    if behaviour.bind_tries == 1:
        return await connect()
    from pync.net.first_address import with_tries

    return await with_tries(context, behaviour.bind_tries, connect)


async def _own(context: Context, config: Config) -> Any:
    """What our own end is to be bound to by this config; None if the system shall choose."""
    if config.source_host is None and config.source_port is None and not config.socket.interface:
        return None
    from pync.net.source import own_names

    return await own_names(context.derive(config))


async def _to_path(context: Context, behaviour: Behaviour) -> Connection:
    config, own = context.config, None
    if config.datagram:
        if config.source_host or behaviour.temporary_path:
            from pync.net.own_path import connect_from_path

            return await connect_from_path(context, behaviour)
        from pync.net.source import own_names

        own = await own_names(context)
    return await attempt(context, socket.AF_UNIX, unix_name(config.host or ""), own)


async def _probe(context: Context, sock: socket.socket, name: Any, probes: DatagramProbes) -> None:
    """Send the probes from a connected socket. If one is refused, close it, report that and raise PortRefused."""
    try:
        for number in range(probes.at_once + probes.later):
            if number >= probes.at_once:
                await _pause(context, sock, name, probes.interval)
            sock.send(probes.payload)
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError):
            raise
        context.report(attempt_failed(context, name, reason(error)))
        raise PortRefused(f"probe {as_address(name)}", reason(error)) from None


async def _pause(context: Context, sock: socket.socket, name: Any, seconds: float | None) -> None:
    """Wait for `seconds`, or without them until the host has answered a connection by TCP in some way."""
    if seconds is not None:
        await context.loop.sleep(seconds)
        return
    plain = context.derive(context.config.but(datagram=False))
    try:
        stream, _ = await attempt(plain, sock.family, (name[0], CLOSED_PORT, *name[2:]), None)
    except OSError:
        return
    stream.close()
