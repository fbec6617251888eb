"""Coverage for a process that ends itself by a signal, as pync does when it was interrupted: saved just before.

coverage sees os._exit, but not this. `scripts/test` puts this module into its environment, where it is imported at the
start of every process; in one that is not measured it does nothing.
"""

from __future__ import annotations

import os
import signal


def save_before_dying() -> None:
    """Make os.kill save what was measured if the process sends itself a signal that has its default action."""
    kill = os.kill

    def save_and_kill(pid: int, signum: int) -> None:
        import coverage

        measured = coverage.Coverage.current()
        if measured and pid == os.getpid() and signal.getsignal(signum) == signal.SIG_DFL:
            measured.save()
        kill(pid, signum)

    os.kill = save_and_kill


if "COVERAGE_PROCESS_CONFIG" in os.environ:
    save_before_dying()
