"""The engine: a config becomes a mode, the mode an outcome.

It makes the loop and opens what all sessions share. It must never word a message or know of an option's spelling.

Theory: most runs are over before there is garbage to collect, so the command line starts with the collector off
(`cli.py`). It is on while the loop runs, for a server may run for ever; but it skips what was imported by then.
"""

from __future__ import annotations

import gc

from pync.context import Context
from pync.descriptors import raise_limit, seal
from pync.loop.kernel import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from pync.config import Config
    from pync.events import Outcome, Report, Wants
    from pync.relay.log_files import LogFiles

    Mode = Callable[[Context], Coroutine[Any, Any, Outcome]]


LARGE = 1 << 22  # bytes, more than any buffer has


def run(config: Config, report: Report, wants: Wants = lambda kind: True) -> Outcome:
    """Do what the config asks; `report` is called with what happens meanwhile. Raises PyncError.

    `wants` says whether events of a kind are of any use: where there are thousands, they need not be made.
    """
    mode = _mode(config)
    context = Context(Loop(), config, report, wants, _logs(config))
    if config.keep_open or config.http or (config.mode == "scan" and len(config.ports) > 1):
        raise_limit()
    if config.keep_open or config.http or config.user:
        from pync.preload import preload

        preload(config)
    if config.program:
        seal()
    # glibc would map and unmap every large buffer, with a page fault for each of its pages, until it has seen one
    # freed that is larger (mallopt(3), M_MMAP_THRESHOLD). This halves the time of copying.
    bytes(LARGE)
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    return context.loop.run(mode(context))


def _mode(config: Config) -> Mode:
    if config.mode == "listen":
        from pync.modes.listen import listen

        return listen
    if config.mode == "scan":
        from pync.modes.scan import scan

        return scan
    from pync.modes.connect import connect

    return connect


def _logs(config: Config) -> LogFiles | None:
    if not (config.logs.raw or config.logs.hexadecimal):
        return None
    from pync.relay.log_files import LogFiles

    return LogFiles(config.logs)
