"""Hosts as they are written in a proxy's protocol: addresses packed, names in ASCII.

Must never let anything through that is not a host: a name is put into a message between other things, and one with
a line end in it would be two lines.
"""

from __future__ import annotations

from pync.protocols.dialogue import Refused
from pync.system import packed_address

LONGEST = 255  # bytes: SOCKS5 has one byte for the length, and no name in the DNS is longer (RFC 1035, section 2.3.4)

# Underscores are in no host name (RFC 1123), but in many names that have addresses.
_LETTERS = b"-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def in_ascii(name: str) -> bytes:
    """A name as it is sent; an international one in the form that the DNS has (RFC 3490). Raises Refused."""
    try:
        octets = name.encode("ascii" if name.isascii() else "idna")
    except UnicodeError:
        octets = b""
    if len(octets) > LONGEST:
        raise Refused(f"a host name of more than {LONGEST} bytes")
    if not octets or octets.translate(None, delete=_LETTERS):
        raise Refused(f"{name!r} is not a host name")
    return octets


def authority(host: str, port: int) -> str:
    """A host and a port as HTTP writes them, IPv6 in brackets (RFC 3986, section 3.2). Raises Refused."""
    octets = packed_address(host)
    if octets is None:
        host = in_ascii(host).decode()
    return f"[{host}]:{port}" if octets and len(octets) == 16 else f"{host}:{port}"


def split(text: str) -> tuple[str, int | None]:
    """The host and the port of an authority; None where it names no port. Raises Refused."""
    host, colon, digits = text.rpartition(":")
    if not colon or digits.endswith("]"):
        host, digits = text, ""
    if host.startswith("[") and host.endswith("]") and len(packed_address(host[1:-1]) or b"") == 16:
        host = host[1:-1]
    else:
        in_ascii(host)
    if not digits:
        return host, None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise Refused(f"{digits[:20]!r} is not a port")
    return host, int(digits)
