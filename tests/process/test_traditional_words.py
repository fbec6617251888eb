"""The command line of nc.traditional: pync under that name and the real one say the same, word for word, and end alike.

Every row ends at once: what it asks for is refused, or cannot be had.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from harness import Result, run
from under_names import both, pync_as, surroundings

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    "-l -w 1",
    "-v -l -w 1 -p 21037",
    "-v -l -w 1 -p 21037 -s 127.0.0.1",
    "-v -l -w 1 -p 21037 -s 127.0.0.5",
    "-vn -l -w 1 -p 21037 -s 127.0.0.1",
    "-v -l -u -w 1 -p 21037",
    "-ln 1.2.3.4 5x -w 1",
    "127.0.0.1",
    "-v 127.0.0.1",
    "-l -p 0",
    "-l -p x",
    "-p x h",
    "127.0.0.1 0",
    "127.0.0.1 x",
    "127.0.0.1 1-x",
    "127.0.0.1 x-1",
    "127.0.0.1 1 x",
    "-v 127.0.0.1 5-3",
    "-v 127.0.0.1 1",
    "-n -v 127.0.0.1 1",
    "nosuch.invalid 1",
    "-n nosuch 1",
    "-lu",
    "-o /nodir/x 127.0.0.1 1",
    "-o /nodir/x nosuch.invalid 1",
    "-G 3 h",
    "-G x h",
    "-G 32 h",
    "-G -4 h",
    "-w x h",
    "-w 0 h",
    "-i 0 h",
    "-i x h",
    "-i 65536 h",
    "-w -1 127.0.0.1 1",
    "-w 1.5 127.0.0.1 1",
    "-a",
    "-Q",
    "-w",
    "-h",
    "-h -Q",
    "-v 127.0.0.1 65536",
    "-vz 127.0.0.1 1-2",
    "-vvz 127.0.0.1 1 2",
    "-vvz 127.0.0.1 1-3",
    "-vvz localhost 1",
    "-vvz 127.0.0.5 1",
    "-vvzn 127.0.0.5 1",
    "-z 127.0.0.5 1",
    "-vz 127.0.0.5 1",
    "-uvz 127.0.0.1 1",
    "-uvvz 127.0.0.1 1-2",
    "-v -s nosuch.invalid h 1",
    "-n -s localhost h 1",
    "-s localhost -vn 127.0.0.1 1",
    "-g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 -g 1.2.3.4 h",
    "-g nosuch.invalid h",
    "-n" + " -g 127.0.0.9" * 9 + " 127.0.0.1 1",  # more than the kernel takes
    "-s 192.0.2.77 127.0.0.1 1",
    "-v -e /nosuch 127.0.0.1 1",
    "-p http-alt 127.0.0.1 1",
    "127.0.0.1 http-alt",
    "127.0.0.1 domain",
    "-n 127.0.0.1 domain",
    "-v 127.0.0.1 domain",
    "-nv 127.0.0.1 53",
    "-vv 127.0.0.1 22",
    "127.0.0.1 22",
    "127.0.0.1 22 23",
    "-v 127.0.0.1 22 23",
    "-vv 127.0.0.1 22 23",
    "-l 127.0.0.1 x",
    "-l 127.0.0.1 0",
    "-v -l -w 1 -s 192.0.2.77 -p 5",
    "-v -u 192.0.2.255 4001",
    "-T x -v 127.0.0.1 1",
    "-T Minimize-Delay -v 127.0.0.1 1",
    "-v 0x7f.1 1",
    "1.2.3.4.5 1",
    "-uz 127.0.0.1 1",
    "-k -v 127.0.0.1 1",
    "-listen",
    "-v --  127.0.0.1 1",
    "-- -v 1",
    "127.0.0.1 1 -v",
    "-l x.invalid",
]


@pytest.mark.parametrize("row", ROWS)
def test_a_command_line_is_answered_as_nc_traditional_answers_it(row: str, tmp_path: Path) -> None:
    real, ours = both("nc.traditional", shlex.split(row), cwd=tmp_path)
    assert ours == real


# -- The line that is asked for

QUESTIONS = [
    b"",
    b" -v 127.0.0.1 1\n",
    b"-v 127.0.0.1  1\r\nrest",
    b"-Q\n",
    b"127.0.0.1",
    b"-vv -z 127.0.0.1 1 2",
]


@pytest.mark.parametrize("line", QUESTIONS)
def test_without_arguments_a_line_of_stdin_is_asked_for(line: bytes) -> None:
    real, ours = both("nc.traditional", [], line)
    assert ours == real
    assert ours.err.startswith("Cmd line: ")


# -- What is mended


@pytest.mark.parametrize("port", ["65537", "70000", "-5"])
def test_a_number_that_is_no_port_is_refused_and_not_cut_to_16_bits(port: str) -> None:
    expected = Result(1, b"", f"invalid local port {port}\n")
    assert run([*pync_as("nc.traditional"), "-l", "-p", port], env=surroundings()) == expected


@pytest.mark.parametrize("port", ["65537", "1-70000"])
def test_a_number_that_is_no_port_to_connect_to_is_refused(port: str) -> None:
    expected = Result(1, b"", f"invalid port {port.removeprefix('1-')}\n")
    assert run([*pync_as("nc.traditional"), "127.0.0.1", port], env=surroundings()) == expected


def test_a_service_with_a_hyphen_can_be_named() -> None:
    result = run([*pync_as("nc.traditional"), "-zvv", "127.0.0.1", "http\\-alt"], env=surroundings())
    assert "[127.0.0.1] 8080 (http-alt) " in result.err
