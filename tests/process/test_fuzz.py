"""scripts/fuzz: an input with which a parser fails is found and shown, and the parsers fail with none of a few."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from harness import UNMEASURED, run

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "scripts" / "lib"))

from fuzz import Target, engines  # noqa: E402 (found by the line above)

FUZZ = [sys.executable, "-I", str(ROOT / "scripts" / "lib" / "fuzz")]


def planted(data: bytes) -> None:
    assert b"ed" not in data


# Where Atheris has no wheel, scripts/fuzz searches without it.
ENGINES = ["search_unguided", *["search_guided"] * bool(importlib.util.find_spec("atheris"))]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failing_input_is_found_and_kept(engine: str, tmp_path: Path) -> None:
    words = "import sys, test_fuzz; test_fuzz.search_planted(*sys.argv[1:])"
    environment = UNMEASURED | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    ended = subprocess.run(
        [sys.executable, "-c", words, engine, str(tmp_path)],
        cwd=Path(__file__).parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=50,
    )
    found = engines.finding(ended.stderr.decode() + ended.stdout.decode(), tmp_path)
    assert ended.returncode != 0 and found.inputs > 1
    assert found.failing is not None and b"ed" in found.failing


def search_planted(engine: str, folder: str) -> None:
    """What the process of the test above does."""
    engines.targets = lambda: {"planted": Target(planted, [b"seed"[:3], b"d"])}
    getattr(engines, engine)("planted", 20, 1, Path(folder))


def test_the_parsers_are_tried_and_a_table_shows_how_often() -> None:
    ended = run([*FUZZ, "0.001", "--engine", "hypothesis", "--target", "hosts", "--target", "chat"], env=UNMEASURED)
    assert ended.status == 0, ended
    lines = [line.split() for line in ended.out.decode().splitlines()]
    assert [(line[0], line[3:]) for line in lines[2:4]] == [
        ("hosts", ["no", "failure"]),
        ("chat", ["no", "failure"]),
    ]


def test_an_input_is_tried_again_by_itself() -> None:
    assert run([*FUZZ, "--target", "telnet", "--input", "00fffa"], env=UNMEASURED).status == 0
