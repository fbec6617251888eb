"""The three ways of being started: connect, listen, scan.

A mode gets its peers from `connections`, gives them to a session or a service, and returns the outcome. It must never
print, and never look at an option that only a face knows.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context


def in_order(context: Context) -> tuple[int, ...]:
    """The ports in the order in which they shall be tried."""
    if not context.config.shuffle:
        return context.config.ports
    import random

    return tuple(random.sample(context.config.ports, len(context.config.ports)))
