"""The command line of nc.openbsd: pync under that name and the real one say the same, word for word, and end alike.

Every row ends at once: what it asks for is refused, or cannot be had. `test_openbsd_config.py` has what is asked for.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from harness import Result, free_port, run
from under_names import both, pync_as, surroundings

if TYPE_CHECKING:
    from pathlib import Path

# Options and their values: what is read, and what is refused.
OPTIONS = [
    "-S h",
    "-M 0 127.0.0.1 1",
    "-M 256 h 1",
    "-m x h 1",
    "-I 0 h 1",
    "-q x h",
    "-q 99999999999 h",
    "-W 0 h",
    "-w -1 h",
    "-w 2147484 h",
    "-O x h",
    "--listen 1",
    "-listen",
    "-w",
    "-Q",
    "h -Q",
    "-h",
    "-h -Q",
    "-Q -h",
    "-l -h",
    "-W 1 -Xx -h",
    "-i 99999999999999999999999",
    "-i ''",
    "-i ' 5'  h",
    "-i 5x",
    "-i 4294967296",
    "-T 0xzz h",
    "-T 0x100 h",
    "-T 256 h",
    "-T ef h",
    "-T EF h",
    "-T '' h",
    "-T 0x h",
    "-X Connect h",
    "-X 6 h",
    "-V 1 h",
    "-X connect -x 127.0.0.1:1 'a b' 80",
]
# Which operands go with which options, and what cannot be done together.
FORMS = [
    "-U",
    "-uU",
    "-lU",
    "-lU p q",
    "-U p q",
    "-U -p 1 p",
    "-U -s a p",
    "-uU -s a",
    "-lU -s a p",
    "-l",
    "-l -s a",
    "-l -p 1 h",
    "-l h -p 1",
    "-l -s a 1",
    "-l -p 1 2",
    "-l -s a h 1",
    "-l h 1 2",
    "-p 1 h",
    "-s a h",
    "-s a -p 1 h 1",
    "-s a -p 1 h",
    "h",
    "-ZU p",
    "-ZU h 1",
    "-lz 1",
    "-z h",
    "-k h 1",
    "-kz h 1",
    "-lzk 1",
    "-FU p",
    "-FlU p",
    "-kFU p",
    "-ux p h 1",
    "-Zx p h 1",
    "-lx p 1",
    "-Ux p p",
    "-s a -x p h 1",
    "-x [a h 1",
    "-x [a]b h 1",
    "-x [a]:b h 1",
    "-x a: h 1",
    "-zx [a h x",
    "-l 10-20",
    "-l nosuch",
    "-l4 ::1 1",
    "-l badname.invalid 1",
    "-lu badname.invalid nosuch",
    "-lU -p 3",
    "-lU -p 3 -s x",
    "-lU -p 3 x",
    "-uU -s x -p 3 y",
    "-u -s x h 1",
    "-4 ::1 1",
    "-l -p 70000x",
    "-lZ 1",
    "-U ''",
    "-lU ''",
    "-U /nonexistent/x",
    "-vU /nonexistent/x",
    "-lU /nonexistent/x",
    "-zU /nonexistent/x",
    "-U /etc/passwd",
    "'' 5",
    "-l '' 5",
    "-l -p 5x -s nosuch.invalid",
    "-l 192.0.2.1 5",
    "-lu 192.0.2.1 5",
    "-lv 192.0.2.1 5",
    "-u 127.255.255.255 5",
]
# Ports, and hosts that are not reached.
PORTS = [
    "-ln localhost 1",
    "-l 127.0.0.1 nosuch",
    "-p nosuch 127.0.0.1 1",
    "-s nosuch.invalid 127.0.0.1 1",
    "-6 127.0.0.1 1",
    "-s 192.0.2.1 127.0.0.1 1",
    "-s ::1 127.0.0.1 1",
    "-zu 127.0.0.1 7",
    "-p -1 127.0.0.1 1",
    "-x h:nosuch 127.0.0.1 1",
    "-x nosuch.invalid 127.0.0.1 1",
    "-x 127.0.0.1:1 127.0.0.1 1",
    "-vx 127.0.0.1:1 127.0.0.1 1",
    "-vx localhost:1 127.0.0.1 1",
    "-z 127.0.0.1 5x-6",
    "-z 127.0.0.1 5x-x",
    "-z 127.0.0.1 0-x",
    "-z 127.0.0.1 0-5",
    "-z 127.0.0.1 5-0",
    "-z 127.0.0.1 70000-x",
    "-z 127.0.0.1 x-70000",
    "-z 127.0.0.1 ' 5-6'",
    "-z 127.0.0.1 +5-7x",
    "-z 127.0.0.1 -- -5-7x",
    "-z 127.0.0.1 1-2-3",
    "-z 127.0.0.1 afs3-fileserver",
    "127.0.0.1 abc",
    "127.0.0.1 0",
    "127.0.0.1 70000",
    "127.0.0.1 1-x",
    "127.0.0.1 x-1",
    "127.0.0.1 5-",
    "127.0.0.1 ''",
    "-v 127.0.0.1 ' 1'",
    "-v 127.0.0.1 +1",
    "-v 127.0.0.1 http-alt",
    "-zv 127.0.0.1 3-1 5",
    "-zv localhost 3-1 5",
    "-zv -n 127.0.0.1 1",
    "-v localhost 1",
    "-v -4 localhost 1",
    "localhost 1",
    "-zuv 127.0.0.1 domain",
    "-zuv 127.0.0.1 http-alt",
    "-z 127.0.0.1 99999999999999999999999",
    "-s '' 127.0.0.1 5",
    "-p '' -s '' 127.0.0.1 5",
    "-x '' 127.0.0.1 5",
    "-x :5 127.0.0.1 5",
]


LONG_PATHS = [f"-U /{'a' * 120}", f"-lU /{'a' * 120}"]


@pytest.mark.parametrize("row", [*OPTIONS, *FORMS, *PORTS, *LONG_PATHS])
def test_a_command_line_is_answered_as_nc_openbsd_answers_it(row: str, tmp_path: Path) -> None:
    real, ours = both("nc.openbsd", shlex.split(row), cwd=tmp_path)
    assert ours == real


def test_a_number_that_is_no_port_is_refused_and_not_cut_to_16_bits() -> None:
    expected = Result(1, b"", "nc.openbsd: port number too large: 70000\n")
    for words in ["-l", "70000"], ["-l", "-p", "70000"], ["-p", "70000", "127.0.0.1", "1"]:
        assert run([*pync_as("nc.openbsd"), *words], env=surroundings()) == expected


def test_a_socket_of_dccp_that_there_is_not_is_reported() -> None:
    with free_port() as port:
        expected = Result(1, b"", "nc.openbsd: Socket type not supported\n")
        assert run([*pync_as("nc.openbsd"), "-Z", "127.0.0.1", str(port)], env=surroundings()) == expected


def test_errors_begin_with_the_name_of_the_command_and_getopt_with_all_that_was_typed(tmp_path: Path) -> None:
    command = [*pync_as("nc"), "-i", "x"]
    assert run(command).err == "nc: interval invalid: x\n"
    assert run([*command[:-2], "-Q"]).err.startswith(f"{command[-3]}: invalid option -- 'Q'\nusage: nc ")
    assert run([*command[:-2], "-Q"], env=surroundings()).err.startswith("nc: invalid option -- 'Q'\nusage: nc ")
