"""What a command line asks of WebSocket: its options, and the URL ws://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY].

Only a command line with --ws or such a URL imports this, because every run pays for what its face imports.
"""

from __future__ import annotations

from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.option_table import read_value
from pync.websocket_config import WebSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.faces.option_table import Values

PORTS = {"ws": "80", "wss": "443"}
OWN_HEADERS = (
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
)  # those that pync makes, or makes none of


def websocket(values: Values) -> WebSocket:
    """How WebSocket is to be spoken. Raises UsageError."""
    headers: tuple[tuple[str, str], ...] = values.get("websocket_headers", ())
    for name, _ in headers:
        if name.lower() in OWN_HEADERS or name.lower().startswith("sec-websocket-"):
            raise UsageError(f"--ws-header {name}", "pync makes that header itself; subprotocols are --ws-protocol")
    return WebSocket(
        path=values["websocket"],
        headers=headers,
        protocols=values.get("websocket_protocols", ()),
        origins=values.get("websocket_origins", ()),
        text="websocket_text" in values,
    )


def target(values: Values) -> tuple[str, WebSocket]:
    """HOST:PORT of the URL that is the value of --to, and how WebSocket is to be spoken there. Raises UsageError."""
    scheme, _, address = values["to"].partition("://")
    if "datagram" in values:
        raise UsageError(f"-u with --to {scheme}://", "WebSocket is a conversation over a stream")
    host, port, values = with_url(values, scheme.lower(), address)
    if not host or not port:
        raise UsageError(f"--to {scheme}://", "no host")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", websocket(values)


def with_url(values: Values, scheme: str, address: str) -> tuple[str, str, Values]:
    """The host and the port of a URL, which has a usual port and a path (RFC 6455, section 3), and the values with it.

    Raises UsageError, in which no login is shown.
    """
    end = min(len(address.partition(mark)[0]) for mark in "/?#")
    login, at, authority = address[:end].rpartition("@")
    path = address[end:].partition("#")[0]
    if not (path.isascii() and path.isprintable() and " " not in path):
        raise UsageError(f"operand {scheme}://{authority}", "the path of a URL has only ASCII letters; others are %XX")
    text = authority if ":" in authority.rpartition("]")[2] else f"{authority}:{PORTS[scheme]}"
    host, port = read_value(f"operand {scheme}://{authority}", option_values.host_and_port, text)
    headers = ((("Authorization", _basic(login)),) if at else ()) + values.get("websocket_headers", ())
    path = path if path.startswith("/") else f"/{path}"
    return host, port, {**values, "websocket": path, "websocket_headers": headers}


def _basic(login: str) -> str:
    """The credentials for a login in a URL, whose other letters are %XX (RFC 7617)."""
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes

    user, _, password = login.partition(":")
    return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()
