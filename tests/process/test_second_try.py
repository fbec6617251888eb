"""The plugin of scripts/test that names the tests which passed only at their second try, in a pytest of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import UNMEASURED, Result, run

SUPPORT = Path(__file__).parent.parent / "support"
VERSION = "{}.{}".format(*sys.version_info)

TESTS = {
    "test_flaky": """
        from pathlib import Path
        import pytest

        def test_steady(): pass

        @pytest.mark.parametrize("word", ["one", "two words"])
        def test_flaky(word):
            tried = Path(word)
            first = not tried.exists()
            tried.touch()
            assert not first

        def test_skipped(): pytest.skip("not here")
        """,
    "test_broken": """
        def test_broken(): assert False
        """,
    # The first try of test_flaky fails while test_long is at work in the other worker. A second try that began at once
    # would find it there: test_long is at work for another half second.
    "test_alone": """
        import time
        from pathlib import Path

        first, busy = Path("first"), Path("busy")

        def wait_for(path):
            while not path.exists(): time.sleep(0.01)

        def test_flaky():
            if first.exists():
                assert not busy.exists()
            else:
                wait_for(busy)
                first.touch()
                assert False

        def test_long():
            busy.touch()
            wait_for(first)
            time.sleep(0.5)
            busy.unlink()
        """,
    "test_hanging": """
        import time
        from pathlib import Path

        def test_hanging():
            tried = Path("tried")
            if tried.exists(): time.sleep(60)
            tried.touch()
            assert False
        """,
}


def try_twice(folder: Path, *modules: str, options: tuple[str, ...] = ()) -> tuple[Result, list[str]]:
    """Run pytest with the plugin on some of TESTS: its result, and the names in its file."""
    for module in modules:
        lines = TESTS[module].strip("\n").splitlines()
        (folder / f"{module}.py").write_text("\n".join(line.removeprefix(8 * " ") for line in lines))
    plugin = ["-p", "second_try", "--reruns", "1", "--second-tries", "names"]
    words = [*plugin, *options, *(f"{module}.py" for module in modules)]
    plain = {name: value for name, value in UNMEASURED.items() if not name.startswith("PYTEST_")}
    environment = {**plain, "PYTHONPATH": str(SUPPORT), "PYTEST_ADDOPTS": "-p no:cacheprovider -W error"}
    result = run([sys.executable, "-m", "pytest", *words], cwd=folder, env=environment, timeout=50)
    names = folder / "names"
    return result, names.read_text().splitlines() if names.exists() else []


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["in one process", "with xdist"])
def test_what_passes_at_the_second_try_is_named_after_the_names_of_earlier_runs_and_does_not_fail_the_run(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "names").write_text("an earlier one\n")
    result, names = try_twice(tmp_path, "test_flaky", options=options)
    assert result.status == 0, result.out.decode() + result.err
    flaky = [f"test_flaky.py::test_flaky[{word}] (Python {VERSION})" for word in ("one", "two words")]
    assert names[0] == "an earlier one"
    assert sorted(names[1:]) == flaky


def test_what_fails_or_hangs_at_the_second_try_fails_the_run_and_is_not_named(tmp_path: Path) -> None:
    result, names = try_twice(tmp_path, "test_broken", "test_hanging", options=("--timeout", "0.5"))
    assert result.status == 1
    assert b"FAILED test_broken.py::test_broken" in result.out
    assert b"FAILED test_hanging.py::test_hanging - Failed: Timeout" in result.out
    assert names == []


def test_a_second_try_waits_until_no_other_test_runs(tmp_path: Path) -> None:
    result, names = try_twice(tmp_path, "test_alone", options=("-n", "2"))
    assert result.status == 0, result.out.decode() + result.err
    assert names == [f"test_alone.py::test_flaky (Python {VERSION})"]
