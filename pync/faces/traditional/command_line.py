"""Reading the command line of nc.traditional: its options, the hosts in it, and the line that it asks for."""

from __future__ import annotations

import os

from pync.errors import reason
from pync.faces import print_line, print_unescaped
from pync.faces.glibc_getopt import Getopt
from pync.faces.traditional.hosts import look_up
from pync.faces.traditional.options import (
    FLAGS,
    LETTERS,
    MOST_HOPS,
    Refused,
    atoi,
    hop_pointer,
    interval,
    port,
    tos,
    wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.faces.traditional.hosts import Host
    from pync.faces.traditional.options import Values

LONGEST_LINE = 8191
VALUES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "G": ("hop_pointer", hop_pointer),
    "i": ("interval", interval),
    "o": ("log", str),
    "q": ("quit_after", atoi),
    "T": ("tos", tos),
    "w": ("wait", wait),
}
FILE_MODE = 0o664
SHELL = "/bin/sh"


def read(argv: list[str]) -> tuple[Values, list[str]]:
    """The values and operands of a command line; after -h nothing is read. Raises Refused, and getopt's Fault."""
    values: Values = {"verbosity": 0}
    command_line = Getopt(argv, LETTERS)
    for letter, text in command_line:
        if letter == "h":
            return {"help": True}, []
        _take(letter, text, values)
    if "log" in values and "program" not in values:
        _make_log(values["log"])
    return values, command_line.operands


def _take(letter: str, text: str, values: Values) -> None:
    if letter in FLAGS:
        values[FLAGS[letter]] = True
    elif letter in VALUES:
        dest, type = VALUES[letter]
        values[dest] = type(text)
    elif letter == "a":
        raise Refused("all-A-records NIY")
    elif letter in "ce":
        values["program"] = text if letter == "e" else SHELL
        values["shell_command"] = text if letter == "c" else None
    elif letter == "g":
        hops = values.setdefault("hops", [])
        if len(hops) == MOST_HOPS:
            raise Refused("too many -g hops")
        hops.append(host(text, values))
    elif letter == "p":
        values["own_port"] = port(text, values, "invalid local port")
    elif letter == "s":
        values["own_host"] = host(text, values)
    else:
        values["verbosity"] += 1


def host(text: str, values: Values) -> Host:
    """Look a host up, and report what is odd about it. Raises Refused."""
    found = look_up(text, numeric="numeric" in values, verbose=values["verbosity"] > 0)
    for remark in found.remarks:
        print_line(remark)
    return found


def _make_log(path: str) -> None:
    """Make the file of the dump before any host is looked up. Raises Refused."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE))
    except OSError as error:
        raise Refused(f"can't open {path} : {reason(error)}") from None


def asked_line() -> list[str]:
    """The arguments in the first line of stdin; what follows it is left there. Raises Refused without a line."""
    print_unescaped("Cmd line: ")
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST_LINE and (letter := _read_byte()):
        line += letter
    if not line:
        raise Refused("wrong")
    text = os.fsdecode(line).partition("\n")[0].partition("\r")[0]
    first, *others = text[1:].split(" ")  # the first letter belongs to the first argument even if it is a blank
    return [text[:1] + first, *filter(None, others)]


def _read_byte() -> bytes:
    try:
        return os.read(0, 1)
    except OSError:
        return b""
