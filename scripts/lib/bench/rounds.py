"""Runs the rows: in each round every tool once, so that what else the machine does strikes them all alike."""

from __future__ import annotations

import errno
import sys
import time
from typing import TYPE_CHECKING

from bench.commands import installed
from bench.figures import Cell, Line
from bench.outcomes import Short, Unable, Wrong
from bench.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.figures import Row
    from bench.trial import Setting


def run(rows: Sequence[Row], setting: Setting, rounds: int) -> tuple[list[Line], list[str]]:
    """Measure the rows; the lines of the table, and notes on what is not as it should be.

    A row whose share of the time is used up has fewer rounds. What it leaves is for those after it.
    """
    lines: list[Line] = []
    notes: list[str] = []
    until = time.monotonic() + BUDGET
    for index, row in enumerate(rows):
        contest = Contest(row, setting)
        made = contest.run(rounds, (until - time.monotonic()) / (len(rows) - index))
        lines += contest.lines
        notes += [f"{row.name}: {tool}: {why}" for tool, why in contest.out.items()]
        if made < rounds:
            notes.append(f"{row.name}: only {made} of {rounds} rounds, for want of time")
    return lines, notes


BUDGET = 600.0  # seconds for all rows
# What its peer gets to know of a tool that leaves too early.
BROKEN = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.EPIPE)


class Contest:
    """One row, with all tools that can take part."""

    def __init__(self, row: Row, setting: Setting) -> None:
        self.row = row
        self.setting = setting
        self.out: dict[str, str] = {}  # tools that take part no longer, and why
        tools = [tool for tool in installed() if tool in row.commands]
        self.lines = [Line(row.name, figure, {tool: Cell([]) for tool in tools}) for figure in row.figures]
        self.tools = tools

    def run(self, rounds: int, seconds: float) -> int:
        """Verify each tool, and measure those that are right as often as the time allows; how many rounds were made."""
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
        for tool in self.tools:
            if tool in self.out:
                continue
            progress(f"{self.row.name}, {name}: {tool}")
            try:
                values = self._measure(tool, verifying=verifying)
            except Wrong as error:
                self._exclude(tool, str(error), wrong=True)
            except Unable as error:
                self._exclude(tool, str(error), wrong=False)
            except Short as error:
                self._exclude(tool, str(error), wrong=False)
                self._note(tool, [error.reached])
            else:
                self._note(tool, values if not verifying else [])

    def _measure(self, tool: str, *, verifying: bool) -> list[float]:
        try:
            with Trial(self.setting, self.row.commands, tool, verifying=verifying) as trial:
                return self.row.measure(trial)
        except OSError as error:
            if error.errno not in BROKEN:
                raise  # is our own
            raise Wrong(f"broke the connection: {error.strerror}") from None

    def _note(self, tool: str, values: list[float]) -> None:
        for line, value in zip(self.lines, values, strict=False):
            line.cells[tool].values.append(value)

    def _exclude(self, tool: str, why: str, *, wrong: bool) -> None:
        self.out[tool] = why
        for line in self.lines:
            line.cells[tool].values.clear()
            line.cells[tool].wrong = why if wrong else ""


def progress(words: str) -> None:
    """Say on stderr what is being done, if somebody sits there."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
