"""The engine: a config becomes a mode, the mode an outcome.

It makes the loop and opens what all sessions share. It must never word a message or know of an option's spelling.
"""

from __future__ import annotations

import resource
from contextlib import suppress

from pync.endpoints.child import seal
from pync.endpoints.logs import LogFiles
from pync.loop import Loop
from pync.modes.session import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.events import Outcome, Report


def run(config: Config, report: Report) -> Outcome:
    """Do what the config asks; `report` is called with what happens meanwhile. Raises PyncError."""
    loop = Loop()
    work = Run(loop, config, report, LogFiles(config.logs))
    if config.mode != "connect":
        _raise_descriptor_limit()
    if config.program:
        seal()
    return loop.run(_mode(work))


async def _mode(work: Run) -> Outcome:
    if work.config.mode == "listen":
        from pync.modes.listen import listen

        return await listen(work)
    if work.config.mode == "scan":
        from pync.modes.scan import scan

        return await scan(work)
    from pync.modes.connect import connect

    return await connect(work)


def _raise_descriptor_limit() -> None:
    """Use all the descriptors that we may have: each client, and each port that is tried, is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
