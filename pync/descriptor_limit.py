"""The limit on the number of descriptors, for a run that needs many.

A module of its own, because a run with one connection does not need it.
"""

from __future__ import annotations


def raise_limit() -> None:
    """Raise the limit of descriptors as far as allowed: each client takes one, and so does each port of a scan."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # the limit stays as it was
            pass
