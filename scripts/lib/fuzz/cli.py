"""The command line of scripts/fuzz."""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fuzz import engines

ENGINES = {"atheris": engines.search_guided, "hypothesis": engines.search_unguided}
GRACE = 60  # seconds that a search may take beyond its time: for its start, and to make a failing input short
TAIL = 40  # lines of a search that failed that are shown


class Search(NamedTuple):
    """What was looked for in which way, and what came of it."""

    target: str
    seconds: float
    finding: engines.Finding
    failed: bool
    said: str


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the options ask for; the exit status is 1 if an input was found with which a target fails."""
    options = _options(argv)
    if options.folder:  # this is the process of a single search
        ENGINES[options.engine](options.target[0], options.seconds, options.seed, options.folder)
    if options.input is not None:
        engines.targets()[options.target[0]].run(options.input)
        return 0
    names = options.target or list(engines.targets())
    with ThreadPoolExecutor(options.jobs) as pool:
        searches = list(pool.map(lambda name: _search(name, options), names))
    _report(searches, options)
    return int(any(search.failed for search in searches))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Looks for inputs with which pync's parsers fail. Each parser is a target."
    )
    option = parser.add_argument
    option("minutes", type=float, nargs="?", metavar="MINUTES", default=1.0, help="for each target (1)")
    option("--target", action="append", metavar="NAME", help="only this target; can be repeated")
    option("--list", action="store_true", help="show the names of the targets, and end")
    option("--jobs", type=int, metavar="N", default=os.cpu_count(), help="targets at a time (one for each processor)")
    option("--seed", type=int, default=random.randrange(1, 1 << 31), help="of the pseudo-random numbers")
    option("--engine", choices=ENGINES, help="atheris, if it is installed, or hypothesis")
    option("--input", type=bytes.fromhex, metavar="HEX", help="only run the target with this input")
    option("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.seconds = max(1, round(options.minutes * 60))
    options.engine = options.engine or ("atheris" if engines.guided() else "hypothesis")
    if options.folder:
        return options
    known = list(engines.targets())
    if options.list:
        print(*known, sep="\n")
        parser.exit()
    if unknown := set(options.target or ()) - set(known):
        parser.error(f"no such target: {', '.join(sorted(unknown))} (there are {', '.join(known)})")
    if options.input is not None and len(options.target or ()) != 1:
        parser.error("--input needs one --target")
    return options


def _search(name: str, options: argparse.Namespace) -> Search:
    """Search in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-I", sys.argv[0], f"{options.minutes}", "--target", name, "--folder", folder]
        words += ["--seed", f"{options.seed}", "--engine", options.engine]
        since = time.monotonic()
        status, said = _ended(words, options.seconds + GRACE)
        found = engines.finding(said, Path(folder))
    return Search(name, time.monotonic() - since, found, status != 0 or found.inputs == 0, said)


def _ended(words: list[str], seconds: float) -> tuple[int, str]:
    """The status of a process and what it has printed; it is killed after this time."""
    with _started(words) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[0] + b"\nkilled: it has not ended in time\n"
        return process.returncode, said.decode(errors="replace")


@contextmanager
def _started(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _report(searches: list[Search], options: argparse.Namespace) -> None:
    for search in searches:
        if search.failed:
            print(f"-- {search.target}\n" + "\n".join(search.said.splitlines()[-TAIL:]), end="\n\n")
            again = f"scripts/fuzz --target {search.target}"
            if search.finding.failing is not None:
                print(f"the input: {search.finding.failing!r}")
                print(f"again: {again} --input '{search.finding.failing.hex()}'", end="\n\n")
            else:
                print(f"again: {again} --seed {options.seed} {options.minutes}", end="\n\n")
    print(f"{options.engine}, seed {options.seed}")
    print(f"{'target':16}{'inputs':>12}{'seconds':>9}  outcome")
    for search in searches:
        outcome = "FAILED" if search.failed else "no failure"
        print(f"{search.target:16}{search.finding.inputs:>12,}{search.seconds:>9.0f}  {outcome}")
    print(f"{'together':16}{sum(search.finding.inputs for search in searches):>12,}")
