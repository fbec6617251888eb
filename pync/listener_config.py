"""The facts of a config that only some listeners have.

A module of its own, because a client has no such facts, and what every client imports is kept small.
"""

from __future__ import annotations

from pync.config import Access, Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from pync.config import Tls
    from pync.websocket_config import WebSocket


class ServeProxy(Frozen):
    """The proxy that a listener is for its clients."""

    kind: Literal["http", "socks5"]
    user: str | None = None  # None: clients need no user and password
    password: str = ""
    targets: Access = Access()


class Target(Frozen):
    """Where a listener connects each client to."""

    host: str  # or a unix path
    port: int | None = None
    tls: Tls | None = None
    websocket: WebSocket | None = None
    proxy_header: Literal[1, 2] | None = None  # the version of the PROXY protocol by which the client is named first
