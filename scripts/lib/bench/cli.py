"""The command line of scripts/bench."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report, rounds
from bench.commands import TOOLS, installed
from bench.process import end_strays
from bench.rows import NAMES, ROWS
from bench.setting import FULL, QUICK, adapted, prepared

SCRIPTS = Path(__file__).parents[2]
DOCUMENT, PICTURE = SCRIPTS / "bench.md", SCRIPTS / "bench.svg"
ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the options ask for, and show it; the exit status."""
    options = _options(argv)
    if options.list:
        for row in ROWS:
            print(f"{row.name:16}{', '.join(figure.title for figure in row.figures)}")
        return 0
    if options.write:
        _document("")  # fails before the long measurement if the document has no place for the table
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves by `finally`
    try:
        found, where = _measure(options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        end_strays()
    rounds.progress("")
    print(where, end="\n\n")
    print(report.markdown(found.lines) if options.markdown else report.text(found.lines), end="")
    for note in found.notes:
        print(f"\n{note}")
    _write(options, found, where)
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures pync beside the other netcats that are installed, on the loopback interface.",
        epilog="The row 'ports' connects to every port of 127.0.0.1, and so to every server that listens there.",
    )
    option = parser.add_argument
    option("--list", action="store_true", help="show the rows that can be measured, and end")
    option("--only", type=lambda text: text.split(","), metavar="ROW,...", default=NAMES, help="only these rows")
    option("--rounds", type=int, metavar="N", help=f"measure every tool N times ({ROUNDS}; with --quick 1)")
    option("--quick", action="store_true", help="small sizes: to try it out, the figures mean nothing")
    option("--markdown", action="store_true", help="show the table in Markdown")
    option("--json", type=Path, metavar="FILE", help="keep the figure of every round")
    option("--plot", type=Path, metavar="FILE.svg", help="draw the ratios")
    option("--write", action="store_true", help=f"put table and plot into {DOCUMENT.name} and {PICTURE.name} here")
    options = parser.parse_args(argv)
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(NAMES)})")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"{options.rounds} is not a number of rounds")
    return options


def _measure(options: argparse.Namespace) -> tuple[rounds.Findings, report.Circumstances]:
    times = options.rounds or (1 if options.quick else ROUNDS)
    scale = QUICK if options.quick else adapted(FULL)
    chosen = [row for row in ROWS if row.name in options.only]
    with prepared(scale) as setting:
        found = rounds.run(chosen, setting, times)
    missing = [f"not installed: {tool}" for tool in TOOLS if tool not in installed()]
    return found._replace(notes=missing + found.notes), report.Circumstances(times, scale.bulk)


def _write(options: argparse.Namespace, found: rounds.Findings, where: report.Circumstances) -> None:
    if options.json:
        options.json.write_text(report.record(found.lines, found.notes, where))
    if pictures := [path for path in (options.plot, options.write and PICTURE) if path]:
        drawn = report.svg(found.lines, str(where))
        for path in pictures:
            path.write_text(drawn)
    if options.write:
        DOCUMENT.write_text(_document(report.block(found.lines, where, PICTURE.name)))


def _document(block: str) -> str:
    """The text of scripts/bench.md with that block."""
    try:
        return report.put_between_markers(DOCUMENT.read_text(), block)
    except (OSError, ValueError) as error:
        sys.exit(f"scripts/bench: {DOCUMENT.name}: {error}")
