"""The types of option values: each turns one word of the command line into a value, or says why it cannot.

Theory: a type is a function from str to a value that raises nothing but `ValueError`, whose text is the reason
for a person. The reader of the option table puts the option's name in front and makes it a usage error. For
numbers the reasons are those of OpenBSD's netcat, `invalid: V`, `too small: V` and `too large: V`: a face puts its
noun in front of them (`timeout too large: 2147484`).

A type never looks at the clock, the network or a file; only service names are looked up in the system's table.
What it reads is exactly what is documented: `float` and `int` alone would also take `1e3`, `inf`, `1_000`, blanks
around the number and the digits of every script.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 2147483  # seconds: what fits in 31 bits of milliseconds, the limit of both OpenBSD's netcat and Ncat
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}  # "ms" comes first, for it also ends in "s"

# The words of OpenBSD's netcat (RFC 2474, RFC 3246, RFC 791), then those of the traditional one.
_TOS = {
    **{f"af{group}{drop}": group << 5 | drop << 3 for group in range(1, 5) for drop in range(1, 4)},
    **{f"cs{group}": group << 5 for group in range(8)},
    **{"ef": 0xB8, "critical": 0xA0, "inetcontrol": 0xC0, "netcontrol": 0xE0},
    **{"lowdelay": 0x10, "throughput": 0x08, "reliability": 0x04, "lowcost": 0x02},
    **{"minimize-delay": 0x10, "maximize-throughput": 0x08, "maximize-reliability": 0x04, "minimize-cost": 0x02},
}


def seconds(text: str) -> float:
    """A time: a decimal number with an optional `ms`, `s`, `m` or `h` in any case; seconds without. 0 to 2147483 s."""
    sign, number = _signed(text.lower())
    unit = next((unit for unit in _UNITS if number.endswith(unit)), "")
    number = number.removesuffix(unit)
    if not _is_decimal(number.replace(".", "", 1)):
        raise ValueError(f"invalid: {text}")
    value = sign * float(number) * _UNITS[unit or "s"] + 0.0  # so that -0.0 becomes 0.0
    _check(0, value, LONGEST, text)
    return value


def quit_seconds(text: str) -> float | None:
    """A time as `seconds` reads it, or a negative whole number for None: never."""
    sign, number = _signed(text)
    if sign < 0 and _is_decimal(number) and number.strip("0"):
        return None
    return seconds(text)


def count(low: int, high: int) -> Callable[[str], int]:
    """The type of whole numbers from `low` to `high`: decimal digits, with an optional sign."""

    def read(text: str) -> int:
        return _integer(low, text, high)

    return read


def port(text: str, protocol: str = "tcp") -> int:
    """A port to connect to: 1 to 65535, or the name of a service of the protocol."""
    return _port(text, protocol, 1)


def listen_port(text: str, protocol: str = "tcp") -> int:
    """A port to listen on: as `port`, or 0 for an ephemeral one."""
    return _port(text, protocol, 0)


def ports(text: str, protocol: str = "tcp") -> tuple[int, ...]:
    """Ports to connect to: one as `port` reads it, or the numbers LO-HI or HI-LO, which count upwards either way."""
    ends = text.split("-")
    if len(ends) != 2 or not all(map(_is_decimal, ends)):  # the hyphen of http-alt, or of -5
        return (port(text, protocol),)
    first, last = sorted(port(end, protocol) for end in ends)
    return tuple(range(first, last + 1))


def tos(text: str) -> int:
    """A type of service or traffic class, 0 to 255: a keyword in any case, `0xHH`, or a decimal number."""
    word = text.lower()
    if word in _TOS:
        return _TOS[word]
    digits = word.removeprefix("0x")
    if digits != word and 0 < len(digits) <= 2 and not digits.strip("0123456789abcdef"):
        return int(digits, 16)
    return _integer(0, text, 255)


def command(text: str) -> tuple[str, ...]:
    r"""A program and its arguments: blanks divide, `\x` is x whatever x is, quotes are nothing special (as in Ncat).

    So there is no way to write an empty argument. A backslash at the very end is refused; Ncat drops it.
    """
    words: list[str] = []
    inside = False
    letters = iter(text)
    for letter in letters:
        if letter in " \t\n\v\f\r":
            inside = False
            continue
        if letter == "\\" and not (letter := next(letters, "")):
            raise ValueError(f"nothing follows the last backslash: {text}")
        if not inside:
            words.append("")
            inside = True
        words[-1] += letter
    if not words:
        raise ValueError("no program named")
    return tuple(words)


def shell(text: str) -> tuple[str, ...]:
    """A command line for the shell."""
    return ("/bin/sh", "-c", text)


def user(text: str) -> str:
    """NAME or NAME:GROUP, either of them possibly a number; whether they exist is not asked here."""
    name, colon, group = text.partition(":")
    if not name or (colon and not group) or ":" in group:
        raise ValueError(f"not NAME or NAME:GROUP: {text}")
    return text


def specs(text: str) -> tuple[str, ...]:
    """A list of hosts divided by commas. One that names nobody is refused: it may be a variable left empty."""
    items = tuple(item for item in map(str.strip, text.split(",")) if item)
    if not items:
        raise ValueError("no host named")
    return items


def path(text: str) -> str:
    """The name of a file or a socket."""
    if not text or "\0" in text:
        raise ValueError("not a file name" if text else "empty file name")
    return text


def _port(text: str, protocol: str, low: int) -> int:
    if _is_decimal(_signed(text)[1]):
        return _integer(low, text, 65535)
    from pync.system import socket

    try:
        return socket.getservbyname(text, protocol)
    except (OSError, ValueError):  # ValueError: not even a C string
        raise ValueError(f"invalid: {text}") from None


def _integer(low: int, text: str, high: int) -> int:
    sign, digits = _signed(text)
    if not _is_decimal(digits):
        raise ValueError(f"invalid: {text}")
    value = sign * int(digits.lstrip("0")[:20] or "0")  # 20 digits are too large for any option, but not for int()
    _check(low, value, high, text)
    return value


def _check(low: float, value: float, high: float, text: str) -> None:
    if not low <= value <= high:
        raise ValueError(f"too {'small' if value < low else 'large'}: {text}")


def _signed(text: str) -> tuple[int, str]:
    if text.startswith(("-", "+")):
        return (-1 if text[0] == "-" else 1), text[1:]
    return 1, text


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdigit()
