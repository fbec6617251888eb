"""The limit on the number of descriptors, for a run that needs many, and how many clients it leaves room for.

A module of its own, because a run with one connection does not need it.
"""

from __future__ import annotations

BATCHES = 150  # descriptors that are left for clients that were accepted a moment ago, and for other things


def raise_limit() -> None:
    """Raise the limit of descriptors as far as allowed: each client takes one, and so does each port of a scan."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # the limit stays as it was
            pass


def room_for_clients(asked: int | None) -> int:
    """With how many clients a server is full, if it serves `asked` at most: there are few descriptors for more."""
    import os
    import resource

    free = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(os.listdir("/dev/fd"))
    # A batch of clients is accepted before one of them is served.
    room = max(1, free - min(BATCHES, free // 4))
    return room if asked is None else min(asked, room)
