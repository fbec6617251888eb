"""The options of nc.traditional as data, its text of help, and its lax ways of reading a number and a port.

Theory: a value is read when its option is, in the order of the command line, so that of several faults the first is
reported. Some depend on the options before them: a host is not looked up after -n, a service is one of UDP after -u.
"""

from __future__ import annotations

from pync.errors import UsageError
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Values = dict[str, Any]

HELP = """\
[v1.10-47]
connect to somewhere:\tnc [-options] hostname port[s] [ports] ...\x20
listen for inbound:\tnc -l -p port [-options] [hostname] [port]
options:
\t-c shell commands\tas `-e'; use /bin/sh to exec [dangerous!!]
\t-e filename\t\tprogram to exec after connect [dangerous!!]
\t-b\t\t\tallow broadcasts
\t-g gateway\t\tsource-routing hop point[s], up to 8
\t-G num\t\t\tsource-routing pointer: 4, 8, 12, ...
\t-h\t\t\tthis cruft
\t-i secs\t\t\tdelay interval for lines sent, ports scanned
        -k                      set keepalive option on socket
\t-l\t\t\tlisten mode, for inbound connects
\t-n\t\t\tnumeric-only IP addresses, no DNS
\t-o file\t\t\thex dump of traffic
\t-p port\t\t\tlocal port number
\t-r\t\t\trandomize local and remote ports
\t-q secs\t\t\tquit after EOF on stdin and delay of secs
\t-s addr\t\t\tlocal source address
\t-T tos\t\t\tset Type Of Service
\t-t\t\t\tanswer TELNET negotiation
\t-u\t\t\tUDP mode
\t-v\t\t\tverbose [use twice to be more verbose]
\t-w secs\t\t\ttimeout for connects and final net reads
\t-C\t\t\tSend CRLF as line-ending
\t-z\t\t\tzero-I/O mode [used for scanning]
port numbers can be individual or ranges: lo-hi [inclusive];
hyphens in port names must be backslash escaped (e.g. 'ftp\\-data').
"""
LETTERS = "abc:e:g:G:hi:klno:p:q:rs:T:tuvw:zC"
FLAGS = {
    **{"b": "broadcast", "k": "keepalive", "l": "listen", "n": "numeric", "r": "shuffle"},
    **{"t": "telnet", "u": "datagram", "z": "scan", "C": "crlf"},
}
TOS = {"Minimize-Delay": 0x10, "Maximize-Throughput": 0x08, "Maximize-Reliability": 0x04, "Minimize-Cost": 0x02}
MOST_HOPS = 9  # that -g can name; one more is refused
HELP_HINT = "nc -h for help"
SIXTEEN_BITS = 0xFFFF


class Refused(UsageError):
    """The command line asks for something that cannot be: one line of nc.traditional's."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "")
        self.text = text


def atoi(text: str) -> int:
    """The number at the beginning of the text, as atoi(3) reads it; 0 if there is none."""
    text = text.lstrip(" \t\n\v\f\r")
    sign = -1 if text.startswith("-") else 1
    text = text[1:] if text.startswith(("-", "+")) else text
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return sign * int(digits[-20:] or "0")


def port(text: str, values: Values, words: str) -> int:
    """A port: a number, or without -n the name of a service. Raises Refused, which begins with the `words`.

    nc.traditional cuts a number to 16 bits, which no user means. Here it is refused.
    """
    number = atoi(text)
    if not number and "numeric" not in values:
        try:
            number = socket.getservbyname(text, protocol(values))
        except (OSError, ValueError):  # ValueError: the text is no C string
            number = 0
    if not 0 < number <= SIXTEEN_BITS:
        raise Refused(f"{words} {text}")
    return number


def protocol(values: Values) -> str:
    """The protocol whose services are meant."""
    return "udp" if "datagram" in values else "tcp"


def interval(text: str) -> int:
    """The seconds of -i. Raises Refused."""
    seconds = atoi(text) & SIXTEEN_BITS
    if not seconds:
        raise Refused(f"invalid interval time {text}")
    return seconds


def wait(text: str) -> int | None:
    """The seconds of -w; a negative number is no limit. Raises Refused."""
    seconds = atoi(text)
    if not seconds:
        raise Refused(f"invalid wait-time {text}")
    return seconds if seconds > 0 else None


def hop_pointer(text: str) -> int:
    """The pointer of -G. Raises Refused."""
    number = atoi(text)
    if number not in range(4, 29, 4):
        raise Refused(f"invalid hop pointer {number}, must be multiple of 4 <= 28")
    return number


def tos(text: str) -> int | None:
    """The type of service; an unknown word is none."""
    return TOS.get(text) or atoi(text) or None
