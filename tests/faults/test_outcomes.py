"""The judge of tests/faults (`tests/support/outcomes.py`), and the table that scripts/faults makes of its verdicts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import run
from outcomes import (
    BUSY,
    COUNTED,
    CRASHES,
    DAMAGED,
    ENDS,
    FAILS,
    HANGS,
    HELD,
    LEFT,
    MISCOUNTED,
    MISSING,
    REPORTED,
    SILENT,
    STATUS,
    UNCOUNTED,
    WHOLE,
    Law,
    Outcome,
    flow,
    verdict,
)

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "lib" / "faults.py"
ALL, HALF, OTHER = flow(b"12345678", b"12345678"), flow(b"12345678", b"1234"), flow(b"12345678", b"1235")
TRACEBACK = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("law", "outcome", "expected"),
    [
        (WHOLE, Outcome(0, flows=(ALL,)), HELD),
        (WHOLE, Outcome(0, flows=(ALL, HALF)), SILENT),
        (WHOLE, Outcome(1, "4 bytes were not sent", (HALF,)), MISSING),
        (WHOLE, Outcome(1, flows=(ALL,)), STATUS),
        (WHOLE, Outcome(0, flows=(OTHER,)), DAMAGED),
        (WHOLE, Outcome(None, flows=(ALL,)), HANGS),
        (WHOLE, Outcome(0, flows=(ALL,), left=("a child",)), LEFT),
        (WHOLE, Outcome(0, busy=0.9), BUSY),
        (COUNTED, Outcome(1, "4 bytes were not sent", (HALF,)), HELD),
        (COUNTED, Outcome(1, "1 byte was not sent", (HALF,)), HELD),
        (COUNTED, Outcome(1, "5 bytes were not sent", (HALF,)), MISCOUNTED),
        (COUNTED, Outcome(1, "0 bytes were not sent", (HALF,)), MISCOUNTED),
        (COUNTED, Outcome(1, "Connection reset", (HALF,)), UNCOUNTED),
        (COUNTED, Outcome(0, "4 bytes were not sent", (HALF,)), SILENT),
        (REPORTED, Outcome(1, "Connection reset", (HALF,)), HELD),
        (REPORTED, Outcome(1, "", (HALF,)), UNCOUNTED),
        (REPORTED, Outcome(141, "", (HALF,)), HELD),
        (REPORTED, Outcome(1, TRACEBACK, (HALF,)), CRASHES),
        (REPORTED, Outcome(139, "", (HALF,)), CRASHES),
        (FAILS, Outcome(0), STATUS),
        (FAILS, Outcome(3), HELD),
        (ENDS, Outcome(1, "", (HALF,)), HELD),
        (Law((143,)), Outcome(143), HELD),
        (Law((143,)), Outcome(0), STATUS),
    ],
)
def test_the_judge_applies_the_law(law: Law, outcome: Outcome, expected: str) -> None:
    assert verdict(law, outcome) == expected


def test_the_script_counts_and_lists_the_verdicts() -> None:
    result = run(
        [sys.executable, "-I", str(SCRIPT), "--tool", "pync", "--only", "^Descriptors of a client: none closed"]
    )
    assert (result.status, result.err) == (0, "")
    page = result.out.decode()
    assert "| **held, of those that the tool can be asked** | **1 of 1** |\n" in page
    assert "## Descriptors of a client\n\n| case | pync |\n| --- | --- |\n| none closed | held |\n" in page


def test_the_script_writes_only_a_whole_table() -> None:
    result = run([sys.executable, "-I", str(SCRIPT), "--write", "--tool", "pync"])
    assert (result.status, result.out) == (2, b"")
    assert result.err.endswith("--write is for all cases and all tools\n")
