"""The differential table: the same command line, input and other side for a real netcat and for pync under its name.

    with Rig() as rig:
        rig.transcripts(Row("…", "-v 127.0.0.1 4000"), OPENBSD)

What is seen of a row from outside is its transcript (`rig/scene.py`). Two that are the
same agree. A row with a `trap` is one in which pync mends a fault: it has to differ, and to be what the row says.

All rows are played in one process, which is alone in a namespace of mounts, with an /etc/hosts of its own; each row is
in a network of its own. As a program, this prints a table: `python tests/support/differential.py openbsd -j 8`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import shlex
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness import PYNC, Running, require
from rig.row import Row, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

HERE = Path(__file__).parent
TABLE = HERE.parent / "differential"
ETC = {
    "hosts": """127.0.0.1 localhost
::1 localhost
127.0.0.2 two.test
127.0.0.3 two.test
127.0.0.4 first.test
127.0.0.4 second.test
192.0.2.9 far.test
::1 six.test
""",
    "nsswitch.conf": "hosts: files\nservices: files\nnetworks: files\nprotocols: files\npasswd: files\ngroup: files\n",
    "host.conf": "multi on\n",
    "resolv.conf": "",
}
START = """
set -e
for file in hosts nsswitch.conf host.conf resolv.conf; do
    if [ -e "/etc/$file" ]; then mount --bind "$1/$file" "/etc/$file"; fi
