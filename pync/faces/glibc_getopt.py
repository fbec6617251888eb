"""Reading a command line exactly as glibc's getopt(3) does, whose words for faulty options the netcats in C have.

Theory: options are given one by one, because a netcat reads the value of each before it looks at the next: of several
faults the first is reported, and -h leaves the rest unread. Operands may stand between options, and are collected,
unless POSIXLY_CORRECT is set: then the first operand ends the options, as `--` does. A fault ends a netcat, so
what getopt would do after one is left out.

The standard library's getopt, which pync's own command line is read with, reads all at once and has other words.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Fault(Exception):
    """An option that is unknown, or lacks its value. The text is getopt's, without the name of the command."""


class Getopt:
    """The options of a command line, as an iterator of letters and values, and then its operands."""

    def __init__(self, argv: list[str], letters: str) -> None:
        """`argv` is without the name of the command; `letters` has a colon after each letter that takes a value."""
        self.operands: list[str] = []  # complete once all options are read
        self._argv = argv
        self._letters = letters
        self._permutes = "POSIXLY_CORRECT" not in os.environ

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Each option with its value, or "". Raises Fault."""
        rest = iter(self._argv)
        for word in rest:
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                self.operands.append(word)
                if not self._permutes:
                    break
                continue
            yield from self._bundle(word[1:], rest)
        self.operands += rest

    def _bundle(self, letters: str, rest: Iterator[str]) -> Iterator[tuple[str, str]]:
        """The options of one word. The last may have its value glued to it, or in the next word."""
        while letters:
            letter, letters = letters[0], letters[1:]
            index = self._letters.find(letter)
            if index < 0 or letter in ":;":
                raise Fault(f"invalid option -- '{letter}'")
            if self._letters[index + 1 : index + 2] != ":":
                yield letter, ""
                continue
            value = letters or next(rest, None)
            if value is None:
                raise Fault(f"option requires an argument -- '{letter}'")
            yield letter, value
            return


def as_typed(command: str) -> str:
    """The name of the command as it was typed, of which the system gives a script no more than the path.

    What the PATH leads to has most likely been found by it.
    """
    name = os.path.basename(command)
    if os.path.dirname(command) and name:
        for directory in os.get_exec_path():
            path = os.path.join(directory, name)
            if os.access(path, os.X_OK):
                return name if path == command else command
    return command
