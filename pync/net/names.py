"""The names of addresses of ours and of clients, for a run that reports them by their names (`Behaviour.name_of`).

Theory: an event has the name already, because what reports it must not wait. A look-up may take as long as a name
server is silent, so it is done in a thread, and before the event. A module of its own, because all listeners share it.
"""

from __future__ import annotations

from pync.events import as_address
from pync.listener_events import NamedAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.context import Context
    from pync.events import Address


async def named(context: Context, name: Any) -> Address:
    """The address that the system calls `name`, with its own name if the run reports names. Unix paths have none.

    Where there is none to be had, for the want of a thread or of an answer, the name is the OSError.
    """
    address, behaviour = as_address(name), context.config.behaviour
    name_of = behaviour and behaviour.name_of
    if not name_of or address.port is None:
        return address
    from pync.loop.threads import in_thread

    host, found = address.host, None
    try:
        found = await in_thread(context.loop, lambda: name_of(host))
    except OSError as error:
        found = error
    return NamedAddress(host=host, port=address.port, name=found)
