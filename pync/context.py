"""A run: what all that is done for one command line shares."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from pync.config import Config
    from pync.events import Report, Wants
    from pync.loop.kernel import Loop
    from pync.relay.log_files import LogFiles


class Context:
    """The loop, the config, where events are reported and which kinds are wanted, and the log files, if any.

    `tls_context` belongs to the config's own TLS, `proxy_tls_context` to TLS with a proxy. `preload` sets both.
    """

    def __init__(self, loop: Loop, config: Config, report: Report, wants: Wants, logs: LogFiles | None = None) -> None:
        self.loop = loop
        self.config = config
        self.report = report
        self.wants = wants
        self.logs = logs
        self.tls_context: SSLContext | None = None
        self.proxy_tls_context: SSLContext | None = None

    def towards(self, config: Config) -> Context:
        """The same run with another config: that of the connections which a server makes for its clients."""
        derived = Context(self.loop, config, self.report, self.wants, self.logs)
        derived.proxy_tls_context = self.proxy_tls_context
        return derived
