"""Coverage for a process that ends itself by a signal, as pync does when it was interrupted: saved just before.

coverage sees os._exit, but not this. `scripts/test` puts this module into its environment, where it is imported at the
start of every process; in one that is not measured it does nothing.
"""

from __future__ import annotations

import os


def saving_first() -> None:
    """Make os.kill, sent to the process itself, save what was measured."""
    kill = os.kill

    def save_and_kill(pid: int, signum: int) -> None:
        import coverage

        measured = coverage.Coverage.current()
        if pid == os.getpid() and measured:
            measured.stop()
            measured.save()
        kill(pid, signum)

    os.kill = save_and_kill


if "COVERAGE_PROCESS_CONFIG" in os.environ:
    saving_first()
