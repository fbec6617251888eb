"""Modules that a server must have before it is shut in: imported now, because they cannot be imported later.

A server may drop privileges, and then its files may be out of reach; and it may use up its descriptors, and then no
file can be opened. So what a session imports only when it needs it is imported here before, by feature.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pync.config import Config

SESSIONS = (
    *("fcntl", "termios", "tty"),  # asking the kernel for queues, pipes and terminals
    *("pync.loop.hangups", "pync.relay.zerocopy", "pync.relay.idle"),
    *("pync.endpoints.wrappers", "pync.sessions.between", "pync.sessions.program"),
    *("pync.stages.crlf", "pync.stages.telnet"),
)
DATAGRAMS = ("pync.endpoints.datagrams", "pync.endpoints.datagram_server", "pync.connections.next_address")
TLS_MODULES = ("pync.tls.handshake", "encodings.idna", "hashlib")  # `ssl` needs the codec for a server's name
HTTP = (
    *("h11", "http", "email.utils"),  # parsing a request, and the head of an answer
    *("mimetypes", "posixpath", "json", "codecs"),  # finding out the type of a file
)
PROXY_CLIENT = (
    *("pync.connections.proxy_client", "pync.protocols.http_connect", "pync.protocols.socks_client"),
    *("h11", "pync.protocols.http_auth", "re", "base64", "hashlib"),
)
PROXY_SERVER = ("h11", "http", "re", "base64", "binascii", "hashlib", "hmac")


def preload(config: Config) -> None:
    """Import what the sessions of a server with this config may need."""
    for name in needed(config):
        __import__(name)


def needed(config: Config) -> Iterator[str]:
    """The names of these modules."""
    target_tls = config.target.tls if config.target else None
    proxy_tls = config.proxy.tls if config.proxy else None
    yield from SESSIONS
    yield from DATAGRAMS * config.datagram
    yield from TLS_MODULES * bool(config.tls or target_tls or proxy_tls)
    yield from HTTP * config.http
    yield from PROXY_CLIENT * bool(config.proxy)
    yield from PROXY_SERVER * bool(config.serve_proxy)
    if config.hub == "chat":
        yield "pync.stages.chat_lines"
