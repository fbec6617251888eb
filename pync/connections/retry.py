"""Trying again for the time that --retry allows, with growing pauses.

A module of its own, because a run without --retry does not import it.
"""

from __future__ import annotations

from pync.connections.outgoing import UNREACHED
from pync.errors import AddressError, PyncError, TimedOut
from pync.events import Address, Retrying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pync.context import Context
    from pync.loop.tasks import Work

    T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two attempts


def longer(pause: float) -> float:
    """The pause that follows a pause."""
    return min(2 * pause, LONGEST_PAUSE)


RETRIED = (AddressError, *UNREACHED)  # failures that may be over in a moment


async def with_retry(context: Context, attempt: Callable[[], Work[T]]) -> T:
    """The attempt's result; it is repeated after a failure in RETRIED. Raises TimedOut after `retry` seconds."""
    retry = context.config.retry
    failures: list[PyncError] = []
    try:
        return await context.loop.within(retry, repeat(context, attempt, failures))
    except TimeoutError:
        proxy = context.config.proxy
        through = f" through proxy {Address(host=proxy.host, port=proxy.port)}" if proxy else ""
        last = failures[-1] if failures else TimedOut(f"connect to {context.config.host}{through}", "no answer")
        raise TimedOut(last.what, f"{last.why} (tried for {retry:g} s)") from None


async def repeat(context: Context, attempt: Callable[[], Work[T]], failures: list[PyncError]) -> T:
    """The attempt's result; it is repeated after a failure in RETRIED, without end. `failures` holds the last one."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except RETRIED as error:
            failures[:] = [error]
        context.report(Retrying(error=failures[0], pause=pause))
        await context.loop.sleep(pause)
        pause = longer(pause)
