"""Names to addresses, without ever holding up the loop.

Theory: what is an address already is answered at once. A name is asked for in a thread of its own, because the C
library's resolver cannot be interrupted: so timeouts and Ctrl-C work while a name server is silent. The thread owns
the writing end of a pipe and closes it when it has an answer; nobody has to wait for it if the answer is no longer
wanted. (`_thread` is what `threading` is made of, at none of its start-up cost.)
"""

from __future__ import annotations

import _thread
import os

from pync.errors import AddressError, reason
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Family
    from pync.loop.kernel import Loop

AF_VSOCK = getattr(socket, "AF_VSOCK", 40)  # <linux/socket.h>, should Python have been built without
FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


async def resolve(
    loop: Loop, host: str | None, port: int, family: Family, *, datagram: bool, numeric: bool
) -> list[tuple[int, Any]]:
    """Every (family, socket address) of a host, in the resolver's order, none twice; None means "any" (to bind).

    `numeric`: never ask a name server. Of "vsock" the host is a number already. Raises AddressError.
    """
    if family == "vsock":
        return [(AF_VSOCK, (int(host or 0), port))]
    kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
    # As bytes, a plain name is not put through the IDNA codec, whose import takes as long as the look-up.
    asked = host.encode() if host and host.isascii() else host
    query = (asked, port, FAMILIES[family], kind, 0)
    try:
        try:
            found = socket.getaddrinfo(*query, socket.AI_NUMERICHOST | socket.AI_PASSIVE)
        except socket.gaierror as error:
            if numeric or error.errno != socket.EAI_NONAME:
                raise
            found = await _ask(loop, query)
    except (socket.gaierror, UnicodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "not a valid name"
        raise AddressError(f"host {host}", why) from None
    return list(dict.fromkeys((item[0], item[4]) for item in found))


async def _ask(loop: Loop, query: tuple[Any, ...]) -> Any:
    answer: list[Any] = []

    def ask(done: int) -> None:
        try:
            answer.append(socket.getaddrinfo(*query))
        except (OSError, UnicodeError) as error:
            answer.append(error)
        finally:
            os.close(done)

    reading, done = os.pipe()
    try:
        _thread.start_new_thread(ask, (done,))
        await loop.readable(reading)
    finally:
        loop.forget(reading)
        os.close(reading)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]
