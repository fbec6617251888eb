"""The PROXY protocol, versions 1 and 2: what a proxy sends first on a connection, to name the client that it is for.

Theory (HAProxy's proxy-protocol.txt): version 1 is one line of at most 107 bytes, such as
`PROXY TCP4 192.0.2.1 192.0.2.7 50000 443`, version 2 is binary and carries its own length. `receive` tells them apart
by the first byte. Neither a connection of the proxy itself (UNKNOWN, LOCAL) nor one of a client that has no address of
the network names a client. Whatever is no such header is refused: what is taken for data, or data for it, would put one
client's name on another's bytes.

The bytes after the header are the client's own and are not touched.
"""

from __future__ import annotations

from pync.events import Address
from pync.protocols.dialogue import Refused, exactly, receive_more
from pync.system import packed_address, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from pync.protocols.dialogue import Dialogue

    Version = Literal[1, 2]

PREFIX_1, PREFIX_2 = b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107  # bytes, with the end of the line
MOST = 4096  # bytes of addresses and of what follows them, which may be any number of facts about the client
MAPPED = bytes(10) + b"\xff\xff"  # in front of an IPv4 address in an IPv6 one (RFC 4291, 2.5.5.2)
SIZES = {b"TCP4": 4, b"TCP6": 16}
# The second byte of version 2 is the family and the transport; here are the sizes of one address of streams.
STREAMS = {0x11: 4, 0x21: 16}
FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}
WRONG = "it sends no PROXY header"
MALFORMED = "its PROXY header is malformed"


def receive() -> Dialogue[Address | None]:
    """The client that the peer has connected for; None if there is none to be named. Raises Refused."""
    have = yield from receive_more(b"")
    if have[:1] == PREFIX_1[:1]:
        return (yield from _receive_line(have))
    if have[:1] == PREFIX_2[:1]:
        return (yield from _receive_binary(have))
    raise Refused(WRONG)


def _receive_line(have: bytes) -> Dialogue[Address | None]:
    while True:
        if not have.startswith(PREFIX_1[: len(have)]):
            raise Refused(WRONG)
        line, end, rest = have.partition(b"\n")
        if len(line) + 1 > LONGEST_LINE:
            raise Refused(MALFORMED)
        if end:
            return _from_line(line), rest
        have = yield from receive_more(have)


def _from_line(line: bytes) -> Address | None:
    if not line.endswith(b"\r"):
        raise Refused(MALFORMED)
    words = line[:-1].split(b" ")
    if words[:2] == [b"PROXY", b"UNKNOWN"]:
        return None
    if len(words) != 6 or words[1] not in SIZES:
        raise Refused(MALFORMED)
    _, family, *hosts, port, own_port = words
    packed = [packed_address(host.decode("latin-1")) for host in hosts]
    if any(address is None or len(address) != SIZES[family] for address in packed):
        raise Refused(MALFORMED)
    _port(own_port)
    return _address(packed[0] or b"", _port(port))


def _port(text: bytes) -> int:
    number = int(text) if text.isdigit() and len(text) < 6 else 1 << 16
    if number > 65535 or str(number).encode() != text:
        raise Refused(MALFORMED)
    return number


def _receive_binary(have: bytes) -> Dialogue[Address | None]:
    while have.startswith(PREFIX_2[: len(have)]) and len(have) < len(PREFIX_2):
        have = yield from receive_more(have)
    if not have.startswith(PREFIX_2):
        raise Refused(WRONG)
    start, have = yield from exactly(len(PREFIX_2) + 4, have)
    command, family, size = start[12], start[13], int.from_bytes(start[14:])
    if command not in (0x20, 0x21):
        raise Refused(MALFORMED)
    if size > MOST:
        raise Refused(f"its PROXY header is longer than {MOST} bytes")
    body, have = yield from exactly(size, have)
    if command == 0x20 or family not in STREAMS:
        return None, have
    width = STREAMS[family]
    if len(body) < 2 * width + 4:
        raise Refused(MALFORMED)
    return _address(body[:width], int.from_bytes(body[2 * width : 2 * width + 2])), have


def _address(packed: bytes, port: int) -> Address:
    return Address(host=socket.inet_ntop(FAMILIES[len(packed)], packed), port=port)


def header(version: Version, client: Address, own: Address) -> bytes:
    """The header for a connection that we make for a client, which has connected to our address `own`.

    A client without an address of the network, as that of a unix socket, is not named.
    """
    ends = _packed(client), _packed(own)
    if any(end is None for end in ends):
        return PREFIX_1 + b"UNKNOWN\r\n" if version == 1 else PREFIX_2 + b"\x20\0\0\0"
    source, target = (end or b"" for end in ends)
    if len(source) != len(target):  # a header has one family
        source, target = (MAPPED * (len(end) == 4) + end for end in (source, target))
    ports = [client.port or 0, own.port or 0]
    if version == 1:
        hosts = [socket.inet_ntop(FAMILIES[len(end)], end) for end in (source, target)]
        return f"PROXY TCP{4 if len(source) == 4 else 6} {hosts[0]} {hosts[1]} {ports[0]} {ports[1]}\r\n".encode()
    family = next(code for code, width in STREAMS.items() if width == len(source))
    body = source + target + ports[0].to_bytes(2) + ports[1].to_bytes(2)
    return PREFIX_2 + bytes((0x21, family)) + len(body).to_bytes(2) + body


def _packed(address: Address) -> bytes | None:
    """The bytes of an address of the network, those of IPv4 where it is one; None for any other."""
    packed = packed_address(address.host.partition("%")[0] if ":" in address.host else address.host)
    if packed is None or address.port is None:
        return None
    return packed.removeprefix(MAPPED) if len(packed) == 16 else packed
