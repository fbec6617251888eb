"""An option table: its two readers and that they agree, its rules, and the help that is made of it."""

from __future__ import annotations

import os
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import click
import pytest
from harness import UNMEASURED, Result, run
from hypothesis import given, settings
from hypothesis import strategies as st

from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.completion import click_command
from pync.faces.help_text import help_text
from pync.faces.native.config import config
from pync.faces.native.options import ABOUT, FORMS, TABLE
from pync.faces.option_table import (
    Section,
    check,
    conflict,
    count,
    every,
    flag,
    needs,
    read,
    repeated,
    value,
    values_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.config import Config
    from pync.faces.option_table import Rule, Table, Values

    Reader = Callable[..., "CommandLine"]

ROOT = Path(__file__).parent.parent.parent


def items(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


SMALL = (
    Section(
        "Some",
        flag("4", "four", "family", "", "four"),
        flag("6", "", "family", "", "six"),
        flag("", "fourteen", "family", "", "fourteen"),
        count("v", "verbose", "verbosity", ""),
    ),
    Section(
        "More",
        value("w", "wait", "TIME", "wait", option_values.seconds, ""),
        repeated("", "allow", "HOST,...", "allow", items, ""),
        repeated("", "allowfile", "FILE", "files", items, ""),
        flag("h", "help", "help", "", alone=True),
    ),
)


class CommandLine(NamedTuple):
    """What a reader makes of a command line."""

    values: Values
    operands: list[str]


def by_getopt(argv: Sequence[str], table: Table = SMALL) -> CommandLine:
    return CommandLine(*read(table, list(argv), {"-x": "try --hex"}))


def by_click(argv: Sequence[str], table: Table = SMALL) -> CommandLine:
    context = click_command(table).make_context("pync", list(argv))
    given = dict(context.params)
    operands = list(given.pop("operands") or ())
    return CommandLine(values_of(table, given), operands)


both_readers = pytest.mark.parametrize("reader", [by_getopt, by_click])


@both_readers
@pytest.mark.parametrize(
    ("argv", "values", "operands"),
    [
        ([], {}, []),
        (["a", "b"], {}, ["a", "b"]),
        (["-4"], {"family": "four"}, []),
        (["-4", "-6"], {"family": "six"}, []),
        (["-6", "-4"], {"family": "four"}, []),
        (["-64"], {"family": "four"}, []),
        (["-4", "-6", "-4"], {"family": "four"}, []),
        (["-v"], {"verbosity": 1}, []),
        (["-vv", "--verbose"], {"verbosity": 3}, []),
        (["-w", "5"], {"wait": 5}, []),
        (["-w5"], {"wait": 5}, []),
        (["-vw5"], {"wait": 5, "verbosity": 1}, []),
        (["--wait", "5"], {"wait": 5}, []),
        (["--wait=5"], {"wait": 5}, []),
        (["-w5", "--wait=6"], {"wait": 6}, []),
        (["--w", "5"], {"wait": 5}, []),
        (["--wai=5"], {"wait": 5}, []),
        (["--verb"], {"verbosity": 1}, []),
        (["--four"], {"family": "four"}, []),  # a whole name is no prefix of a longer one
        (["--fourt"], {"family": "fourteen"}, []),
        (["--allow", "a,b", "--allow=c"], {"allow": ("a", "b", "c")}, []),
        (["--allowf", "a"], {"files": ("a",)}, []),
        (["a", "-v", "b"], {"verbosity": 1}, ["a", "b"]),
        (["-v", "--", "-v", "--", "b"], {"verbosity": 1}, ["-v", "--", "b"]),
        (["a", "-", "b"], {}, ["a", "-", "b"]),
        (["--allow", "--"], {"allow": ("--",)}, []),
        (["--allow", "-v"], {"allow": ("-v",)}, []),
        (["--allow="], {"allow": ("",)}, []),
        (["", "-v"], {"verbosity": 1}, [""]),
    ],
)
def test_a_command_line_becomes_values_and_operands(
    reader: Reader, argv: list[str], values: Values, operands: list[str]
) -> None:
    assert reader(argv) == CommandLine(values, operands)


@both_readers
def test_posixly_correct_ends_the_options_at_the_first_operand(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert reader(["-4", "a", "-v", "--", "b"]) == CommandLine({"family": "four"}, operands=["a", "-v", "--", "b"])


@both_readers
@pytest.mark.parametrize("argv", [["-h"], ["-w", "soon", "--help"], ["--hel", "-w", "soon", "a", "b"]])
def test_an_option_that_stands_alone_overrules_values_right_and_wrong(reader: Reader, argv: list[str]) -> None:
    assert reader(argv).values == {"help": True}


@pytest.mark.parametrize(
    ("argv", "what", "why"),
    [
        (["-Q"], "-Q", "no such option"),
        (["-:"], "-:", "no such option"),
        (["-vQ"], "-Q", "no such option"),
        (["-x", "file"], "-x", "no such option; try --hex"),
        (["--verbsoe"], "--verbsoe", "no such option; did you mean --verbose?"),
        (["--completely-different"], "--completely-different", "no such option"),
        (["--=5"], "--", "no such option"),
        (["--fo"], "--fo", "could be any of --four, --fourteen"),
        (["--a=b"], "--a", "could be any of --allow, --allowfile"),
        (["-w"], "-w", "a value is missing"),
        (["--wai"], "--wait", "a value is missing"),
        (["--verbose=2"], "--verbose", "takes no value"),
        (["-w", "soon"], "-w, --wait TIME", "invalid: soon"),
        (["-w", "soon", "-w", "5"], "-w, --wait TIME", "invalid: soon"),
    ],
)
def test_a_bad_command_line_is_a_usage_error_in_both_readers(argv: list[str], what: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        by_getopt(argv)
    assert caught.value.what == what
    assert caught.value.why == why
    with pytest.raises((click.UsageError, UsageError)):
        by_click(argv)


# -- The law that holds the two readers together -------------------------------------------------------------------

LONGS = [option.long for option in every(TABLE) if option.long]
LETTERS = [option.letter for option in every(TABLE) if option.letter]
FLAGS = [option.letter for option in every(TABLE) if option.letter and not option.metavar]

texts = st.sampled_from(
    ["5", "1.5s", "0", "-1", "80", "1-3", "http", "::1", "host", "", "-", "--", "=", "a,b", "ef", "x y"]
)
longs = st.builds(lambda name, size: "--" + name[:size], st.sampled_from(LONGS), st.integers(1, 20))
options = st.one_of(
    st.sampled_from(LETTERS).map("-{}".format),
    st.sampled_from([f"--{long}" for long in LONGS]),
    st.lists(st.sampled_from(FLAGS), min_size=1, max_size=3).map(lambda letters: "-" + "".join(letters)),
    st.builds("-{}{}".format, st.sampled_from(LETTERS), texts),
    st.builds("-{}{}{}".format, st.sampled_from(FLAGS), st.sampled_from(LETTERS), texts),
    longs,
    st.builds("{}={}".format, longs, texts),
)
words = st.one_of(options, texts, st.text(alphabet="-=:lvwp8é", max_size=4))
good_options = st.one_of(
    st.sampled_from([["-v"], ["-n"], ["-4"], ["-6"], ["-u"], ["--verb"], ["--crlf"], ["--randomize"], ["-vN"]]),
    st.builds(lambda option, time: [option + time], st.sampled_from(["-w", "-i", "--conn=", "--retry="]), texts),
    st.builds(lambda option, time: [option, time], st.sampled_from(["-w", "--delay", "--idle", "-q"]), texts),
    st.sampled_from([["localhost"], ["80"], ["http"], ["8-9"], ["--"]]),
)
command_lines = st.lists(words, max_size=6) | st.lists(good_options, max_size=6).map(lambda parts: [*chain(*parts)])


class Meaning(NamedTuple):
    """What a command line means to a reader: the Config is None if its options make no sense together."""

    line: CommandLine
    config: Config | None


def meaning(reader: Reader, argv: list[str]) -> Meaning | None:
    """None if the reader refuses the command line."""
    try:
        line = reader(argv, TABLE)
    except (UsageError, click.UsageError):
        return None
    try:
        return Meaning(line, config(*line))
    except UsageError:
        return Meaning(line, None)


@settings(max_examples=300)
@given(argv=command_lines, posixly_correct=st.booleans())
def test_both_readers_make_the_same_of_any_command_line(argv: list[str], posixly_correct: bool) -> None:
    with mock.patch.dict(os.environ, {"POSIXLY_CORRECT": "1" if posixly_correct else ""}):
        assert meaning(by_getopt, argv) == meaning(by_click, argv)


# -- Rules ---------------------------------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    conflict(("verbosity", "wait"), ("family", "files"), "never"),
    conflict("allow", "wait", "not today", unless=("family",)),
    needs(("allow", "wait"), ("verbosity", "family"), "it is lonely"),
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-4v", "-v with -4: never"),
        ("--allowfile=a -w1", "-w with --allowfile: never"),
        ("--allowfile=a -4vw1", "-v with -4: never"),  # of one rule the first two dests, in the order of the rule
        ("-w1 --allow=a", "--allow with -w: not today"),
        ("-w1", "-w without -v: it is lonely"),
    ],
)
def test_values_that_break_a_rule_are_a_usage_error(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(SMALL, by_getopt(line.split()).values, RULES)
    assert str(caught.value) == message


@pytest.mark.parametrize("line", ["", "-v", "-4", "-vw1", "--allow=a -6", "--allow=a -v", "--allowfile=a"])
def test_values_that_break_no_rule_pass(line: str) -> None:
    check(SMALL, by_getopt(line.split()).values, RULES)


def test_an_exception_takes_a_conflict_away() -> None:
    check(SMALL, {"allow": ("a",), "wait": 1, "family": "four"}, RULES[1:2])


# -- The table of pync's own command line --------------------------------------------------------------------------


def test_every_spelling_belongs_to_one_option() -> None:
    spellings = [spelling for option in every(TABLE) for spelling in option.spellings]
    assert len(spellings) == len(set(spellings))


def test_options_that_share_a_dest_are_of_one_kind() -> None:
    kinds: dict[str, set[object]] = {}
    for option in every(TABLE):
        kinds.setdefault(option.dest, set()).add((option.kind, option.metavar, option.type))
    assert all(len(kind) == 1 for kind in kinds.values())


# -- The help ------------------------------------------------------------------------------------------------------


def test_the_help_names_every_option_once_in_its_section() -> None:
    shown = help_text(TABLE, FORMS, ABOUT)
    for group in TABLE:
        block = shown.split(f"\n{group.title}:\n")[1].split("\n\n")[0]
        lines = [line.strip() for line in block.splitlines()]
        for option in group.options:
            assert sum(line.startswith(option.synopsis + " ") for line in lines) == 1, option.synopsis


def test_the_help_begins_with_the_forms() -> None:
    assert help_text(TABLE, FORMS, ABOUT).startswith(
        "Usage: pync [OPTION]... HOST PORT...\n"
        "       pync -l [OPTION]... [HOST] PORT\n"
        "       pync [-l] -U [OPTION]... PATH\n"
        "       pync -z [OPTION]... HOST:PORT... [-- COMMAND]\n\n"
    )


@pytest.mark.parametrize("columns", ["60", "80", "300"])
def test_the_help_is_at_most_80_columns_wide(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, help_text(TABLE, FORMS, ABOUT).splitlines())) <= min(80, int(columns))


def test_a_summary_takes_one_line_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = help_text(TABLE, FORMS, ABOUT)
    assert [option.synopsis for option in every(TABLE) if option.help not in shown] == []


def test_reading_a_command_line_imports_nothing_costly() -> None:
    script = """if True:
        import sys
        from pync.faces.native.face import HINTS, TABLE, config, read
        assert config(*read(TABLE, ["-lkvw5", "--allow=::1", "8080"], HINTS)).keep_open
        costly = {"click", "re", "gettext", "typing", "dataclasses", "inspect", "subprocess"}
        print(*costly & sys.modules.keys())
    """
    result = run([sys.executable, "-c", script], env={**UNMEASURED, "PYTHONPATH": str(ROOT)})
    assert result == Result(status=0, out=b"\n", err="")