done
shift
exec "$@"
"""


class Face(NamedTuple):
    """One netcat, and pync as that."""

    name: str
    original: str  # its program

    def files(self) -> list[Path]:
        """The text files of its rows."""
        return sorted((TABLE / self.name).glob("*.txt"))

    def rows(self) -> list[Row]:
        """All its rows, in the order of the files."""
        return [row for file in self.files() for row in read(file)]

    @property
    def exceptions(self) -> Path:
        """The file of the rows that differ: their names, each with the reason."""
        return TABLE / f"{self.name}-differs.txt"

    def differs(self) -> dict[str, str]:
        """The names of the rows in which pync does something else, with the reasons."""
        lines = [line.partition(": ") for line in self.exceptions.read_text().splitlines()]
        return {name: reason for name, _, reason in lines}

    def letters(self, *, listening: bool) -> set[str]:
        """The options that occur in its rows of one role."""
        found = set()
        for row in self.rows():
            letters = {letter for word in row.command[1:] if word.startswith("-") for letter in word[1:]}
            if listening == ("l" in letters):
                found |= letters
        return found


OPENBSD = Face("openbsd", "nc.openbsd")
TRADITIONAL = Face("traditional", "nc.traditional")
FACES = {face.name: face for face in (OPENBSD, TRADITIONAL)}


class Transcripts(NamedTuple):
    """What came of one row."""

    original: list[str]
    pync: list[str]

    def wanted(self, row: Row) -> list[str]:
        """What has to come of pync."""
        return row.instead if row.trap else self.original

    def verdict(self, row: Row) -> str:
        """Whether the row agrees, or is as its trap demands."""
        return "differs" if self.pync != self.wanted(row) else "trap" if row.trap else "agrees"


class Rig:
    """Plays rows to programs, so many of them at the same time."""

    def __init__(self, slots: int = 6) -> None:
        require("unshare", "mount", "setsid", *(face.original for face in FACES.values()))
        self.slots = slots
        self._stack = contextlib.ExitStack()
        self._waiting: dict[int, Future[list[str]]] = {}
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        etc = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        for name, text in ETC.items():
            (etc / name).write_text(text)
        unsharing = ["unshare", "-mn" if os.geteuid() == 0 else "-rmn", "sh", "-c", START, "sh", str(etc)]
        playing = [sys.executable, "-m", "rig", str(2 * self.slots)]
        env = {**os.environ, "PYTHONPATH": str(HERE)}
        self._process = self._stack.enter_context(Running([*unsharing, *playing], env=env))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close_stdin()
        self._reader.join()
        self._stack.close()

    def _read(self) -> None:
        while line := self._next():
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if "failed" in answer:
                future.set_exception(RuntimeError(answer["failed"]))
            else:
                future.set_result(answer["lines"])

    def _next(self) -> bytes:
        try:
            return self._process.read_until(b"\n", 3600)
        except BaseException as error:  # its end, or that of the test
            for future in self._waiting.values():
                future.set_exception(RuntimeError(f"the rig has ended: {error}"))
            return b""

    def play(self, row: Row, program: str) -> Future[list[str]]:
        """Have the row played to the program."""
        with self._asking:
            future: Future[list[str]] = Future()
            key = id(future)
            self._waiting[key] = future
            request = {"id": key, "row": row, "program": program}
            self._process.send(json.dumps(request).encode() + b"\n")
        return future

    def transcripts(self, row: Row, face: Face, *, against_itself: bool = False) -> Transcripts:
        """What the original does, and what pync does, at the same time."""
        original = require(face.original)
        both = [self.play(row, original), self.play(row, original if against_itself else PYNC[-1])]
        return Transcripts(*(future.result(60) for future in both))

    def all(self, rows: Sequence[Row], face: Face, *, against_itself: bool = False) -> Iterator[Transcripts]:
        """The same for many rows, in their order."""
        with ThreadPoolExecutor(self.slots) as pool:
            yield from pool.map(lambda row: self.transcripts(row, face, against_itself=against_itself), rows)


def judge(face: Face, file: Path) -> None:
    """The assertion of a test: each row of the file agrees, or is on the list of those that differ."""
    rows, exceptions, faults = list(read(file)), face.differs(), []
    with Rig() as rig:
        for row, both in zip(rows, rig.all(rows, face), strict=True):
            if (both.verdict(row) == "differs") != (row.name in exceptions):
                faults.append(f"{row.name}: {shlex.join(row.command)}")
                faults += difflib.ndiff(both.wanted(row), both.pync) if row.name not in exceptions else ["agrees now"]
    assert not faults, "\n".join(["", *faults])


# -- Printing the table ------------------------------------------------------------------------------------------


def main() -> None:
    """Play the rows of a face and print which of them agree."""
    parser = argparse.ArgumentParser(description="Play the rows of the differential table, and print which agree.")
    parser.add_argument("face", nargs="*", default=list(FACES), help="openbsd, traditional")
    parser.add_argument("-k", "--only", default="", metavar="TEXT", help="rows with this in their names")
    parser.add_argument("-j", "--slots", type=int, default=6, metavar="N", help="so many at the same time")
    parser.add_argument("-d", "--details", action="store_true", help="print the transcripts of those that differ")
    parser.add_argument("-a", "--all", action="store_true", help="print all transcripts")
    parser.add_argument("-w", "--write", action="store_true", help="write the list of the rows that differ")
    parser.add_argument("--against-itself", action="store_true", help="the original on both sides: a test of the rig")
    given = parser.parse_args()
    for face in map(FACES.__getitem__, given.face):
        rows = [row for row in face.rows() if given.only in row.name]
        _print_table(face, rows, given)


def _print_table(face: Face, rows: Sequence[Row], given: argparse.Namespace) -> None:
    found, reasons = Counter[str](), face.differs()
    differs = []
    with Rig(given.slots) as rig:
        for row, both in zip(rows, rig.all(rows, face, against_itself=given.against_itself), strict=True):
            verdict = both.verdict(row._replace(trap="") if given.against_itself else row)
            found[verdict] += 1
            print(f"{verdict:7}  {face.name}: {row.name}", flush=True)
            if verdict == "differs":
                differs.append(f"{row.name}: {reasons.get(row.name, 'not looked at')}\n")
            if given.all or (given.details and verdict == "differs"):
                print("\n".join([f"    {shlex.join(row.command)}", *difflib.ndiff(both.wanted(row), both.pync), ""]))
    if given.write:
        face.exceptions.write_text("".join(differs))
    print(f"{face.name}: {len(rows)} rows, " + ", ".join(f"{count} {what}" for what, count in sorted(found.items())))


if __name__ == "__main__":
    main()
