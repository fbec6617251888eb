"""A face's options as data, and the reader that a run uses: argv becomes values and operands.

Theory: one table, two readers. A run reads its table with the standard library's getopt, as the netcats in C do:
options after operands, bundled letters, a value glued to its letter, unique prefixes of long names, `--`. For
completion the same table becomes a click command (`completion.py`); importing click takes as long as starting
Python three times. Both readers only sort the arguments. `values_of` alone makes values of them, so the readers cannot
differ there.

Beside the table a face has rules about options that make no sense together. They are data, too, and `check` applies
them.

Nothing here knows what an option means, prints, or reads anything but argv (and POSIXLY_CORRECT, in getopt).
"""

from __future__ import annotations

import sys

from pync.errors import UsageError

TYPE_CHECKING = False
LEAST_LIKENESS = 0.75  # of a long name to the one that was typed, for a question whether that was meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Literal

    Kind = Literal["flag", "count", "value", "repeated"]
    Type = Callable[[str], Any]  # turns the text of a value into the value; raises ValueError with the reason
    Given = dict[str, list[Any]]  # for each dest what was given, in order: a flag's constant, or the text of a value
    Values = dict[str, Any]  # for each dest that was given its value
    Dests = tuple[str, ...]
    # What `conflict` and `needs` make: dests, how they must not stand to the others, why, and the exceptions.
    Rule = tuple[Dests, Literal["with", "without"], Dests, str, Dests]


class Option:
    """One option: how it is spelled, what it takes, and the name (`dest`) under which its value is found.

    Flags that share a dest overrule each other, and so do values: the last one wins. A count is how often the option
    was given. The type of a repeated value gives a tuple, and those of all times are joined.
    """

    # A plain class: every start makes one for each option of its face, and a `Frozen` takes three times as long.
    __slots__ = ("alone", "constant", "dest", "help", "kind", "letter", "long", "metavar", "rare", "type")

    def __init__(
        self,
        kind: Kind,
        letter: str,
        long: str,
        dest: str,
        help: str,
        *,
        constant: Any = True,
        metavar: str = "",
        type: Type = str,
        alone: bool = False,
        rare: bool = False,
    ) -> None:
        self.kind = kind
        self.letter = letter  # "" if there is none
        self.long = long  # "" if there is none
        self.dest = dest
        self.help = help
        self.constant = constant  # the value that a flag stands for
        self.metavar = metavar  # of a value; "" for flags and counts
        self.type = type
        self.alone = alone  # a flag that overrules everything else on the command line, errors in values included
        self.rare = rare  # left out of the short help

    @property
    def spellings(self) -> list[str]:
        """`-w` and `--wait`, or the one that there is."""
        return [f"{dashes}{name}" for dashes, name in (("-", self.letter), ("--", self.long)) if name]

    @property
    def synopsis(self) -> str:
        """`-w, --wait TIME`."""
        return f"{', '.join(self.spellings)} {self.metavar}".rstrip()

    def value_of(self, given: list[Any]) -> Any:
        """The value of all that was given. Raises UsageError."""
        if self.kind == "count":
            return len(given)
        if self.kind == "flag":
            return given[-1]
        values = [read_value(self.synopsis, self.type, text) for text in given]
        return sum(values, ()) if self.kind == "repeated" else values[-1]


