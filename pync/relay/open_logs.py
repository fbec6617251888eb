"""Opens the logs that a run has from its start, and prepares those that each session gets.

A module of its own, between the engine and both kinds of logs: one of them is built on the other.
"""

from __future__ import annotations

import time

from pync.relay.log_files import LogFile, LogFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.config import Config


def open_logs(config: Config, now: Callable[[], int] = time.time_ns) -> LogFiles:
    """The logs that a config asks for. `now` returns the time of the wall clock. Raises OutputError, LogError."""
    logs, stamp = config.logs, None
    if logs.timestamps:
        from pync.wall_time import rfc3339

        def stamp() -> str:
            return rfc3339(now())

    raw, hexadecimal = (
        LogFile(path, append=logs.append) if isinstance(path, str) else None for path in (logs.raw, logs.hexadecimal)
    )
    runs_on = config.behaviour is not None and config.behaviour.dump_runs_on
    shared = LogFiles(raw, hexadecimal, stamp, runs_on=runs_on)
    if isinstance(logs.raw, tuple) or isinstance(logs.hexadecimal, tuple):
        from pync.relay.client_logs import logs_by_name

        return logs_by_name(config, shared, now)
    return shared
