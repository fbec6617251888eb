"""What is written about pync says what pync is: help, manual, README, change log and completions name one table.

The manual (in mdoc) has an item for each option, whose head (`.It Fl l , Fl -listen`) spells it. A README that lists
options does so under a heading with the word "options". Every `pync …` in a code block of the README or a literal
block (`.Bd -literal`) of the manual is a command line that pync understands.

They are for readers who did not write pync, so they name who does what. The README is shown on a package index, too,
where there are no other files beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from harness import run

from pync import __version__
from pync.cli import DIALECT
from pync.errors import UsageError
from pync.faces.native import face
from pync.faces.native.options import HINTS, TABLE
from pync.faces.option_table import every, read

ROOT = Path(__file__).parent.parent.parent
SPELLINGS = {spelling for option in every(TABLE) for spelling in option.spellings}
BEFORE_ALL_OPTIONS = {DIALECT.rstrip("=")}  # what no face sees
BEFORE_A_COMMAND = ("$", "do", "then", "else", "!", "time", "sudo", "exec")
REDIRECT = ("<", ">", ">>")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")


def document(name: str) -> str:
    path = ROOT / name
    assert path.is_file(), f"{name} is missing"
    return path.read_text()


def manual() -> str:
    """The manual without the escapes of troff for hyphens and fonts."""
    page = document("man/pync.1").replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\(dq", '"').replace(r"\e", "\\")
    return re.sub(r"\\f(\[\w*\]|\(..|.)", "", page).replace(r"\&", "")


def tags(page: str) -> str:
    """The heads of the manual's items that are options: what stands after `.It Fl`, as it is typed."""
    heads = re.findall(r"^\.It (Fl .*)$", page, re.MULTILINE)
    return "\n".join(re.sub(r"\bFl (\S+)", r"-\1", head) for head in heads)


