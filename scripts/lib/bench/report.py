"""What came of it, for people and for programs: a table in plain text or Markdown, a record in JSON, the README."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.commands import TOOLS
from bench.figures import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.figures import Line

BEGIN, END = "<!-- scripts/bench: begin -->", "<!-- scripts/bench: end -->"
NAMES, WORDS = ["", "unit"], ["pync's ratio", "goal", "reached"]  # the columns before and after those of the tools


class Circumstances(NamedTuple):
    """When, where and how it was measured."""

    date: str
    processor: str
    cores: int
    kernel: str
    python: str
    rounds: int
    bulk: int  # bytes

    def __str__(self) -> str:
        times = "1 round" if self.rounds == 1 else f"medians of {self.rounds} rounds"
        return (
            f"{self.date}, {self.processor}, {self.cores} cores, {self.kernel}, {self.python}; "
            f"{times}, transfers of {self.bulk >> 20} MiB"
        )


def circumstances(rounds: int, bulk: int) -> Circumstances:
    """Those of this machine, now."""
    return Circumstances(
        datetime.date.today().isoformat(),
        _processor(),
        len(os.sched_getaffinity(0)),
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        rounds,
        bulk,
    )


def _processor() -> str:
    """Its model, where the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()


def table(lines: Sequence[Line]) -> list[list[str]]:
    """The cells of the table, with its head. It has a column for each tool that takes part in anything."""
    tools = [tool for tool in TOOLS if any(tool in line.cells for line in lines)]
    return [
        [*NAMES, *tools, *WORDS],
        *(
            [
                line.figure.title,
                line.figure.unit,
                *(str(line.cells[tool]) if tool in line.cells else MISSING for tool in tools),
                *line.words(),
            ]
            for line in lines
        ),
    ]


def text(lines: Sequence[Line]) -> str:
    """The table in plain text."""
    rows = table(lines)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = _to_the_left(len(widths))
    rows.insert(1, ["─" * width for width in widths])
    return "".join(f"{'  '.join(map(_padded, row, widths, left)).rstrip()}\n" for row in rows)


def markdown(lines: Sequence[Line]) -> str:
    """The table in Markdown."""
    head, *rows = table(lines)
    aligned = ["---" if left else "--:" for left in _to_the_left(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, aligned, *rows])


def record(lines: Sequence[Line], notes: Sequence[str], where: Circumstances) -> str:
    """Everything, the figure of each round too, as JSON."""
    found = {"circumstances": where._asdict(), "figures": [_facts(line) for line in lines], "notes": list(notes)}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _facts(line: Line) -> dict[str, object]:
    return {
        "row": line.row,
        "title": line.figure.title,
        "unit": line.figure.unit,
        "less is better": line.figure.less,
        "goals": [
            {**asdict(goal), "measured": line.measured(goal), "reached": line.reached(goal)}
            for goal in line.figure.goals
        ],
        "tools": {
            tool: {"median": cell.median, "rounds": cell.values, "wrong": cell.wrong}
            for tool, cell in line.cells.items()
        },
    }


def readme_block(lines: Sequence[Line], where: Circumstances, picture: Path) -> str:
    """The table and the picture for the README, with how they came about."""
    caption = "How many times as fast as the others pync is"
    return f"Measured by `scripts/bench --readme`: {where}.\n\n{markdown(lines)}\n![{caption}]({picture})\n"


def put_between_markers(document: str, block: str) -> str:
    """The document with the block in place of what stands between the two markers. ValueError if they are not there."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the lines {BEGIN} and {END} are missing")
    return f"{before}{begin}\n{block}{end}{after}"


def _to_the_left(columns: int) -> list[bool]:
    """Which of so many columns have words and no figures."""
    return [True] * len(NAMES) + [False] * (columns - len(NAMES + WORDS)) + [True] * len(WORDS)


def _padded(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
