"""The descriptors of the process: 0 to 2 are never anything else, and a program gets no other."""

from __future__ import annotations

import sys
from itertools import product
from typing import TYPE_CHECKING

import pytest
from doubles import pipe
from harness import UNMEASURED, run

if TYPE_CHECKING:
    from pathlib import Path

# Notes for each of 0 to 2 whether it is /dev/null and whether children inherit it, and which number the next one gets.
RESERVE = """
import os, sys
from pync.descriptors import reserve
from pync.endpoints.stdio import is_null
reserve()
reserve()  # doing it again changes nothing
noted = [f"{is_null(fd):d}{os.get_inheritable(fd):d}" for fd in range(3)]
with open(sys.argv[1], "w") as file:
    file.write(f"{' '.join(noted)} {file.fileno()}")
"""


@pytest.mark.parametrize("closed", [fds for fds in product((False, True), repeat=3) if any(fds)])
def test_closed_descriptors_are_reserved_and_the_others_left(closed: tuple[bool, ...], tmp_path: Path) -> None:
    redirections = " ".join(f"{fd}>&-" for fd in range(3) if closed[fd])
    noted = tmp_path / "noted"
    argv = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", RESERVE, str(noted)]
    result = run(argv, env=UNMEASURED)  # coverage would take a free descriptor for itself
    assert result.status == 0, result.err
    *slots, landed = noted.read_text().split()
    assert slots == ["11" if was_closed else "01" for was_closed in closed]
    assert int(landed) > 2


# Seals the descriptors that it inherited, starts a program, and prints which descriptors that has.
SEALED = """
import os
from pync.config import Program
from pync.endpoints.child import seal
from pync.endpoints import child
from pync.loop.kernel import Loop

async def main(loop):
    seal()
    process = child.start(loop, Program(argv=("cat",)), os.environ)
    await process.input.write(b"ready")
    await process.output.read()
    print(*sorted(os.listdir(f"/proc/{process.pid}/fd")))
    await process.terminate()

loop = Loop()
loop.run(main(loop))
"""


def test_a_program_has_none_of_the_descriptors_that_we_inherited() -> None:
    with pipe() as (reading, writing):
        result = run([sys.executable, "-c", SEALED], pass_fds=(reading, writing))
    assert (result.out, result.err) == (b"0 1 2\n", "")
