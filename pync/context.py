"""What all parts of one run share: the loop, the config, the report of events, the log files and the TLS contexts.

A module of its own, because all packages from `net` and `relay` upwards are given a Context, and none below needs one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from pync.config import Config
    from pync.events import Report, Wants
    from pync.loop.kernel import Loop
    from pync.relay.flow import Session
    from pync.relay.log_files import LogFiles


class Context:
    """One run of pync, or a part of it that makes connections by another config (`derive`)."""

    def __init__(self, loop: Loop, config: Config, report: Report, wants: Wants, logs: LogFiles | None = None) -> None:
        """`report` is called with each event; `wants` returns whether it has a use for events of a kind."""
        self.loop = loop
        self.config = config
        self.report = report
        self.wants = wants
        self.logs = logs
        self.running: dict[Session, None] = {}
        self.tls_context: SSLContext | None = None  # for the config's own TLS
        self.proxy_tls_context: SSLContext | None = None  # for TLS with the proxy

    @property
    def transport(self) -> str:
        """What carries the connections: "tcp", "udp", "sctp", "unix" or "vsock"."""
        config = self.config
        if config.family in ("unix", "vsock"):
            return config.family
        return "sctp" if config.sctp else "udp" if config.datagram else "tcp"

    def derive(self, config: Config, report: Report | None = None) -> Context:
        """The same run with another config, and perhaps another report. It has no TLS context of its own yet."""
        derived = Context(self.loop, config, report or self.report, self.wants, self.logs)
        derived.proxy_tls_context = self.proxy_tls_context
        derived.running = self.running
        return derived
