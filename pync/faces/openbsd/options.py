"""The options of nc.openbsd as data, and its texts of help: a letter, the name of its value, and how that is read.

Theory: a value is read when its option is, in the order of the command line, so that of several faults the first is
reported. Each fault has nc.openbsd's words. The last of several values counts, and so do the family's letters.
"""

from __future__ import annotations

from pync.errors import UsageError
from pync.faces.glibc_getopt import Getopt
from pync.faces.option_values import is_decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Values = dict[str, Any]

VERSION = "OpenBSD netcat (Debian patchlevel 1.219-1)"
USAGE = """\
usage: nc [-46CDdFhklNnrStUuvZz] [-I length] [-i interval] [-M ttl]
\t  [-m minttl] [-O length] [-P proxy_username] [-p source_port]
\t  [-q seconds] [-s sourceaddr] [-T keyword] [-V rtable] [-W recvlimit]
\t  [-w timeout] [-X proxy_protocol] [-x proxy_address[:port]]
\t  [destination] [port]"""
HELP = """\
\tCommand Summary:
\t\t-4\t\tUse IPv4
\t\t-6\t\tUse IPv6
\t\t-b\t\tAllow broadcast
\t\t-C\t\tSend CRLF as line-ending
\t\t-D\t\tEnable the debug socket option
\t\t-d\t\tDetach from stdin
\t\t-F\t\tPass socket fd
\t\t-h\t\tThis help text
\t\t-I length\tTCP receive buffer length
\t\t-i interval\tDelay interval for lines sent, ports scanned
\t\t-k\t\tKeep inbound sockets open for multiple connects
\t\t-l\t\tListen mode, for inbound connects
\t\t-M ttl\t\tOutgoing TTL / Hop Limit
\t\t-m minttl\tMinimum incoming TTL / Hop Limit
\t\t-N\t\tShutdown the network socket after EOF on stdin
\t\t-n\t\tSuppress name/port resolutions
\t\t-O length\tTCP send buffer length
\t\t-P proxyuser\tUsername for proxy authentication
\t\t-p port\t\tSpecify local port for remote connects
\t\t-q secs\t\tquit after EOF on stdin and delay of secs
\t\t-r\t\tRandomize remote ports
\t\t-S\t\tEnable the TCP MD5 signature option
\t\t-s sourceaddr\tLocal source address
\t\t-T keyword\tTOS value
\t\t-t\t\tAnswer TELNET negotiation
\t\t-U\t\tUse UNIX domain socket
\t\t-u\t\tUDP mode
\t\t-V rtable\tSpecify alternate routing table
\t\t-v\t\tVerbose
\t\t-W recvlimit\tTerminate after receiving a number of packets
\t\t-w timeout\tTimeout for connects and final net reads
\t\t-X proto\tProxy protocol: "4", "5" (SOCKS) or "connect"
\t\t-x addr[:port]\tSpecify proxy address and port
\t\t-Z\t\tDCCP mode
\t\t-z\t\tZero-I/O mode [used for scanning]
\tPort numbers can be individual or ranges: lo-hi [inclusive]"""
LETTERS = "46bCDdFhI:i:klM:m:NnO:P:p:q:rSs:T:tUuV:vW:w:X:x:Zz"

LONGEST_KEY = 80  # bytes (TCP_MD5SIG_MAXKEYLEN)
INT_MAX = 2147483647
BLANKS = " \t\n\v\f\r"  # what strtol(3) passes over
PROXIES = {"connect": "http", "4": "socks4", "5": "socks5"}


class Refused(UsageError):
    """The command line asks for something that cannot be: one line of nc.openbsd's."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "")
        self.text = text


class NoSuchForm(UsageError):
    """The operands do not go with the options: nc.openbsd shows its usage."""


def strtonum(text: str, low: int, high: int) -> int:
    """A whole number as strtonum(3) reads it. Raises ValueError with that function's word for what is wrong."""
    digits = text.lstrip(BLANKS)
    sign = -1 if digits.startswith("-") else 1
    digits = digits[1:] if digits.startswith(("-", "+")) else digits
    if not is_decimal(digits):
        raise ValueError("invalid")
    value = sign * int(digits.lstrip("0")[:20] or "0")  # more digits are too many for every option, and for `int`
    if not low <= value <= high:
        raise ValueError("too small" if value < low else "too large")
    return value


