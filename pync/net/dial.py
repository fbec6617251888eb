"""Getting a socket that is connected to the config's host. Several addresses race: see `happy_eyeballs.py`."""

from __future__ import annotations

from pync.errors import ConnectError, reason
from pync.events import Connected, as_address
from pync.net.attempt import attempt, attempt_failed, tune
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pync.context import Context
    from pync.net.attempt import Connection


def connect_goal(context: Context, port: int | None) -> str:
    """What is attempted, for a message."""
    return f"connect to {context.config.host}" + (f" port {port} ({context.transport})" if port is not None else "")


async def dial(context: Context, port: int | None, without: Sequence[Any] = ()) -> Connection:
    """A connected socket to the config's host, on this port (None: a unix path), and the name of its peer.

    The addresses in `without` are passed over. Raises AddressError, ConnectError, BindError; and TimeoutError if each
    address has a limit, and the last one was silent.
    """
    try:
        sock, name = await _connect(context, port, without)
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:  # a limit has passed, not the system's own
            raise
        raise ConnectError(f"{connect_goal(context, port)} failed", reason(error)) from None
    if not context.config.behaviour:
        tune(sock)
    connected = Connected(host=context.config.host or "", address=as_address(name), transport=context.transport)
    context.report(connected)
    return sock, name


async def _connect(context: Context, port: int | None, without: Sequence[Any]) -> Connection:
    if context.config.behaviour:
        from pync.net.one_by_one import connect

        return await connect(context, port, context.config.behaviour)
    if port is None:
        return await attempt(context, socket.AF_UNIX, unix_name(context.config.host or ""), await _own(context))
    found = await resolve(context, context.config.host, port)
    own = await _own(context)
    if len(found) != 1 or found[0][1] in without:
        from pync.net.happy_eyeballs import race

        return await race(context, found, own, without)
    try:
        return await attempt(context, *found[0], own)
    except OSError as error:
        context.report(attempt_failed(context, found[0][1], reason(error)))
        raise


async def _own(context: Context) -> Any:
    config = context.config
    asked = config.source_host is not None or config.source_port is not None or config.socket.interface
    if not (asked or (config.datagram and config.family == "unix")):
        return None
    from pync.net.source import own_names

    return await own_names(context)
