"""A row of the differential table, and how it is read from the text files in `tests/differential`.

A row is what happens around a program, and never what comes of it. As text it is

    the peer's end is no end for a client             its name, which is a law
      $ nc -v 127.0.0.1 4000                          the command, as in a shell; NAME=VALUE may stand before it
      with tcp 127.0.0.1 4000                         what is there before: tcp, udp, unix, full, file …
      stdin null                                      or: open (a pipe, the default), closed, terminal, …
      stdout full                                     or: pipe (the default), closed, unread, socket
      accept | fin | still                            the script; `verbs.py` says what each verb does
      trap #26                                        the fault of the original that pync mends on purpose
      = exit 0                                        … and the lines of the transcript of the mended one

A number before a verb (`2: send x`) is the connection that is meant; otherwise it is the last one. Text has Python's
escapes (`\\n`, `\\xff`), and `@300000` is so many bytes of a known pattern. Each row has a network of its own: so its
ports are fixed numbers, below the ephemeral ones.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Row(NamedTuple):
    """One row."""

    name: str
    command: list[str]  # the words, the first of which is the name of the program
    env: list[str]
    around: list[str]  # what is there before
    stdin: str
    stdout: str
    steps: list[str]
    trap: str
    instead: list[str]  # the transcript of the mended one


def read(file: Path) -> Iterator[Row]:
    """All rows of a text file."""
    for block in file.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            yield _row(lines[0], [line.strip(" ") for line in lines[1:]])


def _row(name: str, lines: list[str]) -> Row:
    found: dict[str, list[str]] = {"$": [], "with": [], "stdin": [], "stdout": [], "trap": [], "=": [], "": []}
    for line in lines:
        key, _, rest = line.partition(" ")
        found[key if key in found else ""].append(rest if key in found else line)
    (command,) = found["$"]
    words = shlex.split(command)
    env = [word for word in words[:1] if "=" in word]
    return Row(
        name,
        words[len(env) :],
        env,
        found["with"],
        "".join(found["stdin"]) or "open",
        "".join(found["stdout"]) or "pipe",
        [step for line in found[""] for step in line.split(" | ")] or ["end"],
        "".join(found["trap"]),
        found["="],
    )
