"""A pytest plugin of scripts/test: which tests passed only at their second try, and what a second try is granted.

pytest-rerunfailures (`--reruns 1`) runs a test that has failed once more, at once and in the same worker, and a test
that passes then does not fail the run. With `--second-tries FILE` this plugin adds three things to that:

1. The names of the tests that passed only at the second try are appended to FILE, one a line with the version of
   Python. scripts/test repeats them in its last line.
2. A second try begins when no other worker runs a test, and no other test begins before it has ended. The tests deal
   with real processes in real time, and a busy machine is the most frequent reason for a failure that does not repeat.
3. A second try has the whole time limit of its test again. pytest-timeout sets one timer for all tries of a test, and
   the first failure cancels it.

It must never change the outcome of a test, nor do anything without its option.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

TIMER: pytest.StashKey[object] = pytest.StashKey()  # the settings with which pytest-timeout has set the timer of a test


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --second-tries."""
    text = "append the names of the tests that passed only at the second try to FILE (with --reruns 1)"
    parser.getgroup("rerunfailures").addoption("--second-tries", metavar="FILE", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to work if the option is there. The process that starts the workers of xdist collects the names."""
    if file := config.getoption("second_tries"):
        config.pluginmanager.register(Turns(Path(file).absolute()))
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(Names(Path(file).absolute()))


class Names:
    """Collects the names."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._repeated: dict[str, None] = {}  # a set that keeps the order
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what has failed once, and what has failed for good."""
        if str(report.outcome) == "rerun":  # a fourth outcome, which pytest-rerunfailures has added
            self._repeated[report.nodeid] = None
        elif report.failed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write the names."""
        version = "{}.{}".format(*sys.version_info)
        with self._file.open("a") as file:
            file.writelines(f"{name} (Python {version})\n" for name in self._repeated if name not in self._failed)


class Turns:
    """Lets first tries run beside each other, and second tries alone: the workers share two locks.

    A test holds the lock of the room while it runs, a first try shared with others. Before it takes that lock it
    passes the gate, one test at a time. A second try keeps the gate shut until it has the room, so that it does not
    wait for ever while others come and go.
    """

    def __init__(self, file: Path) -> None:
        self._gate, self._room = (
            os.open(file.with_name(f"{file.name}.{name}"), os.O_RDWR | os.O_CREAT, 0o600) for name in ("gate", "room")
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Around all tries of a test."""
        self._enter(fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """At the beginning of each try."""
        if getattr(item, "execution_count", 1) > 1:
            self._enter(fcntl.LOCK_EX)
            if TIMER in item.stash:
                item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[TIMER])

    @pytest.hookimpl(wrapper=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: object) -> Generator[None, object, object]:
        """Keep the settings, for a second try."""
        item.stash[TIMER] = settings
        return (yield)

    def _enter(self, mode: int) -> None:
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, mode)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
