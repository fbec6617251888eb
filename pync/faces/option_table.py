"""Options as data, and the reader that a run uses: argv becomes values and operands.

Theory: one table, two readers. A run reads its table with the standard library's getopt, which is what the
netcats themselves use: options after operands, bundles, glued values, unique prefixes of long names, `--`. For a
person the same table becomes a click command (`faces/help.py`), which would cost a run three bare Python starts.
Both readers only sort the words; `settle` alone turns them into values, so that they cannot differ there.

Nothing here knows what an option means, prints, or looks at anything but argv (and POSIXLY_CORRECT, in getopt).
"""

from __future__ import annotations

import sys

from pync.config import Frozen
from pync.errors import UsageError

# getopt does without gettext if there is none. gettext imports re: together a tenth of the time pync takes to start.
sys.modules.setdefault("gettext", None)  # type: ignore[arg-type]
import getopt  # noqa: E402

if not sys.modules["gettext"]:
    del sys.modules["gettext"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Literal

    Kind = Literal["flag", "count", "value", "repeated"]
    Type = Callable[[str], Any]
    Given = dict[str, list[Any]]  # for each dest what was given, in order: a flag's value, or the text of a value
    Rule = tuple[str, tuple[str, ...], str]
    Values = dict[str, Any]  # for each dest that was given its value


class Option(Frozen):
    """One option: how it is spelled, what it takes, and the name (`dest`) under which its value is found.

    Flags and values that share a dest overrule each other: the last one wins. A count counts. The type of a
    repeated value gives a tuple, and those are joined.
    """

    letter: str  # "" if there is none
    long: str  # "" if there is none
    kind: Kind
    dest: str
    help: str
    value: Any = True  # what a flag stands for
    type: Type = str
    metavar: str = ""  # of a value; "" for flags and counts
    alone: bool = False  # a flag that overrules everything else on the command line, errors in values included

    @property
    def spellings(self) -> tuple[str, ...]:
        """`-w` and `--wait`, as far as they exist."""
        return (f"-{self.letter}",) * bool(self.letter) + (f"--{self.long}",) * bool(self.long)

    @property
    def synopsis(self) -> str:
        """`-w, --wait TIME`."""
        return f"{', '.join(self.spellings)} {self.metavar}".rstrip()

    def settle(self, given: list[Any]) -> Any:
        """The value of all that was given. Raises UsageError."""
        if self.kind == "count":
            return len(given)
        if self.kind == "flag":
            return given[-1]
        try:
            values = [self.type(text) for text in given]
        except ValueError as error:
            raise UsageError(self.synopsis, str(error)) from None
        return sum(values, ()) if self.kind == "repeated" else values[-1]


class Section(Frozen):
    """Options that stand together under a heading of the help."""

    title: str
    options: tuple[Option, ...]


if TYPE_CHECKING:
    Table = tuple[Section, ...]


def section(title: str, *options: Option) -> Section:
    """A heading and its options."""
    return Section(title=title, options=options)


def flag(letter: str, long: str, dest: str, help: str, value: Any = True, *, alone: bool = False) -> Option:
    """An option that takes no value and stands for one."""
    return Option(letter=letter, long=long, kind="flag", dest=dest, help=help, value=value, alone=alone)


def count(letter: str, long: str, dest: str, help: str) -> Option:
    """An option that takes no value; how often it was given is what counts."""
    return Option(letter=letter, long=long, kind="count", dest=dest, help=help)


def value(letter: str, long: str, metavar: str, dest: str, type: Type, help: str) -> Option:
    """An option that takes a value."""
    return Option(letter=letter, long=long, kind="value", dest=dest, help=help, type=type, metavar=metavar)


def repeated(letter: str, long: str, metavar: str, dest: str, type: Type, help: str) -> Option:
    """An option that takes a value each time it is given; its type gives a tuple."""
    return Option(letter=letter, long=long, kind="repeated", dest=dest, help=help, type=type, metavar=metavar)


def every(table: Table) -> Iterator[Option]:
    """All options, in the order of the help."""
    return (option for section in table for option in section.options)


def read(table: Table, argv: list[str], hints: Mapping[str, str]) -> tuple[Values, list[str]]:
    """Read a command line (without the program's name) into values and operands.

    `hints` has a remark for some spellings that people may bring along from elsewhere, but which do not exist.
    Raises UsageError.
    """
    options = {spelling: option for option in every(table) for spelling in option.spellings}
    letters = "".join(option.letter + ":" * bool(option.metavar) for option in every(table) if option.letter)
    longs = [option.long + "=" * bool(option.metavar) for option in every(table) if option.long]
    try:
        pairs, operands = getopt.gnu_getopt(argv, letters, longs)
    except getopt.GetoptError as error:
        dashes = "--" if f"--{error.opt}" in error.msg else "-"
        raise _misread(dashes + error.opt, options, hints) from None
    given: Given = {}
    for spelling, text in pairs:
        option = options[spelling]
        given.setdefault(option.dest, []).append(text if option.metavar else option.value)
    return settle(table, given), operands


def settle(table: Table, given: Given) -> Values:
    """Turn what was given into values. Raises UsageError."""
    for option in every(table):
        if option.alone and option.dest in given:
            return {option.dest: option.value}
    return {option.dest: option.settle(given[option.dest]) for option in every(table) if option.dest in given}


def name(table: Table, dest: str) -> str:
    """How the option is spelled that sets `dest`."""
    return next(option.spellings[0] for option in every(table) if option.dest == dest)


def check_conflicts(table: Table, values: Values, rules: Iterable[Rule]) -> None:
    """Raise UsageError for options that make no sense together: a rule is a dest, those it rules out, and why."""
    for dest, others, why in rules:
        for other in others:
            if dest in values and other in values:
                raise UsageError(f"{name(table, other)} with {name(table, dest)}", why)


def _misread(spelling: str, options: Mapping[str, Option], hints: Mapping[str, str]) -> UsageError:
    """What is wrong with an option that getopt stumbled over."""
    if spelling in options:
        return UsageError(spelling, "a value is missing" if options[spelling].metavar else "takes no value")
    meant = [known for known in options if known.startswith(spelling) and spelling != "--"]
    if meant:
        return UsageError(spelling, f"could be any of {', '.join(meant)}")
    from difflib import get_close_matches  # what click uses, too

    meant = get_close_matches(spelling, [known for known in options if spelling.startswith("--")])
    hint = hints.get(spelling) or (f"did you mean {' or '.join(meant)}?" if meant else "")
    return UsageError(spelling, f"no such option{hint and '; '}{hint}")
