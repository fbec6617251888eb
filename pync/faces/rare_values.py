"""The types of option values that few runs have: as in `option_values.py`, and imported when such a value is read.

A module of its own, because every start reads the table of options, and only these few need what is here.
"""

from __future__ import annotations

from pync.faces.option_values import path, read_integer

SHA256_DIGITS = 64  # hexadecimal
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")  # RFC 9110, section 5.6.2


def tos(text: str) -> int:
    """A type of service or traffic class, 0 to 255: a keyword in any case, `0xHH`, or a decimal number."""
    word = text.lower()
    keywords = tos_keywords()
    if word in keywords:
        return keywords[word]
    digits = word.removeprefix("0x")
    if digits != word and len(digits) <= 2 and _is_hexadecimal(digits):
        return int(digits, 16)
    return read_integer(text, 0, 255)


def tos_keywords() -> dict[str, int]:
    """The keywords of OpenBSD's netcat (RFC 2474, RFC 3246, RFC 791), then those of the traditional one."""
    return {
        **{f"af{group}{drop}": group << 5 | drop << 3 for group in range(1, 5) for drop in range(1, 4)},
        **{f"cs{group}": group << 5 for group in range(8)},
        **{"ef": 0xB8, "critical": 0xA0, "inetcontrol": 0xC0, "netcontrol": 0xE0},
        **{"lowdelay": 0x10, "throughput": 0x08, "reliability": 0x04, "lowcost": 0x02},
        **{"minimize-delay": 0x10, "maximize-throughput": 0x08, "maximize-reliability": 0x04, "minimize-cost": 0x02},
    }


def mode(text: str) -> int:
    """The permissions of a file in octal, as for chmod(1): 660 or 0660."""
    if not text or len(text) > 4 or text.strip("01234567") or int(text, 8) > 0o777:
        raise ValueError(f"not a mode such as 660: {text}")
    return int(text, 8)


def log_path(text: str) -> str | tuple[str, ...]:
    """The name of a file, or a name for one in each session, as `LogName` in `config.py` says.

    `%a`, `%p`, `%t` and `%n` make it the latter, and `%%` stands for a percent sign.
    """
    parts = [""]
    letters = iter(path(text))
    for letter in letters:
        if letter != "%":
            parts[-1] += letter
        elif (letter := next(letters, "")) == "%":
            parts[-1] += "%"
        elif letter in ("a", "p", "t", "n"):
            parts += [letter, ""]
        else:
            raise ValueError(f"%{letter} is none of %a, %p, %t, %n and %%: {text}")
    return parts[0] if len(parts) == 1 else tuple(parts)


def alpn_names(text: str) -> tuple[str, ...]:
    """A list of protocols divided by commas, each of 1 to 255 bytes (RFC 7301, section 3.1), which are ASCII here."""
    names = tuple(text.split(","))
    if not text.isascii() or not all(0 < len(name) < 256 for name in names):
        raise ValueError(f"not a list of names: {text}")
    return names


def tokens(text: str) -> tuple[str, ...]:
    """A list of words of HTTP divided by commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(name and TOKEN.issuperset(name.lower()) for name in names):
        raise ValueError(f"not a list of names: {text}")
    return names


def header(text: str) -> tuple[tuple[str, str]]:
    """A header of HTTP, NAME:VALUE, for an option that can be repeated. Its value may be a secret, and is not shown."""
    name, colon, value = text.partition(":")
    if not colon or not name or not TOKEN.issuperset(name.lower()):
        raise ValueError("not NAME:VALUE")
    if not (value.isascii() and value.replace("\t", " ").isprintable()):
        raise ValueError(f"the value of {name} has letters that HTTP has not")
    return ((name, value.strip()),)


def fingerprint(text: str) -> bytes:
    """The digest in a certificate's fingerprint: `sha256:` and 64 hexadecimal digits, in any case.

    The prefix may be missing, and colons may stand between the digits.
    """
    digits = text.lower().removeprefix("sha256:").replace(":", "")
    if len(digits) != SHA256_DIGITS or not _is_hexadecimal(digits):
        raise ValueError(f"not sha256: and {SHA256_DIGITS} hexadecimal digits: {text}")
    return bytes.fromhex(digits)


def _is_hexadecimal(text: str) -> bool:
    return bool(text) and not text.strip("0123456789abcdef")
