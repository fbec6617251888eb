"""Scanning one port after the other, by a `Behaviour`: each is connected to in full, and closed.

A module of its own, beside `scan.py`, which tries many ports at a time.
"""

from __future__ import annotations

from pync.connections.outgoing import open_connection, prepare
from pync.errors import ConnectError, PortRefused, ProxyError, TimedOut
from pync.events import Outcome
from pync.modes import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.behaviour import Behaviour
    from pync.context import Context


async def scan_in_order(context: Context, behaviour: Behaviour) -> Outcome:
    """Try each port. `opened` if any is open; but a port of UDP that refuses counts for more than those before it.

    Raises what ends a run: AddressError, BindError, ProxyError of a proxy that was reached, ConnectError of a path.
    """
    prepare(context)
    if context.config.family == "unix":
        (await open_connection(context, None)).close()
        return Outcome(opened=True)
    opened = False
    for port in in_order(context):
        opened = await _is_open(context, port, otherwise=opened)
        if behaviour.port_pause:
            await context.loop.sleep(behaviour.port_pause)
    return Outcome(opened=opened)


async def _is_open(context: Context, port: int, *, otherwise: bool) -> bool:
    """Whether the port is open, or `otherwise` if it could not be connected to, which has been reported."""
    try:
        (await open_connection(context, port)).close()
    except PortRefused:
        return False
    except ProxyError as error:
        if error.asked:
            raise
    except (ConnectError, TimedOut):
        pass
    else:
        return True
    return otherwise
