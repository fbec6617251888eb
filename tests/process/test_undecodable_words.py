"""Words that are not UTF-8, as values and as operands: one line on stderr and a status, in every role.

The port of each run is held by the test, so that a client is refused there and a listener cannot be bound: each run
ends at once, and gets as far as one that the user has mistyped.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from harness import DEVNULL, PYNC, free_port, run

from pync.faces.native.options import TABLE
from pync.faces.option_table import every

if TYPE_CHECKING:
    from pathlib import Path

DATAGRAM = socket.SOCK_DGRAM
UNDECODABLE = os.fsdecode(b"\xff\xfe")
ODD = [UNDECODABLE, UNDECODABLE + ":1", f"[{UNDECODABLE}]", f"::1%{UNDECODABLE}", f"http://{UNDECODABLE}@h", "\x1b\n"]
ROLES: dict[str, list[str]] = {
    "client": [],
    "client of TLS": ["--ssl-no-verify"],
    "client of a proxy": ["--proxy", "http://127.0.0.1:PORT"],
    "listener": ["-lk"],
    "listener of TLS": ["-l", "--ssl"],
    "forwarder": ["-lk", "--to", "127.0.0.1:PORT"],
    "proxy": ["-lk", "--proxy-server", "socks5"],
    "datagrams": ["-lu"],
}
VALUES = [option.spellings[-1] for option in every(TABLE) if option.metavar]


def check(argv: list[str], folder: Path) -> None:
    """Run pync; it must end by itself, with one line (or two after a usage error) and a status of its own."""
    result = run([*PYNC, *argv], DEVNULL, cwd=folder)
    lines = result.err.splitlines()
    lines = [line for line in lines if not line.startswith(("pync: no --ssl-cert", "pync: warning"))]
    assert result.status in (1, 2), (argv, result)
    assert lines[0].startswith("pync: "), (argv, result)
    assert lines[1:] == ["Try 'pync --help'."] * (result.status == 2), (argv, result)


@pytest.mark.parametrize("role", ROLES)
def test_a_value_that_is_not_utf_8_is_used_or_refused(role: str, tmp_path: Path) -> None:
    with free_port() as port, free_port(DATAGRAM) as datagram_port:
        number = str(datagram_port if role == "datagrams" else port)
        words = [word.replace("PORT", number) for word in ROLES[role]]
        for option in VALUES:
            check([*words, option, UNDECODABLE, "127.0.0.1", number], tmp_path)


@pytest.mark.parametrize("role", ROLES)
def test_an_operand_that_is_not_utf_8_is_refused(role: str, tmp_path: Path) -> None:
    with free_port() as port, free_port(DATAGRAM) as datagram_port:
        number = str(datagram_port if role == "datagrams" else port)
        words = [word.replace("PORT", number) for word in ROLES[role]]
        for odd in ODD:
            check([*words, odd, number], tmp_path)
            check([*words, "127.0.0.1", odd], tmp_path)
            check([*words, "127.0.0.1", number, odd], tmp_path)
