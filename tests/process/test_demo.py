"""scripts/demo plays the examples of the README: what they promise has to come true, and nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import PYNC, require, run

DEMO = str(Path(__file__).parent.parent.parent / "scripts" / "demo")


@pytest.mark.timeout(150)
def test_every_scene_comes_true_and_leaves_nothing_behind(tmp_path: Path) -> None:
    require("bash", "nc.openbsd", "curl")
    result = run([DEMO], timeout=120, env={**os.environ, "PYNC": PYNC[0], "TMPDIR": str(tmp_path)})
    assert result.status == 0, result.out.decode() + result.err
    output = result.out.decode().split("\n    ")
    for line in "HELLO WORLD", "GOOD MORNING", "CLIENT 0", "(no answer within 2 s: tr fills a block before it writes)":
        assert line in output
    assert output[-1].endswith("\nscripts/demo: all as said\n")
    assert result.err == ""
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_come_true_is_a_failure_that_leaves_nothing_behind(tmp_path: Path) -> None:
    require("bash")
    result = run([DEMO], timeout=30, env={**os.environ, "PYNC": "echo", "TMPDIR": str(tmp_path)})
    assert result.status == 1
    assert "FAILED" in result.out.decode()
    assert list(tmp_path.iterdir()) == []
