"""The limits that the system sets to this process: how many descriptors, and how much memory.

A module of its own, because a run with one connection does not need it. `preload.py` has what it imports.
"""

from __future__ import annotations

import os

from pync.system.files import open_descriptors

SPARE = 4  # descriptors that a server keeps back for what is opened for a moment: the pipes of a new program, a look-up
BATCHES = 150  # descriptors for clients that were accepted a moment ago
KINDS = ("RLIMIT_AS", "RLIMIT_DATA")  # OpenBSD has one of them
RESERVE = 8 << 20  # bytes of memory that must be left for the sessions there are when one more begins


def raise_limit() -> None:
    """Raise the limit of descriptors as far as allowed: each client takes one, and so does each port of a scan."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # the limit stays as it was
            pass


def free_descriptors() -> int:
    """How many descriptors may still be opened, beside those to be kept back."""
    import resource

    try:
        used = len(open_descriptors()) - 1  # one is that of the listing
    except OSError:  # not for a process that has become another user (proc(5), under "dumpable")
        used = os.dup(0)  # the kernel gives the lowest number that is free
        os.close(used)
    return max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - used - SPARE)


def room_for_clients(asked: int | None, each: int = 1) -> int:
    """With how many clients a server is full that serves `asked` at most: then few descriptors are left for more.

    `each`: descriptors that a client takes.
    """
    free = free_descriptors() // each
    # A batch of clients is accepted before one of them is served.
    room = max(1, free - min(BATCHES, free // 4))
    return room if asked is None else min(asked, room)


class Memory:
    """Whether there is memory for one more session, where it has a limit (ulimit -v, ulimit -d).

    Theory: at the end of its memory Python cannot go on, not even to say so. So a session begins only when some memory
    can be mapped beside what it will need. Memory that was given back may never be mapped anew: as many sessions as
    there have been once fit again.
    """

    def __init__(self) -> None:
        import resource

        kinds = [getattr(resource, kind) for kind in KINDS if hasattr(resource, kind)]
        self._limited = any(resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in kinds)
        self._fitted = 0  # sessions

    def has_room(self, sessions: int) -> bool:
        """Whether one more session fits beside this number of them."""
        if not self._limited or sessions < self._fitted:
            return True
        import mmap

        try:
            mmap.mmap(-1, RESERVE).close()
        except (OSError, MemoryError):
            return sessions == 0
        self._fitted = sessions + 1
        return True
