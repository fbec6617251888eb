"""Connecting a proxy's client to the target that it has asked for, if the rules allow that.

Theory: a name is looked up once. Its addresses are checked, and only those that are allowed are connected to: a second
look-up could have another answer than the one that was checked.

A module of its own, because only a proxy connects to places that its user has not chosen.
"""

from __future__ import annotations

from pync.connections import connected
from pync.errors import ConnectError, TimedOut, reason
from pync.events import Connected, as_address
from pync.net.attempt import tune
from pync.net.dial import connect_goal
from pync.net.happy_eyeballs import race
from pync.net.resolve import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.net.access import Rules


class NotPermitted(ConnectError):
    """The rules allow no address of the target."""


async def open_permitted(context: Context, port: int, rules: Rules) -> Peer:
    """A connection to the config's host, on this port. Raises NotPermitted, AddressError, ConnectError, BindError.

    Raises TimedOut after `connect_timeout` seconds.
    """
    try:
        return await context.loop.within(context.config.connect_timeout, _open(context, port, rules))
    except TimeoutError:
        raise TimedOut(connect_goal(context, port), "timed out") from None


async def _open(context: Context, port: int, rules: Rules) -> Peer:
    found = await resolve(context, context.config.host, port)
    allowed = [(family, name) for family, name in found if rules.denial_reason(str(name[0])) is None]
    if not allowed:
        raise NotPermitted(connect_goal(context, port), "the target is not allowed")
    try:
        sock, name = await race(context, allowed, None)
    except OSError as error:
        raise ConnectError(f"{connect_goal(context, port)} failed", reason(error)) from None
    tune(sock)
    host = context.config.host or ""
    context.report(Connected(host=host, address=as_address(name), transport=context.transport))
    return connected(context, sock, name)
