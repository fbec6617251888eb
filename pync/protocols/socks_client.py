"""A client of a SOCKS proxy: version 4, its extension 4A for names, and version 5.

Theory: SOCKS 4 is one question and one answer. SOCKS 5 (RFC 1928) first agrees on a method of authentication, of
which there are two here: none, and user and password (RFC 1929). What follows the last answer belongs to the target.

An answer is only read as far as it decides something: a proxy that refuses and leaves is often brief.
Must never send the password to a proxy that has not asked for it.
"""

from __future__ import annotations

from pync.protocols.dialogue import Refused, exactly
from pync.protocols.hosts import in_ascii
from pync.system import packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.dialogue import Dialogue, Login, Part

CONNECT = 1  # the command, in both versions
NO_AUTHENTICATION, PASSWORD = 0, 2  # methods (RFC 1928, section 3)
IPV4, NAME, IPV6 = 1, 3, 4  # types of addresses (RFC 1928, section 5)
SIZES = {IPV4: 4, IPV6: 16}  # bytes
GRANTED = 90  # by version 4; version 5 says 0

FAILURES_4 = {
    91: "Request rejected or failed",
    92: "SOCKS server cannot connect to identd on the client",
    93: "Client program and identd report different user-ids",
}
FAILURES_5 = {  # RFC 1928, section 6
    1: "General SOCKS server failure",
    2: "Connection not allowed by ruleset",
    3: "Network unreachable",
    4: "Host unreachable",
    5: "Connection refused",
    6: "TTL expired",
    7: "Command not supported",
    8: "Address type not supported",
}


def socks4(host: str, port: int, user: str = "") -> Dialogue[None]:
    """Have a SOCKS 4 proxy connect to `host`, an IPv4 address, or a name if it knows 4A. Raises Refused."""
    address = packed_address(host)
    if address and len(address) != SIZES[IPV4]:
        raise Refused("SOCKS 4 knows no IPv6 addresses")
    name = in_ascii(host) + b"\0" if address is None else b""
    address = address or b"\0\0\0\1"  # 4A: an address that cannot be, and the name at the end
    yield bytes((4, CONNECT)) + port.to_bytes(2) + address + _user_id(user) + b"\0" + name
    (version, code), have = yield from exactly(2, b"")
    if version not in (0, 4):  # it should be 0, but there are servers that repeat the 4
        raise Refused("it is not a SOCKS 4 proxy")
    if code != GRANTED:
        raise Refused(_failure(FAILURES_4, code))
    _, rest = yield from exactly(6, have)
    return None, rest


def _user_id(user: str) -> bytes:
    octets = user.encode("utf-8", "surrogateescape")
    if b"\0" in octets:
        raise Refused("a SOCKS 4 user must not contain a NUL byte")
    return octets


def socks5(host: str, port: int, login: Login | None = None) -> Dialogue[None]:
    """Have a SOCKS 5 proxy connect to `host`, an address or a name. Raises Refused."""
    request = bytes((5, CONNECT, 0)) + _address(host) + port.to_bytes(2)
    credentials = _credentials(login) if login else b""
    methods = (NO_AUTHENTICATION, PASSWORD) if login else (NO_AUTHENTICATION,)
    yield bytes((5, len(methods), *methods))
    (version, method), have = yield from exactly(2, b"")
    if version != 5:
        raise Refused("it is not a SOCKS 5 proxy")
    if method not in methods:
        raise Refused("it wants another authentication than user and password" if login else "it wants authentication")
    if method == PASSWORD:
        yield credentials
        have = yield from _welcome(have)
    yield request
    return None, (yield from _answer(have))


def _address(host: str) -> bytes:
    address = packed_address(host)
    if address is None:
        name = in_ascii(host)
        return bytes((NAME, len(name))) + name
    return bytes((IPV4 if len(address) == SIZES[IPV4] else IPV6,)) + address


def _credentials(login: Login) -> bytes:
    """RFC 1929, section 2."""
    user, password = (text.encode("utf-8", "surrogateescape") for text in login)
    if not (0 < len(user) < 256 and 0 < len(password) < 256):
        raise Refused("a SOCKS 5 user and password have 1 to 255 bytes each")
    return bytes((1, len(user))) + user + bytes((len(password),)) + password


def _welcome(have: bytes) -> Part[bytes]:
    """What is left after the answer to the credentials. The version in it is often wrong, and tells nothing."""
    (_, status), rest = yield from exactly(2, have)
    if status:
        raise Refused("it does not accept this user and password")
    return rest


def _answer(have: bytes) -> Part[bytes]:
    """What is left after the answer to the request. The address in it is where the proxy connects from."""
    (version, code), have = yield from exactly(2, have)
    if version != 5:
        raise Refused("it is not a SOCKS 5 proxy")
    if code:
        raise Refused(_failure(FAILURES_5, code))
    (_, kind), have = yield from exactly(2, have)
    if kind == NAME:
        (size,), have = yield from exactly(1, have)
    elif kind in SIZES:
        size = SIZES[kind]
    else:
        raise Refused(f"an address of unknown type 0x{kind:02x} in its answer")
    _, rest = yield from exactly(size + 2, have)
    return rest


def _failure(words: dict[int, str], code: int) -> str:
    return words.get(code, f"unassigned code 0x{code:02x}")
