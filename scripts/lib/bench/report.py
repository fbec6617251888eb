"""The results as a table in plain text or Markdown, a record in JSON, a picture, and the block in scripts/bench.md."""

import datetime
import json
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.commands import TOOLS
from bench.figures import MISSING, Line

BEGIN, END = "<!-- scripts/bench: begin -->", "<!-- scripts/bench: end -->"
NAMES, WORDS = ["", "unit"], ["pync's ratio", "goal", "reached"]  # the columns before and after those of the tools
BAR_HEIGHT, HEAD_HEIGHT = 30, 220  # pixels


def _processor() -> str:
    """The model of the processor, where the kernel names it."""
    found = re.search(r"^model name\s*: *(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()


class Circumstances(NamedTuple):
    """When, where and how it was measured. `bulk` is the size of a transfer in bytes."""

    rounds: int
    bulk: int
    date: str = datetime.date.today().isoformat()
    processor: str = _processor()
    cores: int = len(os.sched_getaffinity(0))
    kernel: str = f"{platform.system()} {platform.release()}"
    python: str = f"{platform.python_implementation()} {platform.python_version()}"

    def __str__(self) -> str:
        rounds = "1 round" if self.rounds == 1 else f"medians of {self.rounds} rounds"
        machine = f"{self.processor}, {self.cores} cores, {self.kernel}, {self.python}"
        return f"{self.date}, {machine}; {rounds}, transfers of {self.bulk >> 20} MiB"


def table(lines: Sequence[Line]) -> list[list[str]]:
    """The cells of the table, with its head. It has a column for each tool that takes part in any line."""
    tools = [tool for tool in TOOLS if any(tool in line.cells for line in lines)]
    rows = [[*NAMES, *tools, *WORDS]]
    for line in lines:
        cells = [str(line.cells.get(tool, MISSING)) for tool in tools]
        rows.append([line.figure.title, line.figure.unit, *cells, *line.verdict()])
    return rows


def text(lines: Sequence[Line]) -> str:
    """The table in plain text."""
    head, *rows = table(lines)
    columns = []
    for title, left, *cells in zip(head, _left(head), *rows, strict=True):
        width = max(map(len, (title, *cells)))
        columns.append([cell.ljust(width) if left else cell.rjust(width) for cell in (title, "─" * width, *cells)])
    return "".join(f"{'  '.join(row).rstrip()}\n" for row in zip(*columns, strict=True))


def markdown(lines: Sequence[Line]) -> str:
    """The table in Markdown."""
    head, *rows = table(lines)
    aligned = ["---" if left else "--:" for left in _left(head)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, aligned, *rows])


def _left(row: Sequence[str]) -> list[bool]:
    """Which cells of a row are words, and so aligned to the left."""
    return [True] * len(NAMES) + [False] * (len(row) - len(NAMES + WORDS)) + [True] * len(WORDS)


def record(lines: Sequence[Line], notes: Sequence[str], where: Circumstances) -> str:
    """Everything, with the figure of each round, as JSON."""
    found = {"circumstances": where._asdict(), "figures": [_facts(line) for line in lines], "notes": list(notes)}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _facts(line: Line) -> dict[str, object]:
    return {
        "row": line.row,
        "title": line.figure.title,
        "unit": line.figure.unit,
        "less is better": line.figure.less,
        "goals": [
            {**goal._asdict(), "measured": line.measured(goal), "reached": line.reached(goal)}
            for goal in line.figure.goals
        ],
        "tools": {
            tool: {"median": cell.median, "rounds": cell.values, "wrong": cell.wrong}
            for tool, cell in line.cells.items()
        },
    }


class Bar(NamedTuple):
    """How many times as good as another tool pync is, and how many times it is to be."""

    title: str
    measured: float
    goal: float


def _bars(lines: Sequence[Line]) -> list[Bar]:
    """A bar for each goal that compares pync with another tool."""
    found = []
    for line in lines:
        for goal in line.figure.goals:
            measured = line.measured(goal)
            if goal.against and measured:
                pair = (1 / measured, 1 / goal.bound) if line.figure.less else (measured, goal.bound)
                found.append(Bar(f"{line.figure.title} ({goal.against})", *pair))
    return found


def svg(lines: Sequence[Line], caption: str) -> str:
    """The ratios as a picture: an SVG without scripts. The longer a bar, the better, in every line of it."""
    import pygal  # takes as long as everything else together, and most runs draw nothing
    from pygal.style import CleanStyle

    shown = _bars(lines)[::-1]  # the first bar is drawn at the bottom
    chart = pygal.HorizontalBar(
        style=CleanStyle(font_family="sans-serif", label_font_size=13, legend_font_size=14, title_font_size=15),
        js=(),
        width=1000,
        height=HEAD_HEIGHT + BAR_HEIGHT * len(shown),
        legend_at_bottom=True,
        zero=0,
        min_scale=4,
        truncate_label=-1,
        title=f"pync beside the tool in brackets: how many times as good\n{caption}",
        value_formatter=lambda value: f"{value:.3g}",
    )
    chart.x_labels = [bar.title for bar in shown]
    chart.add("pync", [bar.measured for bar in shown])
    chart.add("goal", [bar.goal for bar in shown])
    return re.sub("<script.*?</script>", "", chart.render(is_unicode=True), flags=re.DOTALL)


def block(lines: Sequence[Line], where: Circumstances, picture: str) -> str:
    """The table and the picture in Markdown, with how they were made."""
    caption = "How many times as fast as the others pync is"
    return f"Measured by `scripts/bench --write`: {where}.\n\n{markdown(lines)}\n![{caption}]({picture})\n"


def put_between_markers(document: str, block: str) -> str:
    """The document with the block in place of the text between the two markers. ValueError if one is missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the lines {BEGIN} and {END} are missing")
    return f"{before}{begin}\n{block}{end}{after}"
