"""Figures, goals and ratios: only arithmetic and wording."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.commands import PYNC

MISSING = "–"
WRONG = "wrong"


class Goal(NamedTuple):
    """What pync is to reach: `bound` times the figure of another tool or, without one, `bound` itself."""

    bound: float
    against: str | None = None


class Figure(NamedTuple):
    """One line of the published table. Its goals are lower bounds or, if less is better, upper bounds."""

    title: str
    unit: str
    goals: Sequence[Goal] = ()
    less: bool = False  # whether less is better


class Cell(NamedTuple):
    """The results of one tool in one line: its figure in each round, or why it is wrong."""

    values: Sequence[float] = ()
    wrong: str = ""

    @property
    def median(self) -> float | None:
        """The median of the rounds; None if there is no figure."""
        return statistics.median(self.values) if self.values and not self.wrong else None

    def __str__(self) -> str:
        if self.wrong:
            return WRONG
        return MISSING if self.median is None else number(self.median)


class Verdict(NamedTuple):
    """How a line compares with its goals, in words: a ratio, a goal and whether it is reached for each of them."""

    ratios: str
    goals: str
    reached: str


class Line(NamedTuple):
    """One line of the published table with its results."""

    row: str
    figure: Figure
    cells: Mapping[str, Cell]  # by tool

    def median(self, tool: str) -> float | None:
        """The tool's figure; None if it has none."""
        return self.cells[tool].median if tool in self.cells else None

    def measured(self, goal: Goal) -> float | None:
        """What is compared with the goal's bound: pync's ratio to the other tool, or pync's figure itself."""
        own, other = self.median(PYNC), self.median(goal.against) if goal.against else 1
        return None if own is None or not other else own / other

    def reached(self, goal: Goal) -> bool | None:
        """Whether pync reaches the goal; None if that is not known, because the other tool has no figure."""
        measured = self.measured(goal)
        if measured is None:
            return False if PYNC in self.cells and self.median(PYNC) is None else None
        return measured <= goal.bound if self.figure.less else measured >= goal.bound

    def verdict(self) -> Verdict:
        """The ratios, the goals, and whether they are reached, in words."""
        goals, sign = self.figure.goals, "≤" if self.figure.less else "≥"
        return Verdict(
            ", ".join(self._compared(goal) for goal in goals),
            ", ".join(f"{sign} {f'{goal.bound:g}' if goal.against else number(goal.bound)}" for goal in goals),
            ", ".join({True: "yes", False: "no", None: MISSING}[self.reached(goal)] for goal in goals),
        )

    def _compared(self, goal: Goal) -> str:
        measured = self.measured(goal)
        if measured is None:
            return MISSING
        return f"{measured:.2f} × {goal.against}" if goal.against else number(measured)


def number(value: float) -> str:
    """Three digits, or all that stand before the point; thousands are set apart."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3g}" if value < 1 else f"{value:.2f}".rstrip("0").rstrip(".")
