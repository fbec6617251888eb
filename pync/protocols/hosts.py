"""Hosts as the protocols of proxies write them: names in ASCII, and authorities of a host and a port.

Must never let anything through that is not a host. A name is put into a message between other things, and one that
holds a line end would be two lines there. A name that a client has sent is ASCII or is refused: a codec for any other
name might have to be imported, and a server may be unable to do that.

A module of its own, because the protocols of HTTP and SOCKS proxies share it.
"""

from __future__ import annotations

from pync.protocols.dialogue import Refused
from pync.system import packed_address

# Bytes. SOCKS 5 has one byte for the length, and no name in the DNS is longer (RFC 1035, section 2.3.4).
NAME_LIMIT = 255

# Underscores are in no host name (RFC 1123), but in many names that have addresses.
_NAME_LETTERS = b"-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def ascii_name(name: str) -> bytes:
    """A name of the user's as it is sent, an international one as it is in the DNS (RFC 3490). Raises Refused."""
    try:
        octets = name.encode("ascii" if name.isascii() else "idna")
    except UnicodeError:
        raise Refused(f"{name!r} is not a host name") from None
    received_name(octets)
    return octets


def received_name(octets: bytes) -> str:
    """A name as it was received, which is one in ASCII. Raises Refused."""
    if len(octets) > NAME_LIMIT:
        raise Refused(f"a host name of more than {NAME_LIMIT} bytes")
    if not octets or octets.translate(None, delete=_NAME_LETTERS):
        raise Refused(f"{repr(octets)[1:]} is not a host name")
    return octets.decode("ascii")


def authority(host: str, port: int) -> str:
    """A host and a port as HTTP writes them, IPv6 in brackets (RFC 3986, section 3.2). Raises Refused."""
    octets = packed_address(host)
    if octets is None:
        host = ascii_name(host).decode()
    return f"[{host}]:{port}" if octets and len(octets) == 16 else f"{host}:{port}"


def split_authority(text: str) -> tuple[str, int | None]:
    """The host and the port of an authority that was received; the port is None if there is none. Raises Refused."""
    host, colon, digits = text.rpartition(":")
    if not colon or digits.endswith("]"):
        host, digits = text, ""
    if host.startswith("[") and host.endswith("]") and len(packed_address(host[1:-1]) or b"") == 16:
        host = host[1:-1]
    else:
        received_name(host.encode("utf-8", "surrogateescape"))
    if not digits:
        return host, None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise Refused(f"{digits[:20]!r} is not a port")
    return host, int(digits)
