"""A SOCKS 5 proxy's side of the dialogue with its client (RFC 1928, RFC 1929).

Theory: the client offers methods of authentication, one is chosen, it says who it is, it asks for a connection. That
is the dialogue; whether the connection stands is said with `granted` or `failed`, and then the target speaks. Only
CONNECT is served: what BIND and UDP ASSOCIATE do, a netcat does not.

Must be strict: a client that is not allowed to do what it asks is told so, and is heard no further.
"""

from __future__ import annotations

from pync.protocols.dialogue import Asked, Refused, exactly
from pync.protocols.hosts import in_ascii
from pync.protocols.socks_client import CONNECT, IPV4, IPV6, NAME, NO_AUTHENTICATION, PASSWORD, SIZES
from pync.system import packed_address, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.dialogue import Dialogue, Login, Part, Trouble

NO_METHOD = 0xFF
GRANTED, FAILED, NO_HOST, NO_COMMAND, NO_TYPE = 0, 1, 4, 7, 8  # RFC 1928, section 6
CODES: dict[Trouble, int] = {
    "failed": FAILED,
    "forbidden": 2,
    "no network": 3,
    "no host": NO_HOST,
    "refused": 5,
    "timed out": 6,
}
FAMILIES = {IPV4: socket.AF_INET, IPV6: socket.AF_INET6}


def serve(login: Login | None) -> Dialogue[Asked]:
    """What a client asks for, once it has shown that it knows `login`, if there is one. Raises Refused."""
    version, have = yield from exactly(1, b"")
    if version != b"\5":
        raise Refused("it does not speak SOCKS 5")
    (count,), have = yield from exactly(1, have)
    methods, have = yield from exactly(count, have)
    method = PASSWORD if login else NO_AUTHENTICATION
    if method not in methods:
        yield bytes((5, NO_METHOD))
        raise Refused("it does not say who it is" if login else "it insists on an authentication")
    yield bytes((5, method))
    if login:
        have = yield from _identify(login, have)
    return (yield from _request(have))


def granted(asked: Asked) -> bytes:
    """What tells the client that the connection it asked for stands."""
    return _reply(GRANTED)


def failed(trouble: Trouble, why: str) -> bytes:
    """What tells the client that there is no connection; the protocol has no room for `why`."""
    return _reply(CODES[trouble])


def _reply(code: int) -> bytes:
    # The address we connect from would be next. No client of CONNECT needs it, and it may be nobody's business.
    return bytes((5, code, 0, IPV4)) + bytes(SIZES[IPV4] + 2)


def _identify(login: Login, have: bytes) -> Part[bytes]:
    """What is left after the right user and password (RFC 1929, section 2)."""
    from hmac import compare_digest

    version, have = yield from exactly(1, have)
    if version != b"\1":
        raise Refused("it does not keep to SOCKS 5")
    user, have = yield from _counted(have)
    password, have = yield from _counted(have)
    right_user, right_password = (text.encode("utf-8", "surrogateescape") for text in login)
    if not compare_digest(user, right_user) & compare_digest(password, right_password):
        yield b"\1\1"
        raise Refused("a wrong user or password")
    yield b"\1\0"
    return have


def _counted(have: bytes) -> Dialogue[bytes]:
    (count,), have = yield from exactly(1, have)
    return (yield from exactly(count, have))


def _request(have: bytes) -> Dialogue[Asked]:
    (version, command, _, kind), have = yield from exactly(4, have)
    if version != 5:
        raise Refused("it does not keep to SOCKS 5")
    if kind == NAME:
        octets, have = yield from _counted(have)
    elif kind in SIZES:
        octets, have = yield from exactly(SIZES[kind], have)
    else:
        yield _reply(NO_TYPE)
        raise Refused(f"an address of unknown type 0x{kind:02x}")
    port, rest = yield from exactly(2, have)
    if command != CONNECT:
        yield _reply(NO_COMMAND)
        raise Refused(f"a command that is not served, 0x{command:02x}")
    try:
        return Asked(host=_host(kind, octets), port=int.from_bytes(port)), rest
    except Refused:
        yield _reply(NO_HOST)
        raise


def _host(kind: int, octets: bytes) -> str:
    if kind in FAMILIES:
        return socket.inet_ntop(FAMILIES[kind], octets)
    host = octets.decode("ascii", "replace")
    if packed_address(host) is None:  # there are clients that write every address as a name
        in_ascii(host)
    return host
