"""Feeds pync's parsers with what they were not made for, for scripts/fuzz.

- A target is a function that takes bytes and returns nothing. It may fail in no way: it catches the errors that the
  parser documents and no others, and it asserts what must hold of each result, for instance that any split of the input
  gives the same output. `dialogues`, `streams` and `texts` have the targets, `names` that of certificates.
- `engines` finds inputs for one target: Atheris, which is guided by the coverage, or Hypothesis where that is missing.
- `cli` runs the targets, each in a process of its own, and shows a table.

Limits of pync that no short input reaches (the length of a head, of a line of a chat) are made small here.
"""

from collections.abc import Callable
from typing import NamedTuple


class Target(NamedTuple):
    """A function that must not fail, whatever its input, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: list[bytes]


def pieces(data: bytes) -> tuple[int, bytes, list[bytes]]:
    """A number of 0 to 255 that chooses between variants, the rest of `data`, and this rest in equal pieces."""
    choice, rest = (data or b"\0")[0], data[1:]
    size = 1 + choice // 2 % 8
    return choice, rest, [rest[at : at + size] for at in range(0, len(rest), size)]
