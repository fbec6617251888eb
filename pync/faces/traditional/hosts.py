"""Hosts as nc.traditional looks them up: one address of IPv4, and its name, with all that is odd about the two.

Theory: nc.traditional looks its hosts up before it does anything else, in the order of the command line, and without
any limit. So this is done before the loop runs, and may block. Clients are looked up by the loop, in a thread. What is
odd is returned as remarks, because no thread may print.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.faces.traditional.options import Refused
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNKNOWN = "(UNKNOWN)"
# As bytes, a name does not pass through the IDNA codec, whose import takes as long as the look-up. Types forbid bytes.
RESOLVER: Any = socket
# The words for h_errno (netdb.h), and for the errors of getaddrinfo(3) that mean the same.
FAILURES = {
    **dict.fromkeys((1, socket.EAI_NONAME), "Unknown host"),
    **dict.fromkeys((2, socket.EAI_AGAIN), "Host name lookup failure"),
    **dict.fromkeys((3, socket.EAI_FAIL), "Unknown server error"),
    4: "No address associated with name",
}


class Host(Frozen):
    """A host that was looked up."""

    name: str
    address: str
    remarks: tuple[str, ...] = ()  # what nc.traditional says about the look-up with -v


def look_up(text: str, *, numeric: bool, verbose: bool) -> Host:
    """The host that a text means. `verbose` is whether all that can be found out is wanted. Raises Refused."""
    address = _address(text)
    if address:
        return Host(name=UNKNOWN, address=address) if numeric or not verbose else name_of(address, text)
    if numeric:
        raise Refused(f"Can't parse {text} as an IP address")
    try:
        name, addresses = _forward(text)
    except OSError as error:
        raise Refused(f"{text}: forward host lookup failed: {_why(error)}") from None
    remarks = _reversed(name, addresses) if verbose else ()
    return Host(name=name, address=addresses[0], remarks=remarks)


def name_of(address: str, text: str = "") -> Host:
    """The host with an address, which was typed as `text`."""
    try:
        name = _reverse(address)
    except OSError as error:
        remark = f"{text or address}: inverse host lookup failed: {_why(error)}"
        return Host(name=UNKNOWN, address=address, remarks=(remark,))
    try:
        remarks = _compared(name, _forward(name)[0])
    except OSError as error:
        remarks = (f"Warning: forward host lookup failed for {name}: {_why(error)}",)
    return Host(name=name, address=address, remarks=remarks)


def _reversed(name: str, addresses: list[str]) -> tuple[str, ...]:
    """What is odd about the names of a name's addresses."""
    remarks: tuple[str, ...] = ()
    for address in addresses[:8]:
        try:
            remarks += _compared(name, _reverse(address))
        except OSError as error:
            remarks += (f"Warning: inverse host lookup failed for {address}: {_why(error)}",)
    return remarks


def _compared(name: str, other: str) -> tuple[str, ...]:
    return () if name.lower() == other.lower() else (f"DNS fwd/rev mismatch: {name} != {other}",)


def _address(text: str) -> str | None:
    """The address that a text is, by inet_aton(3)."""
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except (OSError, ValueError):  # ValueError: the text is no C string
        return None


def _forward(name: str) -> tuple[str, list[str]]:
    """The official name, and the addresses. Raises OSError."""
    if not name:  # Python takes this for the address of all
        raise socket.herror(1, FAILURES[1])
    found: tuple[str, list[str], list[str]] = RESOLVER.gethostbyname_ex(name.encode("utf-8", "surrogateescape"))
    return found[0], found[2]


def _reverse(address: str) -> str:
    return str(RESOLVER.gethostbyaddr(address.encode())[0])


def _why(error: OSError) -> str:
    return FAILURES.get(error.errno or 0, FAILURES[1])
