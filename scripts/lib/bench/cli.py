"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report, rounds
from bench.commands import TOOLS, installed
from bench.process import end_strays
from bench.rows import NAMES, ROWS
from bench.scale import FULL, QUICK, adapted, files
from bench.trial import Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.figures import Line

ROOT = Path(__file__).parents[3]
README, PICTURE = ROOT / "README.md", ROOT / "scripts" / "bench.svg"
ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for, and show it; the exit status."""
    asked = _parser().parse_args(argv)
    if asked.list:
        for row in ROWS:
            print(f"{row.name:16}{', '.join(figure.title for figure in row.figures)}")
        return 0
    if asked.readme:
        _readme("")  # is known to have its place before all is measured
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so end what runs
    try:
        lines, notes, where = _measure(asked)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        end_strays()
    rounds.progress("")
    print(where, end="\n\n")
    print(report.markdown(lines) if asked.markdown else report.text(lines), end="")
    for note in notes:
        print(f"\n{note}")
    _write(asked, lines, notes, where)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures pync beside the other netcats that are installed, on the loopback interface.",
        epilog="The row 'ports' connects to every port of 127.0.0.1, and so to whatever listens there.",
    )
    option = parser.add_argument
    option("--list", action="store_true", help="show the rows that can be measured, and end")
    option("--only", type=_names, metavar="ROW,...", default=NAMES, help="measure only these rows")
    option("--rounds", type=_positive, metavar="N", help=f"measure every tool so many times ({ROUNDS}; with --quick 1)")
    option("--quick", action="store_true", help="small sizes: to try it out, the figures mean nothing")
    option("--markdown", action="store_true", help="show the table in Markdown")
    option("--json", type=Path, metavar="FILE", help="keep the figure of every round")
    option("--plot", type=Path, metavar="FILE.svg", help="draw the ratios")
    option("--readme", action="store_true", help=f"put the table into {README.name} and the plot beside this script")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(NAMES)})")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number of rounds")
    return int(text)


def _measure(asked: argparse.Namespace) -> tuple[list[Line], list[str], report.Circumstances]:
    times = asked.rounds or (1 if asked.quick else ROUNDS)
    scale = QUICK if asked.quick else adapted(FULL)
    chosen = [row for row in ROWS if row.name in asked.only]
    with files(scale) as made:
        lines, notes = rounds.run(chosen, Setting(scale, made), times)
    missing = [f"not installed: {tool}" for tool in TOOLS if tool not in installed()]
    return lines, [*missing, *notes], report.circumstances(times, scale.bulk)


def _write(asked: argparse.Namespace, lines: Sequence[Line], notes: Sequence[str], where: report.Circumstances) -> None:
    pictures = [path for path in (asked.plot, PICTURE if asked.readme else None) if path]
    if asked.json:
        asked.json.write_text(report.record(lines, notes, where))
    if pictures:
        from bench import plot

        drawn = plot.svg(lines, str(where))
        for path in pictures:
            path.write_text(drawn)
    if asked.readme:
        README.write_text(_readme(report.readme_block(lines, where, PICTURE.relative_to(ROOT))))


def _readme(block: str) -> str:
    """The README with that block."""
    try:
        return report.put_between_markers(README.read_text(), block)
    except ValueError as error:
        sys.exit(f"scripts/bench: {README.name}: {error}")
