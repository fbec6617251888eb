"""pync's own command line at work: what a run reports, how it ends, and the process around it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from harness import Result, run

from pync import cli
from pync.errors import (
    BindError,
    ConnectError,
    OutputError,
    PeerLost,
    ProgramError,
    TimedOut,
    UsageError,
)
from pync.events import Address, ConnectFailed
from pync.faces import print_line, print_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.config import Config
    from pync.errors import PyncError
    from pync.events import Event, Report, Wants

    RunFace = Callable[..., "Ended"]

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

WEB = Address(host="127.0.0.1", port=80)
REFUSED = ConnectFailed(host="h", address=WEB, transport="tcp", why="Connection refused")
EXHAUSTED = ConnectError("connect to h port 80 (tcp) failed", "Connection refused")
TIMEOUT = TimedOut("connect to h port 80 (tcp)", "timed out")


# -- A run with an engine that does as the test says -----------------------------------------------------------------


class Ended(NamedTuple):
    """What came of a run of the face."""

    status: int
    err: str


@pytest.fixture
def run_face(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunFace:
    """Runs the face with an engine that reports `events` and then ends, by the error or with the outcome."""

    def go(argv: Sequence[str], *events: Event, error: PyncError | None = None, **outcome: object) -> Ended:
        def engine(config: Config, report: Report, wants: Wants) -> object:
            for event in events:
                report(event)
            if error:
                raise error
            return SimpleNamespace(**{"opened": True, "child_status": None, **outcome})

        module = ModuleType("pync.engine")
        vars(module)["run"] = engine
        monkeypatch.setitem(sys.modules, "pync.engine", module)
        status = cli.main(list(argv))
        return Ended(status, capfd.readouterr().err)

    return go


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({}, 0),
        ({"opened": False}, 1),
        ({"child_status": 0}, 0),
        ({"child_status": 3}, 3),
        ({"child_status": 143}, 143),
        ({"child_status": 0, "opened": False}, 0),
    ],
)
def test_a_run_that_comes_to_its_end_has_the_status(outcome: dict[str, object], status: int, run_face: RunFace) -> None:
    assert run_face(["h", "1"], **outcome) == Ended(status, err="")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TIMEOUT, 124),
        (ProgramError("cat", "Permission denied", found=True), 126),
        (ProgramError("cat", "No such file or directory", found=False), 127),
        (EXHAUSTED, 1),
        (BindError("listen on port 1", "Permission denied"), 1),
        (OutputError("writing stdout", "No space left on device"), 1),
    ],
)
def test_a_run_that_fails_reports_it_in_one_line_and_has_the_status(
    error: PyncError, status: int, run_face: RunFace
) -> None:
    assert run_face(["h", "1"], error=error) == Ended(status, err=f"pync: {error}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "missing host and port: as in 'pync localhost 8080', or 'pync -l 8080' to listen"),
        ("-Z h 80", "-Z: no such option; there is no DCCP"),
        ("-w -1 h 80", "-w, --wait TIME: too small: -1"),
        ("-lz 80", "-z with -l: a listener connects to nobody"),
        ("--ssl -u h 80", "-u with --ssl: TLS needs a stream"),
    ],
)
def test_a_usage_error_has_a_hint(line: str, message: str, run_face: RunFace) -> None:
    assert run_face(line.split()) == Ended(2, err=f"pync: {message}\nTry 'pync --help'.\n")


def test_a_usage_error_that_the_engine_raises_has_the_hint_too(run_face: RunFace) -> None:
    error = UsageError("--allow 300.1.1.1", "not an address")
    assert run_face(["h", "1"], error=error) == Ended(2, err=f"pync: {error}\nTry 'pync --help'.\n")


FAILED = "pync: connect to h (127.0.0.1) port 80 (tcp) failed: Connection refused\n"


def test_a_refused_connection_is_one_line_without_v_and_one_for_each_address_with_it(run_face: RunFace) -> None:
    assert run_face(["h", "1"], REFUSED, REFUSED, error=EXHAUSTED) == Ended(1, err=f"pync: {EXHAUSTED}\n")
    assert run_face(["-v", "h", "1"], REFUSED, REFUSED, error=EXHAUSTED) == Ended(1, err=2 * FAILED)


@pytest.mark.parametrize(
    "error",
    [ConnectError("set ttl to 5", "Operation not permitted"), PeerLost("to h", "Connection refused"), TIMEOUT],
)
def test_an_error_that_is_not_the_failure_reported_before_is_reported(error: PyncError, run_face: RunFace) -> None:
    assert run_face(["-v", "h", "1"], REFUSED, error=error).err == f"{FAILED}pync: {error}\n"


def test_the_minimum_ttl_of_a_listener_is_remarked_on_because_it_may_be_meant_as_ncats(run_face: RunFace) -> None:
    note = "pync: note: -m is the minimum TTL here; Ncat's -m N is --max-conns N\n"
    assert run_face(["-lk", "-m", "5", "80"]) == Ended(0, err=note)
    assert run_face(["-m", "5", "h", "80"]) == Ended(0, err="")


def test_a_bug_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pync.engine", ModuleType("pync.engine"))
    with pytest.raises(ImportError):
        cli.main(["h", "1"])


def test_a_line_that_stderr_does_not_take_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def refuse(fd: int, data: bytes) -> int:
        written.append(data)
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", refuse)
    print_line("a line")
    assert written == [b"a line\n"]


def test_lines_that_belong_together_are_one_message_with_nothing_harmful_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []

    def write(fd: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    print_lines(["Traceback:", "  an escape: \x1b[2J"])
    assert written == [b"Traceback:\n  an escape: \\x1b[2J\n"]


# -- The process ---------------------------------------------------------------------------------------------------


def pync(*argv: str, shell: str = "", env: dict[str, str] | None = None) -> Result:
    """Run `python -m pync`; `shell` is put behind it: redirections and more, by /bin/sh."""
    line = [sys.executable, "-m", "pync", *argv]
    if shell:
        line = ["/bin/sh", "-c", f'"$@" {shell}', "sh", *line]
    return run(line, env={**ENVIRONMENT, **(env or {})})


def with_engine(end: str) -> list[str]:
    """A Python that runs pync with an engine whose only statement is `end`."""
    script = f"""if True:
        import signal, sys, types
        from pync.cli import main
        from pync.errors import *
        engine = sys.modules["pync.engine"] = types.ModuleType("pync.engine")
        def run(config, report, wants):
            {end}
        engine.run = run
        main(["h", "1"])
    """
    return [sys.executable, "-c", script]


def test_help_is_on_stdout() -> None:
    result = pync("--help")
    assert result.status == 0
    assert result.err == ""
    assert result.out.startswith(b"Usage: pync [OPTION]... HOST PORT...\n")
    assert b"--tos" not in result.out
    assert result.out.endswith(b"'man pync' explains them all.\n")
    assert len(result.out.splitlines()) < 120


def test_help_all_has_the_rare_options_too() -> None:
    result = pync("--help", "all")
    assert result.status == 0
    assert b"  -T, --tos TOS " in result.out


@pytest.mark.parametrize("argv", [["--version"], ["-k", "--vers"], ["-w", "soon", "-z", "-l", "--version"]])
def test_version_is_on_stdout_and_overrules_all_that_is_wrong(argv: list[str]) -> None:
    assert pync(*argv) == Result(status=0, out=b"pync 0.1.0\n", err="")


def test_a_usage_error_ends_with_2_and_leaves_stdout_empty() -> None:
    result = pync("-k", "h", "1")
    assert result.status == 2
    assert result.out == b""


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_stderr_that_takes_nothing_changes_nothing(closed: str) -> None:
    assert pync("-k", "h", "1", shell=closed) == Result(status=2, out=b"", err="")


def test_a_full_stdout_is_an_error() -> None:
    full = "pync: writing stdout: No space left on device\n"
    assert pync("--help", shell=">/dev/full") == Result(status=1, out=b"", err=full)


def test_a_stdout_whose_reader_has_closed_is_a_quiet_end_by_sigpipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread:
        result = run([sys.executable, "-m", "pync", "--help"], env=ENVIRONMENT, stdout=unread)
    assert result.status == 128 + signal.SIGPIPE
    assert result.err == ""


@pytest.mark.parametrize(
    ("end", "signum"),
    [
        ("raise Interrupted(signal.SIGINT)", signal.SIGINT),
        ("raise Interrupted(signal.SIGTERM)", signal.SIGTERM),
        ("raise Interrupted(signal.SIGHUP)", signal.SIGHUP),
        ("raise OutputClosed('writing stdout', 'Broken pipe')", signal.SIGPIPE),
        ("raise KeyboardInterrupt", signal.SIGINT),
    ],
)
def test_a_run_that_a_signal_stops_ends_by_that_signal_and_reports_nothing(end: str, signum: int) -> None:
    command = with_engine(end)
    assert run(command, env=ENVIRONMENT) == Result(status=128 + signum, out=b"", err="")
    in_a_shell = run(["/bin/sh", "-c", '"$@" 2>/dev/null; echo $?', "sh", *command], env=ENVIRONMENT)
    assert in_a_shell.out == b"%d\n" % (128 + signum)


def test_a_process_that_survives_its_signal_still_has_the_status() -> None:
    block = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); raise Interrupted(signal.SIGTERM)"
    assert run(with_engine(block), env=ENVIRONMENT) == Result(status=143, out=b"", err="")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_completion_for(shell: str) -> None:
    result = pync(env={"_PYNC_COMPLETE": f"{shell}_source"})
    assert result.status == 0
    assert f"_PYNC_COMPLETE={shell}_complete".encode() in result.out


def test_a_file_name_is_completed_as_one() -> None:
    line = {"_PYNC_COMPLETE": "bash_complete", "COMP_WORDS": "pync -l --hex-dump x", "COMP_CWORD": "3"}
    assert pync(env=line) == Result(status=0, out=b"file,x\n", err="")
