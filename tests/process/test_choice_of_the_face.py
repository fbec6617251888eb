"""Which command line pync has: that of the netcat by whose name it is started, or that which is asked for."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import PYNC, Result, run
from under_names import link, pync_as, surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
OPENBSD, TRADITIONAL = "OpenBSD netcat (Debian patchlevel 1.219-1)", "[v1.10-47]"
OWN = "Usage: pync"


def face_of(command: list[str], *arguments: str, **variables: str) -> str:
    """The first line of the help that a pync shows, whether on stdout or on stderr."""
    result = run([*command, *arguments, "-h"], env={**os.environ, **variables})
    assert result.status == 0, result
    return (result.out.decode() or result.err).splitlines()[0]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        *((name, OPENBSD) for name in ("nc", "netcat", "nc.openbsd")),
        *((name, TRADITIONAL) for name in ("nc.traditional", "nc110")),
    ],
)
def test_the_name_of_the_command_chooses_the_face(name: str, first: str, tmp_path: Path) -> None:
    assert face_of(link(name, tmp_path)) == first


@pytest.mark.parametrize("name", ["pync", "ncat2", "nc.other", "NC", "xnc"])
def test_any_other_name_has_the_face_of_pync(name: str, tmp_path: Path) -> None:
    assert face_of(link(name, tmp_path)).startswith(OWN)


@pytest.mark.parametrize("kind", [os.link, shutil.copy])
def test_a_hard_link_or_a_copy_is_enough(kind: Callable[[str, Path], object], tmp_path: Path) -> None:
    try:
        kind(os.path.realpath(PYNC[-1]), tmp_path / "nc")
    except OSError as error:
        pytest.skip(f"no hard link from there: {error}")
    assert face_of([*PYNC[:-1], str(tmp_path / "nc")]) == OPENBSD


def test_as_a_module_pync_has_its_own_face() -> None:
    if len(PYNC) > 1:
        pytest.skip("the archive is no module")
    assert face_of([sys.executable, "-m", "pync"]).startswith(OWN)
    assert run([sys.executable, "-m", "pync", "--dialect=openbsd", "-i", "x"]).err == "pync: interval invalid: x\n"


@pytest.mark.parametrize("name", ["pync", "nc", "nc.traditional"])
def test_the_environment_beats_the_name_and_the_first_argument_beats_both(name: str, tmp_path: Path) -> None:
    command = link(name, tmp_path)
    assert face_of(command, PYNC_DIALECT="openbsd") == OPENBSD
    assert face_of(command, PYNC_DIALECT="traditional") == TRADITIONAL
    assert face_of(command, PYNC_DIALECT="pync").startswith(OWN)
    assert face_of(command, "--dialect=openbsd", PYNC_DIALECT="traditional") == OPENBSD
    assert face_of(command, "--dialect=traditional", PYNC_DIALECT="nonsense") == TRADITIONAL
    assert face_of(command, "--dialect=pync", PYNC_DIALECT="openbsd").startswith(OWN)
    assert face_of(command, PYNC_DIALECT="") == face_of(command)


def test_an_unknown_dialect_is_one_line_and_status_2() -> None:
    expected = Result(2, b"", "pync: there is no dialect cat: it is one of pync, openbsd, traditional\n")
    assert run([*PYNC, "--dialect=cat", "-h"]) == expected
    assert run([*PYNC, "-h"], env={**os.environ, "PYNC_DIALECT": "cat"}) == expected


def test_anywhere_else_a_dialect_is_an_option_like_any_other() -> None:
    assert run([*PYNC, "-v", "--dialect=openbsd"]).err.startswith("pync: --dialect: no such option; it has to be")
    result = run([*pync_as("nc"), "-v", "--dialect=openbsd"], env=surroundings())
    assert result.err.startswith("nc: invalid option -- '-'\n")
    twice = run([*pync_as("nc"), "--dialect=openbsd", "--dialect=openbsd"], env=surroundings())
    assert twice.err.startswith("nc: invalid option -- '-'\n")


# -- scripts/install-links

INSTALL = [str(ROOT / "scripts" / "install-links")]


def test_links_are_made_for_all_names_and_for_those_that_are_asked_for(tmp_path: Path) -> None:
    environment = surroundings(PATH=f"{Path(PYNC[-1]).parent}:{os.environ['PATH']}")
    every, one = tmp_path / "every", tmp_path / "one"
    for folder in every, one:
        folder.mkdir()
    assert run([*INSTALL, str(every)], env=environment).status == 0
    assert {path.name for path in every.iterdir()} == {"nc", "netcat", "nc.openbsd", "nc.traditional", "nc110"}
    assert run([*INSTALL, str(one), "nc110"], env=environment).status == 0
    assert {path.name for path in one.iterdir()} == {"nc110"}
    if len(PYNC) == 1:
        assert face_of([str(one / "nc110")]) == TRADITIONAL


def test_what_is_there_already_is_named_and_left(tmp_path: Path) -> None:
    (tmp_path / "nc").write_text("precious")
    (tmp_path / "netcat").symlink_to("nowhere")
    result = run([*INSTALL, str(tmp_path), "nc", "netcat", "nc110"])
    assert result.status == 1
    expected = [f"install-links: {tmp_path / name} is there already, and stays as it is" for name in ("nc", "netcat")]
    assert result.err.splitlines() == expected
    assert (tmp_path / "nc").read_text() == "precious"
    assert (tmp_path / "netcat").readlink() == Path("nowhere")
    assert (tmp_path / "nc110").is_symlink()


def test_links_need_a_directory(tmp_path: Path) -> None:
    assert run(INSTALL).status == 2
    assert run([*INSTALL, str(tmp_path / "missing")]).status == 2