def number(what: str, low: int, high: int) -> Callable[[str], int]:
    """The type of whole numbers from `low` to `high`; it raises Refused."""

    def read(text: str) -> int:
        try:
            return strtonum(text, low, high)
        except ValueError as error:
            raise Refused(f"{what} {error}: {text}") from None

    return read


def _ttl(what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            return strtonum(text, 0, 255)
        except ValueError as error:
            raise Refused(f"{what} is {error}") from None

    return read


def _tos(text: str) -> int:
    from pync.faces.rare_values import tos_keywords

    keywords = tos_keywords()
    if text in keywords and "-" not in text:  # the traditional netcat's have a hyphen
        return keywords[text]
    try:
        return _hexadecimal(text[2:]) if text.startswith("0x") else strtonum(text, 0, 255)
    except ValueError:
        raise Refused(f"illegal tos value {text}") from None


def _hexadecimal(text: str) -> int:
    """The number at the beginning of the text, as strtol(3) reads it. Raises ValueError if it is above 255."""
    digits = text[: len(text) - len(text.lstrip("0123456789abcdefABCDEF"))]
    if int(digits or "0", 16) > 255:
        raise ValueError
    return int(digits or "0", 16)


def _proxy_protocol(text: str) -> str:
    kind = PROXIES.get(text.lower())
    if kind is None:
        raise Refused("unsupported proxy protocol")
    return kind


def _no_routing_tables(text: str) -> None:
    raise Refused("no alternate routing table support available")


def _ask_for_key() -> bytes:
    from pync.faces.password import ask

    try:
        return ask("TCP MD5SIG password: ").encode("utf-8", "surrogateescape")[:LONGEST_KEY]
    except (OSError, EOFError):
        raise Refused("Unable to read TCP MD5SIG password") from None


FAMILIES = {"4": "ipv4", "6": "ipv6", "U": "unix"}
FLAGS = {
    **{"b": "broadcast", "C": "crlf", "D": "debug", "d": "no_stdin", "F": "pass_descriptor", "h": "help"},
    **{"k": "keep_open", "l": "listen", "N": "half_close", "n": "numeric", "r": "shuffle"},
    **{"t": "telnet", "u": "datagram", "v": "verbose", "Z": "dccp", "z": "scan"},
}
VALUES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "I": ("receive_buffer", number("TCP receive window", 1, 1 << 30)),
    "i": ("pace", number("interval", 0, 4294967295)),
    "M": ("ttl", _ttl("ttl")),
    "m": ("min_ttl", _ttl("minttl")),
    "O": ("send_buffer", number("TCP send window", 1, 1 << 30)),
    "P": ("proxy_user", str),
    "p": ("source_port", str),
    "q": ("quit_after", number("quit timer", -INT_MAX - 1, INT_MAX)),
    "s": ("source_host", str),
    "T": ("tos", _tos),
    "V": ("routing_table", _no_routing_tables),
    "W": ("receive_limit", number("receive limit", 1, INT_MAX)),
    "w": ("wait", number("timeout", 0, INT_MAX // 1000)),
    "X": ("proxy_kind", _proxy_protocol),
    "x": ("proxy", str),
}


def read(argv: list[str]) -> tuple[Values, list[str]]:
    """The values and operands of a command line; after -h nothing is read. Raises Refused, and getopt's Fault."""
    values: Values = {}
    command_line = Getopt(argv, LETTERS)
    for letter, text in command_line:
        if letter == "h":
            return {"help": True}, []
        if letter in FAMILIES:
            values["family"] = FAMILIES[letter]
        elif letter == "S":
            values["md5_key"] = _ask_for_key()
        elif letter in FLAGS:
            values[FLAGS[letter]] = True
        else:
            dest, type = VALUES[letter]
            values[dest] = type(text)
            if letter == "q" and values[dest] >= 0:
                values["half_close"] = True
    return values, command_line.operands
