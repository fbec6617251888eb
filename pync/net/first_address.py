"""Binding by a `Behaviour`: the first address of a name that can be bound, and a port that is in use for some time.

A module of its own, because a listener in pync's own way binds all addresses, and once.
"""

from __future__ import annotations

import errno

from pync.errors import BindError, reason
from pync.events import as_address
from pync.listener_events import BindRetried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from pync.context import Context
    from pync.loop.tasks import Work
    from pync.system import socket

    T = TypeVar("T")

PAUSE = 2.0  # seconds after each attempt to bind a port that is in use, the last one, too


async def bind_first(
    context: Context, places: list[tuple[int, Any]], tries: int, bind: Callable[[int, Any], socket.socket]
) -> socket.socket:
    """What `bind` makes of the first of the places, each a family and a name, that it can bind.

    Raises the BindError of the last one, ConnectError.
    """

    async def bind_it(family: int, name: Any) -> socket.socket:
        try:
            return bind(family, name)
        except OSError as error:
            address = as_address(name)
            raise BindError(f"listen on {address}", reason(error), address=address, code=error.errno) from None

    failure: BindError | None = None
    for place in places:
        try:
            return await with_tries(context, tries, bind_it, *place)
        except BindError as error:
            failure = error
    assert failure, "a name has an address"
    raise failure


async def with_tries(context: Context, tries: int, bind: Callable[..., Work[T]], *place: Any) -> T:
    """What `bind` gives, which gets the place. While the port is in use, it is called up to `tries` times.

    Each failure is reported. Raises the last one.
    """
    for _ in range(tries):
        try:
            return await bind(*place)
        except BindError as error:
            if tries == 1 or error.facts.get("code") != errno.EADDRINUSE:
                raise
            failure = error
        context.report(BindRetried(address=failure.facts["address"], why=failure.why, pause=PAUSE))
        await context.loop.sleep(PAUSE)
    raise failure