def shell_words(code: str) -> list[str]:
    """The words of a piece of shell code; what divides commands, or redirects, is a word of its own."""
    code = re.sub(r"\\\n|(?:^|(?<=\s))(?:#.*$|\d+(?=[<>]))", " ", code, flags=re.MULTILINE)
    lexer = shlex.shlex(code, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    return list(lexer)


def without_redirections(words: list[str]) -> list[str]:
    """The words but for `<`, `>`, `>>` and the file that follows each."""
    before = ["", *words]
    return [word for last, word in zip(before, words, strict=False) if word not in REDIRECT and last not in REDIRECT]


def command_lines(blocks: list[str]) -> list[list[str]]:
    """The arguments of each pync in blocks of shell code, whatever else they hold."""
    lines = []
    for block in blocks:
        words: list[str] = []
        for part in re.split(r"(?<!\\)\n", block):  # what a program says, between the commands, may be no shell code
            with contextlib.suppress(ValueError):
                words += [*shell_words(part), "\n"]
        for at, word in enumerate(words):
            if word == "pync" and (at == 0 or words[at - 1] in BEFORE_A_COMMAND or not words[at - 1].strip("();|&\n")):
                rest = itertools.takewhile(lambda word: word.strip("();|&\n") or not word, words[at + 1 :])
                lines.append(without_redirections(list(rest)))
    return [argv for argv in lines if "[OPTION]..." not in argv]


def test_the_manual_describes_every_option_and_no_other() -> None:
    described = set(OPTION.findall(tags(manual())))
    assert SPELLINGS - described == set(), "not in the manual"
    assert described - SPELLINGS == set(), "only in the manual"


def test_the_readme_lists_every_option_if_it_lists_any_and_no_other() -> None:
    parts = re.split(r"^#+ +(.*)$", document("README.md"), flags=re.MULTILINE)
    lists = [text for title, text in zip(parts[1::2], parts[2::2], strict=True) if "options" in title.lower()]
    described = set(OPTION.findall("\n".join(lists)))
    assert described in (set(), SPELLINGS)


@pytest.mark.parametrize("name", ["README.md", "man/pync.1"])
def test_every_example_is_a_command_line_that_pync_understands(name: str) -> None:
    if name == "README.md":
        examples = command_lines(re.findall(r"^ *```.*?\n(.*?)^ *```", document(name), re.MULTILINE | re.DOTALL))
    else:
        examples = command_lines(re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", manual(), re.MULTILINE | re.DOTALL))
    assert examples, f"{name} has no example"
    for argv in examples:
        try:
            values, operands = read(TABLE, argv, HINTS)
            assert values.keys() & {"help", "version"} or face.asked_for(argv, values, operands)
        except UsageError as error:
            pytest.fail(f"{name}: pync {shlex.join(argv)}: {error}")


def test_examples_are_found_in_shell_code() -> None:
    block = """# it's pync 1
    $ echo 'a b' | pync -v \\
        host 80 2>/dev/null | wc   # pync 2
    pync: it's no command
    while true; do pync -l 8080 <page; done; (pync -e 'cat x' "" 1)
    man pync
    pync < in host 7 > out
    """
    assert command_lines([block, "pync -z h 1"]) == [
        ["-v", "host", "80"],
        ["-l", "8080"],
        ["-e", "cat x", "", "1"],
        ["host", "7"],
        ["-z", "h", "1"],
    ]


@pytest.mark.parametrize("name", ["README.md", "man/pync.1", "CHANGELOG.md"])
def test_every_long_option_that_is_mentioned_exists(name: str) -> None:
    text = re.sub(r"(?:\bFl| ,) -(?=[a-z])", " --", manual()) if name.startswith("man/") else document(name)
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
    assert mentioned, f"{name} mentions no option"
    assert mentioned - SPELLINGS - BEFORE_ALL_OPTIONS == set()


@pytest.mark.parametrize("name", ["README.md", "man/pync.1", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_no_half_of_a_merge_is_left_in_a_document(name: str) -> None:
    assert re.findall(r"^(?:<{7}|={7}|>{7}|\|{7})(?: .*)?$", document(name), re.MULTILINE) == []


@pytest.mark.parametrize("name", ["README.md", "man/pync.1", "CHANGELOG.md"])
def test_every_sentence_names_its_subject(name: str) -> None:
    text = document(name).replace("--user nobody", "")
    vague = r"\b(?:whoever|whom|somebody|nobody|anybody|everybody|told|heard|gone|lost)\b"
    assert re.findall(vague, text, re.IGNORECASE) == []


def test_the_readme_needs_no_file_that_a_package_index_does_not_show() -> None:
    for image, text, target in re.findall(r"(!?)\[([^]]*)\]\(([^)]*)\)", document("README.md")):
        assert not image, f"{target} is an image"
        assert target.startswith("https://") or text == target, f"a link to {target} that is not worded as a file name"


def test_the_change_log_has_this_version() -> None:
    assert re.search(rf"^## \[?{re.escape(__version__)}\b", document("CHANGELOG.md"), re.MULTILINE)


def test_the_help_shows_every_option_and_no_other() -> None:
    shown = run(
        [sys.executable, "-m", "pync", "--help", "all"], env={**os.environ, "PYTHONPATH": str(ROOT)}
    ).out.decode()
    described = set(OPTION.findall("\n".join(re.findall(r"^  +(-.*?)(?:  |$)", shown, re.MULTILINE))))
    assert described == SPELLINGS


@pytest.mark.parametrize("start", ["-", "--"])
def test_completion_offers_every_option_and_no_other(start: str) -> None:
    asked = {"_PYNC_COMPLETE": "bash_complete", "COMP_WORDS": f"pync {start}", "COMP_CWORD": "1"}
    result = run([sys.executable, "-m", "pync"], env={**os.environ, "PYTHONPATH": str(ROOT), **asked})
    offered = [line.removeprefix("plain,") for line in result.out.decode().split()]
    assert sorted(offered) == sorted(spelling for spelling in SPELLINGS if spelling.startswith(start))
