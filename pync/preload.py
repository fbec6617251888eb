"""Imports at the start of a server the modules that its sessions would import late, when that may be impossible.

A server that has dropped privileges may be unable to read its own files, and one that has used up its descriptors can
open none. A module of its own, because only such a server needs it, and because it lists the modules of every feature.
"""

from __future__ import annotations

from pync.system import LINUX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pync.config import Config

SESSIONS = (
    *("fcntl", "termios", "tty"),  # to ask the kernel about queues, pipes and terminals
    *("resource", "mmap", "pync.limits"),  # to find out what is left of descriptors and memory
    *("pync.loop.hangups", "pync.relay.zerocopy", "pync.relay.idle", "pync.relay.patience"),
    *("pync.relay.truncation", "pync.relay.unread", "pync.relay.spare_pipes"),
    *("pync.relay.progress", "pync.relay.session_end"),  # to report what was moved
    *("pync.endpoints.socket_end", "pync.endpoints.wrappers", "pync.sessions.between", "pync.sessions.program"),
    *("pync.endpoints.null", "pync.sessions.delivery"),
    *("pync.stages.crlf", "pync.stages.telnet", "pync.relay.negotiation"),
)
DATAGRAMS = (
    *("pync.endpoints.datagrams", "pync.endpoints.datagram_server", "pync.services.datagram_clients"),
    *("pync.connections.first_sender", "pync.connections.next_address", "pync.endpoints.lines"),
    *("pync.connections.datagram_peer", "pync.net.groups", "pync.endpoints.groups", "pync.net.source"),
    *("pync.net.interface", "pync.system.interfaces"),
)
TLS_MODULES = ("pync.tls.handshake", "hashlib")
HTTP = (
    *("h11", "http", "email.utils", "tempfile"),  # to parse a request, and to write the head of an answer
    "pync.stages.visible",  # to show a request on a terminal
    *("mimetypes", "posixpath", "json", "codecs"),  # to find out the type of a file
    "calendar",  # to read the date of an If-Modified-Since, from Python 3.13 on
)
OUTGOING = (
    *("pync.net.happy_eyeballs", "pync.loop.threads"),  # to connect to a name for a client
    "pync.net.no_socket",  # to report why not
)
# `ssl` needs the codec for any server's name, a look-up and a proxy for a name that is not in ASCII.
IDNA = ("encodings.idna", "encodings.punycode")
WEBSOCKET = ("pync.connections.websocket_stream", "pync.printable", "encodings.idna", "wsproto", "h11")
RETRY = ("pync.connections.retry",)
PROXY_CLIENT = (
    *("pync.connections.proxy_client", "pync.protocols.http_connect", "pync.protocols.socks_client"),
    *("pync.protocols.http_auth", "re", "base64", "hashlib"),
)
WINDOW_SIZE = ("pync.stages.window_size",)
BALANCER = ("pync.connections.through_balancer",)
PROXY_SERVER = ("http", "re", "base64", "binascii", "hashlib", "hmac")


def preload(config: Config) -> None:
    """Import the modules that the sessions of a server with this config may need."""
    if config.websocket or (config.target and config.target.websocket):
        from pync.connections.websocket import require

        require()  # its failure is reported in a line, and not as a module that is missing
    for name in needed(config):
        __import__(name)


def needed(config: Config) -> Iterator[str]:  # whole: a list of what asks for what
    """The names of the modules that the sessions of a server with this config may need."""
    names = [place.host for place in (config.target, config.proxy) if place]
    target_tls = config.target.tls if config.target else None
    target_websocket = config.target.websocket if config.target else None
    proxy_tls = config.proxy.tls if config.proxy else None
    yield from SESSIONS
    yield from DATAGRAMS * config.datagram
    tls = bool(config.tls or target_tls or proxy_tls)
    yield from TLS_MODULES * tls
    lists = [config.access, *([config.serve_proxy.targets] if config.serve_proxy else [])]
    files = any(access.allow_files or access.deny_files for access in lists)  # they may have other names at a SIGHUP
    yield from IDNA * (tls or files or not "".join(names).isascii())
    yield from HTTP * config.http
    yield from OUTGOING * bool(config.target or config.serve_proxy)
    yield from WEBSOCKET * bool(config.websocket or target_websocket)
    if target_tls or target_websocket:
        yield "pync.connections.layers"
    yield from RETRY * bool(config.retry)
    yield from PROXY_CLIENT * bool(config.proxy)
    yield from PROXY_SERVER * bool(config.serve_proxy)
    if "http" in [proxy.kind for proxy in (config.proxy, config.serve_proxy) if proxy]:
        yield "h11"  # which may not be installed where SOCKS is spoken
    yield from WINDOW_SIZE * config.window_size
    yield from BALANCER * bool(config.accept_proxy or (config.target and config.target.proxy_header))
    if config.program and config.program.terminal:
        yield "pync.endpoints.child_terminal"
    if config.program and (config.program.terminal or not LINUX):
        yield "subprocess"  # to start it where posix_spawn(3) cannot
    if config.checksum:
        yield "pync.stages.checksum"
    if config.hub == "chat":
        yield "pync.stages.chat_lines"