class Rare:
    """A type of values in `rare_values.py`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, text: str) -> object:
        """The value, as that type reads it."""
        from pync.faces import rare_values

        return getattr(rare_values, self.name)(text)


class Section:
    """Options that stand together under a heading of the help."""

    __slots__ = ("options", "title")

    def __init__(self, title: str, *options: Option) -> None:
        self.title = title
        self.options = options


if TYPE_CHECKING:
    Table = tuple[Section, ...]


def flag(
    letter: str, long: str, dest: str, help: str, constant: Any = True, *, alone: bool = False, rare: bool = False
) -> Option:
    """An option that takes no value and stands for a constant."""
    return Option("flag", letter, long, dest, help, constant=constant, alone=alone, rare=rare)


def count(letter: str, long: str, dest: str, help: str) -> Option:
    """An option that takes no value; its value is how often it was given."""
    return Option("count", letter, long, dest, help)


def value(letter: str, long: str, metavar: str, dest: str, type: Type, help: str, *, rare: bool = False) -> Option:
    """An option that takes a value."""
    return Option("value", letter, long, dest, help, metavar=metavar, type=type, rare=rare)


def repeated(letter: str, long: str, metavar: str, dest: str, type: Type, help: str, *, rare: bool = False) -> Option:
    """An option that takes a value each time it is given; its type gives a tuple."""
    return Option("repeated", letter, long, dest, help, metavar=metavar, type=type, rare=rare)


def every(table: Table) -> Iterator[Option]:
    """All options, in the order of the help."""
    return (option for section in table for option in section.options)


def spelling_of(table: Table, dest: str) -> str:
    """How the option is spelled that sets `dest`: by its letter, if it has one."""
    return next(option.spellings[0] for option in every(table) if option.dest == dest)


# -- Reading -------------------------------------------------------------------------------------------------------


def read(table: Table, argv: list[str], hints: Mapping[str, str]) -> tuple[Values, list[str]]:
    """Read a command line (without the program's name) into values and operands.

    `hints` has a remark for spellings that other netcats have and this table has not. Raises UsageError.
    """
    options = {}
    for option in every(table):  # `spellings` would take twice as long, in every run
        if option.letter:
            options["-" + option.letter] = option
        if option.long:
            options["--" + option.long] = option
    pairs, operands = _sort(argv, options, hints)
    given: Given = {}
    for spelling, text in pairs:
        option = options[spelling]
        given.setdefault(option.dest, []).append(text if option.metavar else option.constant)
    return values_of(table, given), operands


def _sort(
    argv: list[str], options: Mapping[str, Option], hints: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The options of a command line, spelled in full, each with its text, and the operands. Raises UsageError."""
    # getopt imports gettext, and that imports re: a tenth of the time that pync takes to start. It works without
    # gettext as well. To the import system None means that there is no such module.
    modules: dict[str, Any] = sys.modules
    modules.setdefault("gettext", None)
    import getopt

    if not modules["gettext"]:
        del modules["gettext"]
    letters, longs = "", []
    for spelling, option in options.items():
        if spelling[1] == "-":
            longs.append(option.long + "=" if option.metavar else option.long)
        else:
            letters += option.letter + ":" if option.metavar else option.letter
    try:
        return getopt.gnu_getopt(argv, letters, longs)
    except getopt.GetoptError as error:
        dashes = "--" if f"--{error.opt}" in error.msg else "-"
        raise _glued(argv, error.opt, options) or _unreadable(dashes + error.opt, options, hints) from None


def values_of(table: Table, given: Given) -> Values:
    """Turn what was given into values. Raises UsageError."""
    options = [option for option in every(table) if option.dest in given]
    for option in options:
        if option.alone:
            return {option.dest: option.constant}
    return {option.dest: option.value_of(given[option.dest]) for option in options}


def read_value(what: str, type: Callable[..., Any], *texts: str) -> Any:
    """The value that a type of `option_values` makes of the texts. Raises UsageError, about `what`."""
    try:
        return type(*texts)
    except ValueError as error:
        raise UsageError(what, str(error)) from None


def _glued(argv: list[str], refused: str, options: Mapping[str, Option]) -> UsageError | None:
    """What is wrong with `-l8080`, if getopt has refused the digit: that flag takes no value. None: it is not that."""
    for argument in argv if refused.isdigit() else ():
        letters = argument.rstrip("0123456789")
        digits, last = argument[len(letters) :], options.get(f"-{letters[-1:]}")
        if argument[:1] == "-" != argument[1:2] and refused in digits and last and not last.metavar:
            return UsageError(argument, f"{last.spellings[0]} takes no value; write {letters} {digits}")
    return None


def _unreadable(spelling: str, options: Mapping[str, Option], hints: Mapping[str, str]) -> UsageError:
    """What is wrong with an option that getopt has refused."""
    if spelling in options:
        return UsageError(spelling, "a value is missing" if options[spelling].metavar else "takes no value")
    meant = [known for known in options if known.startswith(spelling) and spelling != "--"]
    if meant:
        return UsageError(spelling, f"could be any of {', '.join(meant)}")
    from difflib import get_close_matches  # what click uses, too

    longs = [known for known in options if spelling.startswith("--")]
    meant = get_close_matches(spelling, longs, cutoff=LEAST_LIKENESS)
    hint = hints.get(spelling) or (f"did you mean {' or '.join(meant)}?" if meant else "")
    return UsageError(spelling, f"no such option{hint and '; '}{hint}")


# -- Rules about options that make no sense together ---------------------------------------------------------------


def conflict(dests: str | Dests, others: str | Dests, why: str, unless: Dests = ()) -> Rule:
    """None of `dests` goes with any of `others`, unless one of `unless` is there."""
    return _several(dests), "with", _several(others), why, unless


def needs(dests: str | Dests, others: str | Dests, why: str, unless: Dests = ()) -> Rule:
    """Each of `dests` needs one of `others`, unless one of `unless` is there; the message names the first of these."""
    return _several(dests), "without", _several(others), why, unless


def _several(dests: str | Dests) -> Dests:
    return (dests,) if isinstance(dests, str) else dests


def check(table: Table, values: Values, rules: Iterable[Rule]) -> None:
    """Raise UsageError for the first rule that is broken. The message says `-x with -y` or `-x without -y`, and why."""
    given = values.keys()
    for dests, word, others, why, unless in rules:
        if given.isdisjoint(dests) or not given.isdisjoint(unless):
            continue
        if word == "with":
            other = next((other for other in others if other in given), None)
        else:
            other = others[0] if given.isdisjoint(others) else None
        if other is not None:
            dest = next(dest for dest in dests if dest in given)
            raise UsageError(f"{spelling_of(table, dest)} {word} {spelling_of(table, other)}", why)
