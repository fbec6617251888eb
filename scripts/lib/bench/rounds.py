"""Runs the rows. In each round every tool runs once, so that other work on the machine affects all of them alike."""

import errno
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from bench import Unable, Wrong
from bench.commands import installed
from bench.figures import Cell, Line
from bench.rows import Row
from bench.setting import Setting
from bench.trial import Trial

BUDGET = 600.0  # seconds for all rows
# The errors of a peer whose tool ends too early.
BROKEN = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.EPIPE)


class Findings(NamedTuple):
    """The lines of the table, and notes on what is not as it should be."""

    lines: list[Line]
    notes: list[str]


def run(rows: Sequence[Row], setting: Setting, rounds: int) -> Findings:
    """Measure the rows.

    A row whose share of the time is used up has fewer rounds. The rows after it share the time that a row leaves.
    """
    found = Findings([], [])
    until = time.monotonic() + BUDGET
    for index, row in enumerate(rows):
        contest = Contest(row, setting)
        made = contest.run(rounds, (until - time.monotonic()) / (len(rows) - index))
        found.lines.extend(contest.lines())
        found.notes.extend(f"{row.name}: {tool}: {error}" for tool, error in contest.out.items())
        if made < rounds:
            found.notes.append(f"{row.name}: only {made} of {rounds} rounds, for want of time")
    return found


class Contest:
    """One row, with all installed tools that take part in it."""

    def __init__(self, row: Row, setting: Setting) -> None:
        self.row, self.setting = row, setting
        self.results: dict[str, list[Sequence[float]]] = {tool: [] for tool in installed() if tool in row.commands}
        self.out: dict[str, Wrong | Unable] = {}  # tools that no longer take part, and why

    def run(self, rounds: int, seconds: float) -> int:
        """Verify each tool, and measure it as often as the time allows; how many rounds were made."""
        if self.row.verified:
            self._round("verifying", verifying=True)
        began = time.monotonic()
        for number in range(1, rounds + 1):
            self._round(f"round {number} of {rounds}", verifying=False)
            spent = time.monotonic() - began
            if spent + spent / number > seconds:
                return number
        return rounds

    def _round(self, name: str, *, verifying: bool) -> None:
        for tool, results in self.results.items():
            if tool in self.out:
                continue
            progress(f"{self.row.name}, {name}: {tool}")
            try:
                values = self._measure(tool, verifying=verifying)
            except (Wrong, Unable) as error:
                self.out[tool] = error
                results[:] = [error.reached] if isinstance(error, Unable) else []
            else:
                results += [] if verifying else [values]

    def _measure(self, tool: str, *, verifying: bool) -> list[float]:
        try:
            with Trial(self.setting, self.row.commands, tool, verifying=verifying) as trial:
                return self.row.measure(trial)
        except OSError as error:
            if error.errno not in BROKEN:
                raise  # the fault of this program
            raise Wrong(f"broke the connection: {error.strerror}") from None

    def lines(self) -> list[Line]:
        """The lines of the row."""
        return [
            Line(self.row.name, figure, {tool: self._cell(tool, index) for tool in self.results})
            for index, figure in enumerate(self.row.figures)
        ]

    def _cell(self, tool: str, index: int) -> Cell:
        error = self.out.get(tool)
        values = [values[index] for values in self.results[tool] if index < len(values)]
        return Cell(values, str(error) if isinstance(error, Wrong) else "")


def progress(words: str) -> None:
    """Show on stderr what is being done, if that is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
