"""A SOCKS 5 proxy: its side of the dialogue with the client (RFC 1928, RFC 1929).

Theory: the client offers methods of authentication, the proxy chooses one, the client identifies itself and asks for a
connection. That is the dialogue. Once the connection is made or has failed, `success_reply` or `failure_reply` is sent,
and then the target speaks. Only CONNECT is served: what BIND and UDP ASSOCIATE do, a netcat does not.

Must be strict: a client that may not do what it asks gets a reply that refuses it, and nothing more is read from it.
"""

from __future__ import annotations

from pync.protocols.dialogue import ConnectRequest, Refused, Unidentified, exactly
from pync.protocols.hosts import received_name
from pync.protocols.socks_client import CONNECT, DOMAIN_NAME, IPV4, IPV6, NO_AUTHENTICATION, PASSWORD, SIZES
from pync.system import packed_address, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.dialogue import Dialogue, FailureKind, Login, Part

NO_METHOD = 0xFF  # RFC 1928, section 3
SUCCEEDED, HOST_UNREACHABLE, COMMAND_NOT_SUPPORTED, TYPE_NOT_SUPPORTED = 0, 4, 7, 8  # RFC 1928, section 6
CODES: dict[FailureKind, int] = {
    "failed": 1,
    "forbidden": 2,
    "no network": 3,
    "no host": HOST_UNREACHABLE,
    "refused": 5,
    "timed out": 6,
}
ADDRESS_FAMILIES = {IPV4: socket.AF_INET, IPV6: socket.AF_INET6}


def serve(login: Login | None) -> Dialogue[ConnectRequest]:
    """What a client asks for, once it has proved that it knows `login`, if there is one. Raises Refused."""
    version, have = yield from exactly(1, b"")
    if version != b"\5":
        raise Refused("it does not speak SOCKS 5")
    (count,), have = yield from exactly(1, have)
    methods, have = yield from exactly(count, have)
    method = PASSWORD if login else NO_AUTHENTICATION
    if method not in methods:
        yield bytes((5, NO_METHOD))
        if login:
            raise Unidentified("it has to show who it is")
        raise Refused("it insists on an authentication")
    yield bytes((5, method))
    if login:
        have = yield from _identify(login, have)
    return (yield from _request(have))


def success_reply(asked: ConnectRequest) -> bytes:
    """The reply for a connection that was made."""
    return _reply(SUCCEEDED)


def failure_reply(trouble: FailureKind, why: str) -> bytes:
    """The reply for a connection that could not be made. The protocol has no room for `why`."""
    return _reply(CODES[trouble])


def late_reply(why: str) -> bytes:
    """Nothing: the protocol has no reply to a client that does not make its request in time."""
    return b""


def _reply(code: int) -> bytes:
    # The address that the proxy connects from should be next. No client of CONNECT needs it, and it may be private.
    return bytes((5, code, 0, IPV4)) + bytes(SIZES[IPV4] + 2)


def _identify(login: Login, have: bytes) -> Part[bytes]:
    """What follows the user and the password, if they are right (RFC 1929, section 2)."""
    from hmac import compare_digest

    version, have = yield from exactly(1, have)
    if version != b"\1":
        raise Refused("it does not keep to SOCKS 5")
    user, have = yield from _length_prefixed(have)
    password, have = yield from _length_prefixed(have)
    right_user, right_password = (text.encode("utf-8", "surrogateescape") for text in login)
    # `&` compares both always, so that the time does not show which of them is wrong.
    if not compare_digest(user, right_user) & compare_digest(password, right_password):
        yield b"\1\1"
        raise Refused("a wrong user or password")
    yield b"\1\0"
    return have


def _length_prefixed(have: bytes) -> Dialogue[bytes]:
    """A field after the byte that holds its length."""
    (length,), have = yield from exactly(1, have)
    return (yield from exactly(length, have))


def _request(have: bytes) -> Dialogue[ConnectRequest]:
    (version, command, _, kind), have = yield from exactly(4, have)
    if version != 5:
        raise Refused("it does not keep to SOCKS 5")
    if kind == DOMAIN_NAME:
        octets, have = yield from _length_prefixed(have)
    elif kind in SIZES:
        octets, have = yield from exactly(SIZES[kind], have)
    else:
        yield _reply(TYPE_NOT_SUPPORTED)
        raise Refused(f"an address of unknown type 0x{kind:02x}")
    port, rest = yield from exactly(2, have)
    if command != CONNECT:
        yield _reply(COMMAND_NOT_SUPPORTED)
        raise Refused(f"a command that is not served, 0x{command:02x}")
    try:
        return ConnectRequest(host=_host(kind, octets), port=int.from_bytes(port)), rest
    except Refused:
        yield _reply(HOST_UNREACHABLE)
        raise


def _host(kind: int, octets: bytes) -> str:
    if kind in ADDRESS_FAMILIES:
        return socket.inet_ntop(ADDRESS_FAMILIES[kind], octets)
    # There are clients that send every address as if it were a name, so an address is right here, too.
    if octets.isascii() and packed_address(host := octets.decode("ascii")):
        return host
    return received_name(octets)
