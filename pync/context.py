"""A run: what all that is done for one command line shares."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from pync.config import Config
    from pync.events import Report, Wants
    from pync.loop.kernel import Loop
    from pync.relay.log_files import LogFiles


class Run:
    """The loop, what was asked for, who is told what happens (and wants to know), and the logs, if there are any.

    `context` is that of the config's TLS, `proxy_context` that of TLS to a proxy: whoever needs them prepares them.
    """

    def __init__(self, loop: Loop, config: Config, report: Report, wants: Wants, logs: LogFiles | None = None) -> None:
        self.loop = loop
        self.config = config
        self.report = report
        self.wants = wants
        self.logs = logs
        self.context: SSLContext | None = None
        self.proxy_context: SSLContext | None = None

    def towards(self, config: Config) -> Run:
        """The same run with another config: that of the connections which a server makes for its clients."""
        run = Run(self.loop, config, self.report, self.wants, self.logs)
        run.proxy_context = self.proxy_context
        return run
