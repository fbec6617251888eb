"""The reader of command lines does what the C library's own getopt does: the two are given the same command lines."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.faces import glibc_getopt
from pync.faces.glibc_getopt import Fault, Getopt

if TYPE_CHECKING:
    from pathlib import Path

LETTERS = "46bC:dw:v"
WORDS = st.one_of(
    st.sampled_from(["--", "-", "", "-w", "-wv", "-vw", "-vvC", "--listen", "-4-", "-:", "-;v", "-Q", "host", "80"]),
    st.text("46bCdwvQ-:; x", max_size=4),
)


class Read(NamedTuple):
    options: list[tuple[str, str]]
    operands: list[str]
    fault: str


def by_pync(argv: list[str]) -> Read:
    command_line = Getopt(argv, LETTERS)
    options = []
    try:
        for option in command_line:
            options.append(option)
    except Fault as fault:
        return Read(options, [], str(fault))
    return Read(options, command_line.operands, "")


def by_libc(argv: list[str]) -> Read:
    """What getopt(3) makes of the same, up to its first fault."""
    libc = ctypes.CDLL(None)
    words = [os.fsencode(word) for word in ("tool", *argv)]
    vector = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    optind = ctypes.c_int.in_dll(libc, "optind")
    optarg = ctypes.c_char_p.in_dll(libc, "optarg")
    optind.value = 0  # so that glibc begins anew
    options: list[tuple[str, str]] = []
    with tempfile.TemporaryFile() as err:
        kept = os.dup(2)
        sys.stderr.flush()
        os.dup2(err.fileno(), 2)
        try:
            while (code := libc.getopt(len(words), vector, LETTERS.encode())) not in (-1, ord("?")):
                takes_value = LETTERS[LETTERS.index(chr(code)) + 1 :].startswith(":")
                options.append((chr(code), os.fsdecode(optarg.value or b"") if takes_value else ""))
            libc.fflush(None)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        err.seek(0)
        told = os.fsdecode(err.read())
    if code == ord("?"):
        return Read(options, [], told.removeprefix("tool: ").removesuffix("\n"))
    return Read(options, [os.fsdecode(word) for word in vector[optind.value : len(words)] if word is not None], "")


needs_glibc = pytest.mark.skipif(sys.platform != "linux", reason="the C library is not glibc")


@needs_glibc
@given(st.lists(WORDS, max_size=6))
def test_options_operands_and_faults_are_those_of_the_c_library(argv: list[str]) -> None:
    assert by_pync(argv) == by_libc(argv)


@needs_glibc
@given(st.lists(WORDS, max_size=6))
def test_with_posixly_correct_the_first_operand_ends_the_options_as_in_the_c_library(argv: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSIXLY_CORRECT", "1")  # which also sets the C library's variable
        assert by_pync(argv) == by_libc(argv)


def test_options_are_given_one_by_one() -> None:
    options = iter(Getopt(["-v", "-Q"], LETTERS))
    assert next(options) == ("v", "")
    with pytest.raises(Fault):
        next(options)


@pytest.mark.parametrize("name", ["nc", "./nc", "bin/nc"])
def test_a_name_without_a_directory_of_the_path_is_as_it_was_typed(name: str) -> None:
    assert glibc_getopt.as_typed(name) == name


def test_a_command_that_the_path_leads_to_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in first, second:
        folder.mkdir()
        (folder / "nc").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{first}:{second}")
    assert glibc_getopt.as_typed(f"{first}/nc") == "nc"
    assert glibc_getopt.as_typed(f"{second}/nc") == f"{second}/nc"
