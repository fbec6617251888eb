"""A run: what all that is done for one command line shares."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.endpoints.logs import LogFiles
    from pync.events import Report, Wants
    from pync.loop import Loop


class Run:
    """The loop, what was asked for, who is told what happens (and wants to know), and the logs, if there are any."""

    def __init__(self, loop: Loop, config: Config, report: Report, wants: Wants, logs: LogFiles | None = None) -> None:
        self.loop = loop
        self.config = config
        self.report = report
        self.wants = wants
        self.logs = logs
