"""Targets: texts that a user, a file or a header's field holds: hosts, access lists, credentials, a command line."""

import ipaddress
import os

from fuzz import Target
from pync.config import Access, Config
from pync.errors import AddressError, InputError, UsageError
from pync.faces import option_values
from pync.faces.native.config import config
from pync.faces.native.options import HINTS, TABLE
from pync.faces.option_table import every, read
from pync.net.access import Addresses, Rules, load_rules
from pync.protocols.dialogue import Refused
from pync.protocols.hosts import ascii_name, authority, split_authority
from pync.protocols.http_auth import Nonces, answer, check_credentials, parse_challenges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LOGIN = "user", "Aladdin's other lamp"  # no seed holds this password
SECRET, NOW = b"secret", 1_700_000_000.0
ADDRESSES = ("127.0.0.1", "10.1.2.3", "255.255.255.255", "::1", "fe80::1%eth0", "2001:db8::ffff", "::ffff:10.1.2.3")


def hosts(data: bytes) -> None:
    """An authority of a proxy's client, and a name for a proxy."""
    text = data.decode("latin-1")
    try:
        host, port = split_authority(text)
        name, again = split_authority(authority(host, port or 80))
        assert name.isascii() and name.isprintable() and " " not in name, name
        assert again == (port or 80) and (name == host or not host.isascii()), (name, host)
    except Refused:
        pass
    text = data.decode("utf-8", "surrogateescape")
    try:
        assert 0 < len(ascii_name(text)) < 256
    except Refused:
        pass
    try:
        option_values.host_and_port(text)
    except ValueError as error:
        assert not isinstance(error, UnicodeError)


def authentication(data: bytes) -> None:
    """Credentials that a client sends, and challenges that a proxy sends: the same bytes are taken for both."""
    text = data.decode("utf-8", "surrogateescape")
    Nonces(SECRET).accept(text, "00000001", NOW)
    for method, fresh in ("GET", True), ("CONNECT", False):
        verdict = check_credentials(text, LOGIN, method, ("/", "a:1"), lambda *_, fresh=fresh: fresh)
        assert verdict == "denied", verdict
    try:
        given = answer([text], LOGIN, "GET", "/", "cnonce")
    except Refused:
        return
    if given is None or not given.startswith("Digest "):
        return
    (sent,) = parse_challenges(given)
    assert sent.parameters["nonce"] in [challenge.parameters.get("nonce") for challenge in parse_challenges(text)]
    ours = sent.parameters["realm"] == "pync" and "userhash" not in sent.parameters
    if ours:
        assert check_credentials(given, LOGIN, "GET", ("/",), lambda *_: True) == "granted", given
        assert check_credentials(given, LOGIN, "POST", ("/",), lambda *_: True) == "denied", given


def access(data: bytes) -> None:
    """A list of rules as a file holds it."""
    file = os.memfd_create("rules")
    try:
        os.write(file, data)
        rules = load_rules(Access(allow_files=(f"/proc/self/fd/{file}",)), _resolve)
    except (UsageError, AddressError, InputError):
        return
    finally:
        os.close(file)
    for address in ADDRESSES:
        rules.denial_reason(address)
    words = [word for line in data.decode().splitlines() for word in line.partition("#")[0].split()]
    if len(words) == 1:
        _check_network(rules, words[0])


def _check_network(rules: Rules, rule: str) -> None:
    """A rule that is a network to Python, too, covers the same addresses."""
    try:
        network = ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return
    for address in map(ipaddress.ip_address, ADDRESSES):
        same = address.version == network.version and not getattr(address, "ipv4_mapped", None)
        if same and "%" not in f"{rule}{address}":
            assert (rules.denial_reason(str(address)) is None) == (address in network), (rule, address)


def _resolve(name: str) -> "Iterable[str]":
    if name.startswith("none"):
        raise AddressError(name, "no address")
    return ["127.0.0.1", "::1"] if name.startswith("two") else ["10.0.0.1"]


def options(data: bytes) -> None:
    """A command line, whose arguments are divided by NULs."""
    argv = [os.fsdecode(argument) for argument in data.split(b"\0")]
    try:
        values, operands = read(TABLE, argv, HINTS)
        if not values.keys() & {"help", "version"}:
            assert isinstance(config(values, operands), Config)
    except UsageError as error:
        str(error)


_VALUES = {
    "HOST,...": "127.0.0.1,::1/64,a",
    "NAME[:GROUP]": "nobody",
    "sha256:HEX": "sha256:" + "ab" * 32,
    "PROXY": "socks5://a:1080",
    "TYPE": "http",
    "LOGIN": "user:secret",
    "WHERE": "local",
    "HOST:PORT": "[::1]:80",
    "TIME": "1.5m",
    "N": "7",
    "SIZE": "4096",
    "TOS": "af41",
    "CMD": 'a \'b c\' "d\\"e"',
}


def _command_lines() -> list[bytes]:
    """Every option, with a value, before the operands of each form."""
    lines = []
    for option in every(TABLE):
        words = [option.spellings[-1], *([_VALUES.get(option.metavar, "x")] if option.metavar else [])]
        for form in (["localhost", "80"], ["-l", "0"], ["-lkU", "@a"], ["http://a:80"]):
            lines.append("\0".join([*words, *form]).encode())
    return lines


def _file_of(rules: str) -> bytes:
    Addresses().add(rules.split()[0], _resolve)
    return rules.encode()


TARGETS = {
    "hosts": Target(
        hosts,
        [b"example.org:443", b"[::1]:80", b"[fe80::1%eth0]", b"10.0.0.1", b"a_b.c-d:65535", "grüße.de".encode(), b":1"],
    ),
    "authentication": Target(
        authentication,
        [
            b"Basic dXNlcjpzZWNyZXQ=",
            b'Digest username="user", realm="pync", nonce="6553f100-00", uri="/", qop=auth, nc=00000001, cnonce="c", '
            b'algorithm=SHA-512-256-sess, response="00", opaque="o\\"p"',
            b'Digest realm="pync", nonce="n", qop="auth,auth-int", algorithm=MD5, userhash=true, Basic realm="pync"',
            b'Negotiate, Digest realm=pync, nonce="x"',
            Nonces(SECRET).make(NOW).encode(),
        ],
    ),
    "access": Target(
        access,
        [_file_of(text) for text in ("10.0.0.0/8", "127.0-1.*.1-5", "::1/64 # six", "two/24\nnone", "-5.200-.1,3-4.0")],
    ),
    "options": Target(options, _command_lines()),
}
