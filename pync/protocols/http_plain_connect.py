"""A client of an HTTP proxy that asks by HTTP/1.0, with the request line alone, as nc.openbsd does.

Theory: `http_connect.py` asks as RFC 9110 wants it. Some old scripts and proxies know the request of 1996 alone, and a
proxy that is tested byte by byte must get it. h11 writes no HTTP/1.0, so the few lines are read and written here. Only
200 grants the connection. The credentials are Basic ones (RFC 7617), sent if they are given: a caller that is answered
407 asks its user for them, and comes back on a new connection.

Must never send anything that is not one request, whatever the text of the host is.
"""

from __future__ import annotations

from pync.protocols.dialogue import Refused, receive_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.dialogue import Dialogue, Login

GRANTED = ("HTTP/1.0 200", "HTTP/1.1 200")
LINE_LIMIT = 1024  # bytes, with the line's end
LINES = 64  # of the header, at most
UNFIT = "\r\n\t []"  # what no host may contain


class UnfitHost(Refused):
    """The host cannot be written into a request."""


class TooMuch(Refused):
    """The proxy's answer has too long a line, or too many of them (`lines`)."""

    def __init__(self, why: str, *, lines: bool) -> None:
        super().__init__(why)
        self.lines = lines


def connect(host: str, port: int, login: Login | None = None) -> Dialogue[None]:
    """Have an HTTP proxy connect to `host`, an address or a name. Raises Refused, with the status line as answer."""
    if not host or any(letter in UNFIT for letter in host):
        raise UnfitHost(f"{host!r} is not a host name")
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    yield f"CONNECT {target} HTTP/1.0\r\n{_authorization(login)}\r\n".encode("utf-8", "surrogateescape")
    status, rest = yield from _line(b"")
    if not status.startswith(GRANTED):
        raise Refused(f"it answers {status}", status, rest)
    for _ in range(LINES):
        line, rest = yield from _line(rest)
        if not line:
            return None, rest
    raise TooMuch(f"a head of more than {LINES} lines", lines=True)


def _authorization(login: Login | None) -> str:
    if login is None:
        return ""
    from binascii import b2a_base64

    words = b2a_base64(":".join(login).encode("utf-8", "surrogateescape"), newline=False)
    return f"Proxy-Authorization: Basic {words.decode()}\r\n"


def _line(have: bytes) -> Dialogue[str]:
    """A line of the answer, without its end."""
    while b"\n" not in have and len(have) < LINE_LIMIT:
        have = yield from receive_more(have)
    line, end, rest = have.partition(b"\n")
    if not end or len(line) >= LINE_LIMIT:
        raise TooMuch(f"a line of more than {LINE_LIMIT} bytes", lines=False)
    return line.replace(b"\r", b"").decode("utf-8", "surrogateescape"), rest
