"""The idle limit: it ends a session in which nothing moves.

A module of its own, because relays and hubs share it and a run without a limit does not import it.
"""

from __future__ import annotations

from pync.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.loop.kernel import Loop

STEPS = 8  # checks within the limit, which therefore ends a session 1 to 1 + 1/8 of its time after the last byte


async def watch(loop: Loop, what: str, limit: float, progress: Callable[[], float]) -> None:
    """Raise TimedOut about `what` once the number that `progress` returns has not changed for `limit` seconds."""
    seen, since = progress(), loop.clock()
    while loop.clock() - since < limit:
        await loop.sleep(limit / STEPS)
        if (now := progress()) != seen:
            seen, since = now, loop.clock()
    raise TimedOut(what, f"nothing came or went for {limit:g} s")
