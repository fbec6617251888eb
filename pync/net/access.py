"""Which clients are served, and which targets a proxy connects to: the lists of hosts, in Ncat's grammar.

Theory: every address is one 128-bit number. That of an IPv4 address is the number of its IPv4-mapped form
::ffff:a.b.c.d (RFC 4291, 2.5.5.2), under which it also appears on a dual-stack socket. So both forms are equal, and
`::/0` covers every client. Addresses and networks are sets of numbers, one for each length of prefix: to check a client
takes as many look-ups as there are different lengths, however many rules there are.

A rule is an address, `addr/bits`, a name (all its addresses, as they are when pync starts), `name/bits`, or four octets
that may be ranges and wildcards: `127.0-1.*.1-5`, open at either end as in `-5` and `200-`. Zones (`fe80::1%eth0`) are
dropped, from rules and from clients. In a file any white space divides rules, and `#` starts a comment.

The decision is Ncat's, not that of its manual. Deny wins. If there is a list of allowed clients, even an empty one, all
others are denied. The address of a unix peer is a path or empty. The rules are about the network, and the permissions
of a path decide which users may use it, so a unix peer is always allowed.

A rule that cannot be understood is an error at the start. It must never be left out.
"""

from __future__ import annotations

from pync.errors import AddressError, InputError, UsageError, reason
from pync.system import packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pync.config import Access

    Resolve = Callable[[str], Iterable[str]]  # from a name to its numeric addresses; raises AddressError

_MAPPED = 0xFFFF  # the upper 96 bits of an IPv4-mapped address
_OCTETS = {str(value): value for value in range(256)}  # without "010", which means 8 to inet_aton(3)


def load_rules(access: Access, resolve: Resolve, options: tuple[str, str] = ("--allow", "--deny")) -> Rules:
    """The rules that the user has given by these options, read from the files and resolved.

    Raises InputError for a file that cannot be read, UsageError for a malformed rule, AddressError for a name
    without an address; each names the option, or the file and line.
    """
    allow = _collect(_listed(options[0], access.allow, access.allow_files), resolve)
    deny = _collect(_listed(options[1], access.deny, access.deny_files), resolve)
    return Rules(allow if access.allow or access.allow_files else None, deny)


class Rules:
    """The decision about each client, or each target. `allow` is None if there is no list of those that are allowed."""

    def __init__(self, allow: Addresses | None, deny: Addresses) -> None:
        self._allow = allow
        self._deny = deny

    def become(self, other: Rules) -> None:
        """Decide as `other` does from now on."""
        self._allow, self._deny = other._allow, other._deny

    def denies(self, host: str) -> bool:
        """Whether the host at this numeric address (or unix path) is among those that are denied."""
        number = _number(host)
        return number is not None and number in self._deny

    def denial_reason(self, host: str) -> str | None:
        """Why the host at this numeric address (or unix path) is not allowed; None if it is."""
        number = _number(host)
        if number is None:
            return None
        if number in self._deny or (self._allow is not None and number not in self._allow):
            return "not allowed"
        return None


class Addresses:
    """A set of addresses, made of networks and of patterns of IPv4 octets."""

    def __init__(self) -> None:
        # For each number of last bits that do not count: the addresses of networks, without these bits.
        self._networks: dict[int, set[int]] = {}
        self._patterns: list[tuple[frozenset[int], ...]] = []

    def add(self, rule: str, resolve: Resolve) -> None:
        """Add the addresses that the rule covers. Raises UsageError or AddressError."""
        host = rule.partition("/")[0]
        if not host or not rule.isprintable():
            raise UsageError(rule, "not a host")
        if _number(host) is None and (pattern := _pattern(host)):
            self._patterns.append(_widened(pattern, _ignored(rule, 32)))
            return
        found = [host] if _number(host) is not None else list(resolve(host))
        if not found:
            raise AddressError(rule, "no address")
        for address in found:
            ignored = _ignored(rule, 128 if ":" in address else 32)
            number = _number(address)
            assert number is not None, "a name was resolved to something that is no address"
            self._networks.setdefault(ignored, set()).add(number >> ignored)

    def __contains__(self, number: int) -> bool:
        if any(number >> ignored in members for ignored, members in self._networks.items()):
            return True
        if number >> 32 != _MAPPED:
            return False
        octets = number.to_bytes(16)[12:]
        return any(all(map(frozenset.__contains__, pattern, octets)) for pattern in self._patterns)


def _listed(option: str, given: Iterable[str], files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each rule, after the option, or the file and line, that it comes from."""
    for rule in given:
        yield option, rule
    for path in files:
        for number, line in enumerate(_lines(path), 1):
            for rule in line.partition("#")[0].split():
                yield f"{path}:{number}:", rule


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readlines()
    except OSError as error:
        raise InputError(path, reason(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not a text file") from error


def _collect(listed: Iterable[tuple[str, str]], resolve: Resolve) -> Addresses:
    addresses = Addresses()
    for where, rule in listed:
        try:
            addresses.add(rule, resolve)
        except (UsageError, AddressError) as error:
            raise type(error)(f"{where} {rule}", error.why) from error
    return addresses


def _number(host: str) -> int | None:
    """An address as a number; None for anything else."""
    # This is as strict as the ipaddress module, much faster, and needs no import.
    packed = packed_address(host.partition("%")[0] if ":" in host else host)
    if packed is None:
        return None
    number = int.from_bytes(packed)
    return number if len(packed) == 16 else _MAPPED << 32 | number


def _ignored(rule: str, width: int) -> int:
    """How many of the last bits do not count under this rule, for an address of `width` bits."""
    _, slash, bits = rule.partition("/")
    if not slash:
        return 0
    if not (bits.isascii() and bits.isdigit()):
        raise UsageError(rule, "not a number of bits after the slash")
    if len(bits) > 3 or int(bits) > width:
        raise UsageError(rule, f"an IPv{4 if width == 32 else 6} address has only {width} bits")
    return width - int(bits)


def _pattern(host: str) -> tuple[frozenset[int], ...] | None:
    """The values that each of four octets with ranges and wildcards may have; None for anything else."""
    octets = tuple(map(_octet, host.split(".")))
    return octets if len(octets) == 4 and all(octets) else None


def _octet(text: str) -> frozenset[int]:
    """The values of one octet: ranges with commas between them; empty if it is malformed.

    Only a rule in a file can have commas, for on the command line they divide rules.
    """
    values: set[int] = set()
    for part in text.split(","):
        low, hyphen, high = part.partition("-") if part != "*" else ("", "-", "")
        first = _OCTETS.get(low or ("0" if hyphen else ""))
        last = _OCTETS.get(high or "255") if hyphen else first
        if first is None or last is None or first > last:
            return frozenset()
        values.update(range(first, last + 1))
    return frozenset(values)


def _widened(pattern: tuple[frozenset[int], ...], ignored: int) -> tuple[frozenset[int], ...]:
    """The pattern where the last `ignored` bits of an address do not count."""
    masks = (0xFFFFFFFF >> ignored << ignored).to_bytes(4)
    return tuple(_widened_octet(octet, mask) for octet, mask in zip(pattern, masks, strict=True))


def _widened_octet(octet: frozenset[int], mask: int) -> frozenset[int]:
    kept = {value & mask for value in octet}
    return frozenset(value for value in range(256) if value & mask in kept)
