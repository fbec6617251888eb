"""Connecting to a host with several addresses: the first connection that is made wins (RFC 8305, Happy Eyeballs).

Theory: the addresses are tried with the families taking turns, so that one family does not wait for the other. A new
attempt begins a quarter of a second after the last one, or as soon as one fails.
"""

from __future__ import annotations

import errno
import os
from itertools import zip_longest

from pync.errors import reason
from pync.loop.tasks import Condition
from pync.net.attempt import attempt, attempt_failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pync.context import Context
    from pync.loop.tasks import Task
    from pync.net.attempt import Connection

    Places = list[tuple[int, Any]]  # families, and addresses as the system names them

ATTEMPT_DELAY = 0.25  # seconds (RFC 8305 §5)


def take_turns(found: Places) -> Places:
    """The families one by one, beginning with that of the first address (RFC 8305 §4)."""
    first = [item for item in found if item[0] == found[0][0]]
    other = [item for item in found if item[0] != found[0][0]]
    return [item for pair in zip_longest(first, other) for item in pair if item]


async def race(context: Context, found: Places, own: Any, without: Sequence[Any] = ()) -> Connection:
    """The first connection to one of these addresses. Raises the last OSError; BindError and ConnectError at once."""
    waiting = [(family, name) for family, name in take_turns(found) if name not in without]
    loop, ended = context.loop, Condition()
    running: dict[Task, Any] = {}
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    try:
        while waiting or running:
            if waiting:
                family, name = waiting.pop(0)
                running[loop.spawn(attempt(context, family, name, own), ended)] = name
            await loop.wait(ended, loop.clock() + ATTEMPT_DELAY if waiting else None)
            for task in [task for task in running if task.done]:
                name = running.pop(task)
                if not isinstance(task.error, OSError):
                    won: Connection = task.result()
                    return won
                failure = task.error
                context.report(attempt_failed(context, name, reason(failure)))
        raise failure
    finally:
        await _abandon(context, running)


async def _abandon(context: Context, running: dict[Task, Any]) -> None:
    """End the attempts that did not win. One of them may have got a connection meanwhile, which is closed."""
    await context.loop.cancel_and_wait(*running)
    for task in running:
        if task.error is None:
            task.result()[0].close()
