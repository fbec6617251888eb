"""Attempts: the order in which ports are tried, and trying again for as long as was asked for."""

from __future__ import annotations

from pync.errors import AddressError, ConnectError, ProxyError, PyncError, TimedOut
from pync.events import Retrying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    from pync.context import Context

    T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two attempts with --retry
NOT_YET = (AddressError, ConnectError, ProxyError, TimedOut)  # what may be otherwise in a moment


def in_order(context: Context) -> tuple[int, ...]:
    """The ports in the order to be tried."""
    if not context.config.shuffle:
        return context.config.ports
    import random

    return tuple(random.sample(context.config.ports, len(context.config.ports)))


async def with_retry(context: Context, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the attempt gives, trying again for as long as `retry` says. Raises TimedOut when that is over."""
    retry = context.config.retry
    if retry is None:
        return await attempt()
    failures: list[PyncError] = []

    async def keep_trying() -> T:
        pause = FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except NOT_YET as error:
                failures[:] = [error]
            context.report(Retrying(error=failures[0], pause=pause))
            await context.loop.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    try:
        return await context.loop.within(retry, keep_trying())
    except TimeoutError:
        last = failures[0] if failures else TimedOut(f"connect to {context.config.host}", "no answer")
        raise TimedOut(last.what, f"{last.why} (tried for {retry:g} s)") from None
