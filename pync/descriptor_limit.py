"""The limit on the number of descriptors, for a run that needs many, and how many are left of it.

A module of its own, because a run with one connection does not need it.
"""

from __future__ import annotations

import os

SPARE = 4  # descriptors that a server keeps back for what is opened for a moment: the pipes of a new program, a look-up


def raise_limit() -> None:
    """Raise the limit of descriptors as far as allowed: each client takes one, and so does each port of a scan."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # the limit stays as it was
            pass


def free() -> int:
    """How many descriptors may still be opened, beside those to be kept back."""
    import resource

    try:
        used = len(os.listdir("/dev/fd")) - 1  # one is that of the listing
    except OSError:  # not for a process that has become another user (proc(5), under "dumpable")
        lowest = os.dup(0)  # the kernel gives the lowest number that is free
        os.close(lowest)
        used = lowest
    return max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - used - SPARE)
