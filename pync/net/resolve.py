"""Looking up the addresses of a name, without ever holding up the loop.

Theory: an address needs no look-up. A name is looked up in a thread (`loop/threads.py`), so that deadlines and Ctrl-C
work while a name server is silent. A name that waits for a thread, or gets none, costs its own session alone.

A module of its own, because dialling, binding, scanning and proxies share it.
"""

from __future__ import annotations

import os

from pync.errors import AddressError, reason
from pync.system import AF_VSOCK, LINUX, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Family
    from pync.context import Context

FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


async def resolve(context: Context, host: str | None, port: int, family: Family | None = None) -> list[tuple[int, Any]]:
    """Every (family, socket address) of a host, in the resolver's order; None is the wildcard, to bind to.

    Each is there once, unless they are tried in order. `family` is the config's unless another one is given. Raises
    AddressError.
    """
    config = context.config
    family = family or config.family
    if family == "vsock":  # its addresses are numbers already
        return [(AF_VSOCK, (int(host or 0), port))]
    kind = socket.SOCK_DGRAM if config.datagram else socket.SOCK_STREAM
    # As bytes, a plain name does not pass through the IDNA codec, whose import takes as long as the look-up.
    name = host.encode() if host and host.isascii() else host
    query = (name, port, FAMILIES[family], kind, 0)
    try:
        try:
            found = socket.getaddrinfo(*query, socket.AI_NUMERICHOST | socket.AI_PASSIVE)
        except socket.gaierror as error:
            if config.numeric or error.errno != socket.EAI_NONAME:
                raise
            from pync.loop.threads import in_thread

            found = await in_thread(context.loop, lambda: socket.getaddrinfo(*query))
    except (OSError, UnicodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "not a valid name"
        raise AddressError(f"host {host}", why, host=host, port=port) from None
    places: list[tuple[int, Any]] = [(item[0], item[4]) for item in found]
    return places if config.behaviour and config.behaviour.addresses == "in order" else list(dict.fromkeys(places))


def unix_name(path: str) -> str | bytes:
    """A unix path as the system wants it: `@name` is an abstract one (unix(7)). Only Linux has those."""
    return b"\0" + os.fsencode(path[1:]) if LINUX and path.startswith("@") else path
