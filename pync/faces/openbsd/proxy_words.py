"""The words of nc.openbsd for what goes wrong with a proxy.

A module of its own, because only a run through a proxy needs it.
"""

from __future__ import annotations

import os
from errno import EPIPE

from pync.errors import PeerLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.errors import ProxyError

NO_METHOD = 0xFF
SOCKS4 = {
    91: "Request rejected or failed",
    92: "SOCKS server cannot connect to identd on the client",
    93: "Client program and identd report different user-ids",
}
SOCKS5 = {
    1: "General SOCKS server failure",
    2: "Connection not allowed by ruleset",
    3: "Network unreachable",
    4: "Host unreachable",
    5: "Connection refused",
    6: "TTL expired",
    7: "Command not supported",
    8: "Address type not supported",
}


def words(error: ProxyError, config: Config) -> str:
    """The words for a proxy that has not made the connection."""
    assert config.proxy
    kind = config.proxy.kind
    if not error.asked:
        return f'getaddrinfo for host "{config.proxy.host}" port {config.proxy.port or ""}: {error.why}'
    if isinstance(error.answer, str):
        return f'Proxy error: "{error.answer}"'
    if error.answer is None:
        return _of_http(error) if kind == "http" else _broken_off(error, (8,) if kind == "socks4" else (2, 4, 6))
    if kind == "socks4":
        return f"connection failed, SOCKSv4 error: {SOCKS4.get(error.answer, 'Unknown error')}"
    if error.answer == NO_METHOD:
        return "authentication method negotiation failed"
    return f"connection failed, SOCKSv5 error: {SOCKS5.get(error.answer, 'Unknown error')}"


def _of_http(error: ProxyError) -> str:
    from pync.protocols.http_plain_connect import TooMuch, UnfitHost

    match error.__context__:
        case UnfitHost():
            return "Invalid hostname"
        case TooMuch(lines=lines):
            return "Too many proxy headers received" if lines else "proxy read too long"
    return f"proxy read: {_why(error)}"


def _broken_off(error: ProxyError, parts: tuple[int, ...]) -> str:
    """The words for an answer that has not come as a whole: how many bytes of which part of it have come."""
    received = error.received
    for size in parts:
        if received < size:
            break
        received -= size
    # The first part of version 5 has two bytes, of which nc.openbsd says three.
    return f"read failed ({received}/{3 if size == 2 else size}): {_why(error)}"


def _why(error: ProxyError) -> str:
    """The system's words for a reset, and those that nc.openbsd has for an end."""
    return error.__context__.cause if isinstance(error.__context__, PeerLost) else os.strerror(EPIPE)
