"""The program behind scripts/faults: plays the cases of tests/faults to each netcat, and writes the tables.

A case is played in a folder of its own. Cases wait more than they compute, so several are played at a time. The page
has all verdicts, the README only their numbers, between two comments.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "support")]

from cases import CASES  # noqa: E402 (found by the line above)
from netcats import NETCATS  # noqa: E402
from outcomes import HELD, UNABLE, played  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from outcomes import Case

LAW = """
What `scripts/faults` did to the netcats of one machine, and what came of it. A case has held if the bytes delivered are
the bytes sent, or the status is not 0 and stderr says that bytes are missing, and how many if the tool can know it. The
tool has ended within its limit, with the right status, and has left nothing behind. “–” stands where a tool has nothing
for a case.
"""
PAGE, README = ROOT / "scripts" / "faults.md", ROOT / "README.md"
BEGIN, END = "<!-- counts of faults -->", "<!-- end of counts -->"  # around the table in the README
IN_README = 4  # kinds of verdict
AT_A_TIME = 4  # cases


class Row(NamedTuple):
    """A case, and the verdict about each tool."""

    case: Case
    verdicts: dict[str, str]


def main() -> int:
    """Play, print, and with --write put the page where it belongs. The status is 0 if pync holds in every case."""
    options = _options()
    cases = [case for case in CASES if re.search(options.only, case.title)]
    rows = list(_rows(cases, options.tools or list(NETCATS), details=options.details))
    page = "\n".join(_page(rows))
    if options.write:
        PAGE.write_text(page + "\n")
        README.write_text(_with_counts(README.read_text(), rows))
    print(page)
    return int(any(row.verdicts.get("pync", HELD) not in {HELD, UNABLE} for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/faults", description="Play faults to the netcats; show the table.")
    parser.add_argument("--write", action="store_true", help="write the tables to scripts/faults.md and README.md")
    parser.add_argument("--only", metavar="REGEX", default="", help="only the cases whose title has this")
    parser.add_argument("--tool", dest="tools", action="append", choices=NETCATS, help="only this one; repeatable")
    parser.add_argument("--details", action="store_true", help="show on stderr what came of each that did not hold")
    options = parser.parse_args()
    if options.write and (options.only or options.tools):
        parser.error("--write is for all cases and all tools")
    return options


def _rows(cases: Sequence[Case], tools: Sequence[str], *, details: bool) -> Iterator[Row]:
    def play(case: Case) -> Row:
        return Row(case, {tool: _verdict(case, tool, details=details) for tool in tools})

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(play, cases)


def _verdict(case: Case, tool: str, *, details: bool) -> str:
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        found, why = played(case, tool, Path(folder))
    if details and found not in {HELD, UNABLE}:
        print(f"{tool}, {case.title}: {found}: {why}", file=sys.stderr, flush=True)
    return found


def _page(rows: Sequence[Row]) -> Iterator[str]:
    """The page, in Markdown."""
    tools = list(rows[0].verdicts) if rows else []
    yield "# Faults"
    yield ""
    yield from LAW.strip().splitlines()
    yield ""
    yield from _counts(rows, tools)
    for group, members in _groups(rows).items():
        yield ""
        yield f"## {group}"
        yield ""
        yield from _table(["case", *tools], ([row.case.name, *row.verdicts.values()] for row in members))
    yield ""
    yield f"Played on {datetime.date.today()} with Linux {platform.release().partition('-')[0]}, {_versions(tools)}."


def _counts(rows: Sequence[Row], tools: Sequence[str], kinds: int = 100) -> Iterator[str]:
    """A table with the number of each verdict; those that are rarer than the first `kinds` are counted together."""
    counts = {tool: collections.Counter(row.verdicts[tool] for row in rows) for tool in tools}
    found = sum(counts.values(), collections.Counter[str]())
    wrong = [verdict for verdict, _ in found.most_common() if verdict not in {HELD, UNABLE}]
    lines = [
        ["**held, of those that the tool can be asked**"]
        + [f"**{count[HELD]} of {len(rows) - count[UNABLE]}**" for count in counts.values()]
    ]
    lines += [[verdict, *(str(count[verdict]) for count in counts.values())] for verdict in wrong[:kinds]]
    if rest := wrong[kinds:]:
        lines.append(["anything else", *(str(sum(count[verdict] for verdict in rest)) for count in counts.values())])
    yield from _table(["", *tools], lines)


def _with_counts(readme: str, rows: Sequence[Row]) -> str:
    """The README with other numbers."""
    before, rest = readme.split(BEGIN)
    table = "\n".join(_counts(rows, list(NETCATS), IN_README))
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.case.group, []).append(row)
    return groups


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for line in lines:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"


VERSIONS = {"pync": "--version", "nc.openbsd": "-h", "ncat": "--version", "socat": "-V"}


def _versions(tools: Sequence[str]) -> str:
    return ", ".join(f"{tool} {_version(tool)}" for tool in tools)


def _version(tool: str) -> str:
    """The number that a tool gives itself."""
    path = str(Path(sys.executable).with_name("pync")) if tool == "pync" else tool
    given = subprocess.run([path, VERSIONS[tool]], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    found = re.search(r"\d+\.\d+[\w.+-]*", given.stdout + given.stderr)
    return found[0].rstrip(".") if found else "?"


if __name__ == "__main__":
    sys.exit(main())
