"""A client of a SOCKS proxy: version 4, its extension 4A for names, and version 5.

Theory: SOCKS 4 is one request and one reply. SOCKS 5 (RFC 1928) first agrees on a method of authentication. Two are
known here: none, and user and password (RFC 1929). What follows the last reply comes from the target.

A reply is read only as far as it decides something: a proxy that refuses often closes the connection after its first
bytes. Must never send the password to a proxy that has not asked for it.
"""

from __future__ import annotations

from pync.protocols.dialogue import Refused, exactly
from pync.protocols.hosts import ascii_name
from pync.system import packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.dialogue import Dialogue, Login, Part

CONNECT = 1  # the command, in both versions
NO_AUTHENTICATION, PASSWORD, NO_METHOD = 0, 2, 0xFF  # methods (RFC 1928, section 3)
IPV4, DOMAIN_NAME, IPV6 = 1, 3, 4  # types of addresses (RFC 1928, section 5)
SIZES = {IPV4: 4, IPV6: 16}  # bytes

GRANTED_4 = 90
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


def socks4_connect(host: str, port: int, user: str = "") -> Dialogue[None]:
    """Have a SOCKS 4 proxy connect to `host`, an IPv4 address, or a name if the proxy knows 4A. Raises Refused."""
    address = packed_address(host)
    if address and len(address) != SIZES[IPV4]:
        raise Refused("SOCKS 4 knows no IPv6 addresses")
    name = ascii_name(host) + b"\0" if address is None else b""
    # A request of 4A has an address that no host can have, and the name at its end.
    address = address or b"\0\0\0\1"
    yield bytes((4, CONNECT)) + port.to_bytes(2) + address + _user_id(user) + b"\0" + name
    (version, code), have = yield from exactly(2, b"")
    # The version of a reply should be 0, but there are proxies that repeat the 4.
    if version not in (0, 4):
        raise Refused("it is not a SOCKS 4 proxy")
    if code != GRANTED_4:
        raise Refused(_failure(FAILURES_4, code), code)
    _, rest = yield from exactly(6, have)
    return None, rest


def _user_id(user: str) -> bytes:
    octets = user.encode("utf-8", "surrogateescape")
    if b"\0" in octets:
        raise Refused("a SOCKS 4 user must not contain a NUL byte")
    return octets


def socks5_connect(host: str, port: int, login: Login | None = None, *, lenient: bool = False) -> Dialogue[None]:
    """Have a SOCKS 5 proxy connect to `host`, an address or a name. Raises Refused.

    `lenient`: whatever version and method the proxy names, go on as if they were ours, unless it refuses all methods.
    """
    request = bytes((5, CONNECT, 0)) + _address(host) + port.to_bytes(2)
    credentials = _credentials(login) if login else b""
    methods = (NO_AUTHENTICATION, PASSWORD) if login else (NO_AUTHENTICATION,)
    yield bytes((5, len(methods), *methods))
    (version, method), have = yield from exactly(2, b"")
    if version != 5 and not lenient:
        raise Refused("it is not a SOCKS 5 proxy")
    if method not in methods and not (lenient and method != NO_METHOD):
        why = "it wants another authentication than user and password" if login else "it wants authentication"
        raise Refused(why, method)
    if method == PASSWORD and login:
        yield credentials
        have = yield from _credentials_reply(have)
    yield request
    return None, (yield from _reply(have, lenient=lenient))


def _address(host: str) -> bytes:
    address = packed_address(host)
    if address is None:
        name = ascii_name(host)
        return bytes((DOMAIN_NAME, len(name))) + name
    return bytes((IPV4 if len(address) == SIZES[IPV4] else IPV6,)) + address


def _credentials(login: Login) -> bytes:
    """The message that holds user and password (RFC 1929, section 2)."""
    user, password = (text.encode("utf-8", "surrogateescape") for text in login)
    if not (0 < len(user) < 256 and 0 < len(password) < 256):
        raise Refused("a SOCKS 5 user and password have 1 to 255 bytes each")
    return bytes((1, len(user))) + user + bytes((len(password),)) + password


def _credentials_reply(have: bytes) -> Part[bytes]:
    """What follows the reply to the credentials."""
    # The version in this reply is often wrong, and does not matter.
    (_, status), rest = yield from exactly(2, have)
    if status:
        raise Refused("it does not accept this user and password")
    return rest


def _reply(have: bytes, *, lenient: bool) -> Part[bytes]:
    """What follows the reply to the request. The address in it is the one that the proxy connects from."""
    (version, code), have = yield from exactly(2, have)
    if version != 5 and not lenient:
        raise Refused("it is not a SOCKS 5 proxy")
    if code:
        raise Refused(_failure(FAILURES_5, code), code, have[2:])
    (_, kind), have = yield from exactly(2, have)
    if kind == DOMAIN_NAME:
        (size,), have = yield from exactly(1, have)
    elif kind in SIZES:
        size = SIZES[kind]
    else:
        raise Refused(f"an address of unknown type 0x{kind:02x} in its answer")
    _, rest = yield from exactly(size + 2, have)
    return rest


def _failure(failures: dict[int, str], code: int) -> str:
    return failures.get(code, f"unassigned code 0x{code:02x}")
