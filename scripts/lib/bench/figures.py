"""Figures, goals and ratios: only arithmetic and wording."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.commands import PYNC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.trial import Trial

MISSING = "–"
WRONG = "wrong"


@dataclass(frozen=True)
class Goal:
    """What pync is to reach: so many times the figure of another tool or, without one, so much."""

    bound: float
    against: str | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the table. The bounds of its goals are at least to be reached or, if less is better, at most."""

    title: str
    unit: str
    goals: tuple[Goal, ...] = ()
    less: bool = False  # is better


@dataclass(frozen=True)
class Row:
    """One measurement, by the name that --only takes. It yields the figures in their order; the last may be absent."""

    name: str
    measure: Callable[[Trial], list[float]]
    commands: Mapping[str, str]  # by tool
    figures: tuple[Figure, ...]
    verified: bool = True  # before it is timed; otherwise each measurement looks at all that comes


@dataclass
class Cell:
    """What came of one tool in one line: its figure in each round, or why it is wrong."""

    values: list[float]
    wrong: str = ""

    @property
    def median(self) -> float | None:
        """The median of the rounds; None if there is no figure."""
        return statistics.median(self.values) if self.values and not self.wrong else None

    def __str__(self) -> str:
        if self.wrong:
            return WRONG
        return MISSING if self.median is None else number(self.median)


@dataclass
class Line:
    """One line of the table with what was measured."""

    row: str
    figure: Figure
    cells: dict[str, Cell]  # by tool

    def median(self, tool: str) -> float | None:
        """The tool's figure; None if it has none."""
        return self.cells[tool].median if tool in self.cells else None

    def measured(self, goal: Goal) -> float | None:
        """What is compared with the goal's bound: pync's ratio to the other tool, or pync's figure itself."""
        own = self.median(PYNC)
        return own if goal.against is None else ratio(own, self.median(goal.against))

    def reached(self, goal: Goal) -> bool | None:
        """Whether pync reaches the goal; None if that is not known, because the other tool has no figure."""
        if PYNC not in self.cells:
            return None
        measured = self.measured(goal)
        if measured is None:
            return False if self.median(PYNC) is None else None
        return measured <= goal.bound if self.figure.less else measured >= goal.bound

    def words(self) -> tuple[str, str, str]:
        """The ratios, the goals, and whether they are reached, for people."""
        goals = self.figure.goals
        if not goals:
            return "", "", ""
        sign = "≤" if self.figure.less else "≥"
        return (
            ", ".join(self._compared(goal) for goal in goals),
            ", ".join(f"{sign} {bound(goal)}" for goal in goals),
            ", ".join({True: "yes", False: "no", None: MISSING}[self.reached(goal)] for goal in goals),
        )

    def _compared(self, goal: Goal) -> str:
        measured = self.measured(goal)
        if measured is None:
            return MISSING
        return number(measured) if goal.against is None else f"{measured:.2f} × {goal.against}"


def ratio(own: float | None, other: float | None) -> float | None:
    """How many times the one the other is."""
    return None if own is None or not other else own / other


def bound(goal: Goal) -> str:
    """A goal's bound as people write it."""
    return number(goal.bound) if goal.against is None else f"{goal.bound:g}"


def number(value: float) -> str:
    """Three digits, or all that stand before the point; thousands are set apart."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3g}" if value < 1 else f"{value:.2f}".rstrip("0").rstrip(".")
