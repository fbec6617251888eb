"""The types of option values: each reads one text from the command line into a value, or says why it cannot.

Theory: a type is a function from str to a value that raises nothing but `ValueError`, whose text is the reason for
the user. The reader of the option table puts the option in front and makes it a usage error. For numbers the reasons
are those of OpenBSD's netcat, `invalid: V`, `too small: V` and `too large: V`: a face can put its noun in front of
them (`timeout too large: 2147484`).

A type never looks at the clock, the network or a file; only service names are looked up in the system's table.
It reads exactly what is documented: `float` and `int` alone would also take `1e3`, `inf`, `1_000`, blanks around the
number and the digits of every script.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, KeysView

MAX_SECONDS = 2147483  # what fits into 31 bits of milliseconds: the limit of both OpenBSD's netcat and Ncat
SECONDS_PER_UNIT = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}  # "ms" comes first because it also ends in "s"


# -- Numbers -------------------------------------------------------------------------------------------------------


def integer(low: int, high: int) -> Callable[[str], int]:
    """The type of whole numbers from `low` to `high`: decimal digits, with an optional sign."""

    def read(text: str) -> int:
        return read_integer(text, low, high)

    return read


def seconds(text: str) -> float:
    """A time: a decimal number with an optional `ms`, `s`, `m` or `h` in any case; seconds without. 0 to 2147483 s."""
    sign, number = _signed(text.lower())
    unit = next((unit for unit in SECONDS_PER_UNIT if number.endswith(unit)), "")
    number = number.removesuffix(unit)
    if not is_decimal(number.replace(".", "", 1)):
        raise ValueError(f"invalid: {text}")
    value = sign * float(number) * SECONDS_PER_UNIT[unit or "s"] + 0.0  # the sum makes 0.0 of -0.0
    _check_limits(text, value, 0, MAX_SECONDS)
    return value


def quit_seconds(text: str) -> float | None:
    """A time as `seconds` reads it, or a negative whole number for None: never."""
    sign, number = _signed(text)
    if sign < 0 and is_decimal(number) and number.strip("0"):
        return None
    return seconds(text)


def is_decimal(text: str) -> bool:
    """Whether a text is decimal digits and nothing else."""
    return text.isascii() and text.isdigit()


def _signed(text: str) -> tuple[int, str]:
    """The sign, 1 or -1, and what follows it."""
    if text.startswith(("-", "+")):
        return (-1 if text[0] == "-" else 1), text[1:]
    return 1, text


def read_integer(text: str, low: int, high: int) -> int:
    """A whole number within these limits. Raises ValueError."""
    sign, digits = _signed(text)
    if not is_decimal(digits):
        raise ValueError(f"invalid: {text}")
    # 20 digits are too large for every option. `int` refuses thousands of digits.
    value = sign * int(digits.lstrip("0")[:20] or "0")
    _check_limits(text, value, low, high)
    return value


def _check_limits(text: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"too {'small' if value < low else 'large'}: {text}")


# -- Hosts and ports -----------------------------------------------------------------------------------------------


def port(text: str, protocol: str = "tcp") -> int:
    """A port to connect to: 1 to 65535, or the name of a service of the protocol."""
    return _read_port(text, protocol, 1)


def listen_port(text: str, protocol: str = "tcp") -> int:
    """A port to listen on: as `port`, or 0 for an ephemeral one."""
    return _read_port(text, protocol, 0)


def ports(text: str, protocol: str = "tcp") -> tuple[int, ...]:
    """Ports to connect to: one as `port` reads it, or the numbers LO-HI or HI-LO, which count upwards either way."""
    if "," in text:
        raise ValueError(f"invalid: {text}; blanks divide ports, as in {text.replace(',', ' ')}")
    ends = text.split("-")
    if len(ends) != 2 or not all(map(is_decimal, ends)):  # the hyphen of http-alt, or of -5
        return (port(text, protocol),)
    first, last = sorted(port(end, protocol) for end in ends)
    return tuple(range(first, last + 1))


def _read_port(text: str, protocol: str, low: int) -> int:
    if is_decimal(_signed(text)[1]):
        return read_integer(text, low, 65535)
    from pync.system import socket

    try:
        return socket.getservbyname(text, protocol)
    except (OSError, ValueError):  # ValueError: the text is no C string
        raise ValueError(f"invalid: {text}") from None


def hosts(text: str) -> tuple[str, ...]:
    """A list of hosts divided by commas. A list without a host is refused: it may come from a variable left empty."""
    items = tuple(item for item in map(str.strip, text.split(",")) if item)
    if not items:
        raise ValueError("no host named")
    return items


def host_and_port(text: str) -> tuple[str, str]:
    """HOST:PORT or [HOST]:PORT, divided; either may be empty, and the port may be missing with its colon."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("not [HOST]:PORT")
        return host, rest[1:]
    if text.count(":") > 1:
        raise ValueError("an IPv6 address needs brackets, as in [::1]:8080")
    host, _, port = text.partition(":")
    return host, port


# -- Words ---------------------------------------------------------------------------------------------------------


class Choice:
    """The type of a choice between words, in any case. Those of one group mean its first word; blanks divide them."""

    def __init__(self, *groups: str) -> None:
        self._meanings = {word: group.split()[0] for group in groups for word in group.split()}

    @property
    def words(self) -> KeysView[str]:
        """All words."""
        return self._meanings.keys()

    def __call__(self, text: str) -> str:
        """What a word means."""
        if text.lower() not in self._meanings:
            raise ValueError(f"not {' or '.join(dict.fromkeys(self._meanings.values()))}: {text}")
        return self._meanings[text.lower()]


def path(text: str) -> str:
    """The name of a file or a socket."""
    if not text or "\0" in text:
        raise ValueError("not a file name" if text else "empty file name")
    return text


def paths(text: str) -> tuple[str, ...]:
    """The name of one file, for an option that can be repeated."""
    return (path(text),)


def command(text: str) -> tuple[str, ...]:
    """A program and its arguments, divided and quoted as in a shell's line (POSIX.1 XCU 2.2), but with no expansions.

    `shlex` does the same, but takes as long to import as Python to start.
    """
    words: list[str] = []
    inside, quote = False, ""
    letters = iter(text)
    for letter in letters:
        if letter in " \t\n\v\f\r" and not quote:
            inside = False
            continue
        if not inside:
            words.append("")
            inside = True
        if letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
        elif letter == "\\" and quote != "'":
            words[-1] += _escaped(next(letters, ""), quote, text)
        else:
            words[-1] += letter
    if quote:
        raise ValueError(f"no closing {quote}: {text}")
    if not words or not words[0]:
        raise ValueError("no program named")
    return tuple(words)


def _escaped(letter: str, quote: str, text: str) -> str:
    """What a backslash before this letter stands for, outside or between double quotes."""
    if not letter:
        raise ValueError(f"nothing follows the last backslash: {text}")
    return letter if not quote or letter in '"\\$`' else "\\" + letter


def shell(text: str) -> tuple[str, ...]:
    """A command line for the shell."""
    return ("/bin/sh", "-c", text)


def user(text: str) -> str:
    """NAME or NAME:GROUP, either of them possibly a number. Whether they exist is not looked up here."""
    name, colon, group = text.partition(":")
    if not name or (colon and not group) or ":" in group:
        raise ValueError(f"not NAME or NAME:GROUP: {text}")
    return text
