"""An only operand that holds the port, too, HOST:PORT or a URL: it is rewritten as the options and operands it means.

Theory: it is an abbreviation, `tls://h:443` for `--ssl h 443`. So it has no rules of its own: what it stands for is
checked as if the user had typed that. An operand that a port follows is never looked at here, and so keeps its meaning.
A run with two operands does not import this module.
"""

from __future__ import annotations

from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.option_table import read_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.faces.option_table import Values

SCHEMES: dict[str, Values] = {  # what each stands for
    "tcp": {},
    "udp": {"datagram": True},
    "tls": {"tls": True},
    "ssl": {"tls": True},
    "unix": {"family": "unix"},
    "ws": {},
    "wss": {"tls": True},
}
NOT_TCP = {"datagram": "-u", "sctp": "--sctp"}
PAGES = {"http": ("", "80"), "https": ("--ssl ", "443")}  # for a URL of a web page: an option, and the usual port


def spelled_out(values: Values, operand: str) -> tuple[Values, list[str]]:
    """The values and operands that this operand and the values stand for. Raises UsageError."""
    if "vsock" in values or values.get("family") == "unix":
        return values, [operand]
    scheme, mark, address = operand.rpartition("://")
    if mark and scheme.lower() not in SCHEMES:
        raise no_peer(values, operand)
    if not mark and operand.count(":") > 1 and not operand.startswith("["):
        return values, [operand]  # an IPv6 address without a port
    if scheme.lower() == "tcp" and (other := next((NOT_TCP[dest] for dest in NOT_TCP if dest in values), None)):
        raise UsageError(f"{other} with {operand}", "it is one transport or the other")
    if scheme.lower() in ("ws", "wss"):
        from pync.faces.native.websocket import with_url

        if "listen" in values:
            raise UsageError(f"operand {scheme}://", "a listener takes [HOST] PORT, as in 'pync -lk --ws 8080'")
        host, port, values = with_url(values, scheme.lower(), address)
        return {**values, **SCHEMES[scheme.lower()]}, [host, port]
    values = {**values, **(SCHEMES[scheme.lower()] if mark else {})}
    if values.get("family") == "unix":
        return values, [address]
    host, port = read_value(f"operand {operand}", option_values.host_and_port, address.removesuffix("/" * bool(mark)))
    return values, [part for part in (host, port) if part]


def no_peer(values: Values, url: str) -> UsageError:
    """What is wrong with a URL that is not the only operand, or whose scheme is none of those above."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() in SCHEMES:
        return UsageError(f"operand {url}", "a URL is the only operand, and names the port, as in tcp://HOST:PORT")
    if scheme.lower() not in PAGES:
        return UsageError(f"operand {url}", f"a URL of pync begins with one of {', '.join(SCHEMES)}")
    if "listen" in values:
        return UsageError(f"operand {url}", "a listener takes [HOST] PORT, as in 'pync -l --http localhost 8080'")
    # A user and a password may stand in front of the host, and are not shown.
    authority = min((rest.partition(mark)[0] for mark in "/?#"), key=len).rpartition("@")[2]
    try:
        host, port = option_values.host_and_port(authority)
    except ValueError:
        host, port = "", ""
    option, usual_port = PAGES[scheme.lower()]
    return UsageError(
        f"operand {scheme}://{authority}",
        f"pync makes no HTTP requests, but connects: pync {option}{host or 'HOST'} {port or usual_port}",
    )
