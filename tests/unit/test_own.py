"""pync's own face: what a command line asks for, what is refused, what is said, and how the process ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from harness import run

from pync import cli
from pync.config import Access, Config, Ending, Logs, Program, SocketOptions
from pync.errors import (
    BindError,
    ConnectError,
    OutputError,
    PeerLost,
    ProgramError,
    TimedOut,
    UsageError,
)
from pync.events import (
    Accepted,
    Address,
    Connected,
    ConnectFailed,
    Denied,
    Event,
    Listening,
    OutOfDescriptors,
    Retrying,
    SessionFailed,
)
from pync.faces import print_line
from pync.faces.native.config import config
from pync.faces.native.messages import Messages
from pync.faces.native.options import HINTS, TABLE
from pync.faces.option_table import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness import Result

    from pync.errors import PyncError
    from pync.events import Report, Wants

    Face = Callable[..., tuple[int, str]]

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def asked(argv: Sequence[str]) -> Config:
    return config(*read(TABLE, list(argv), HINTS))


# -- From the command line to Config -------------------------------------------------------------------------------

CONNECT = Config(mode="connect", host="h", ports=(1,))
LISTEN = Config(mode="listen", ports=(8080,))
SERVE = LISTEN.but(keep_open=True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("h 1", CONNECT),
        ("h 1 3-5 9-8", CONNECT.but(ports=(1, 3, 4, 5, 8, 9))),
        ("h http 443", CONNECT.but(ports=(80, 443))),
        ("-u h tftp", CONNECT.but(datagram=True, ports=(69,))),
        ("0 1", CONNECT.but(host="0")),
        ("-4 h 1", CONNECT.but(family="ipv4")),
        ("-4 --ipv6 h 1", CONNECT.but(family="ipv6")),
        ("-U -4 h 1", CONNECT.but(family="ipv4")),
        ("-n h 1", CONNECT.but(numeric=True)),
        ("-p 7 -s a h 1", CONNECT.but(source_port=7, source_host="a")),
        ("-p 0 h 1", CONNECT.but(source_port=0)),
        ("-up tftp h 1", CONNECT.but(datagram=True, source_port=69)),
        ("-z h 1-3", CONNECT.but(mode="scan", ports=(1, 2, 3))),
        ("-z --retry 3 h 1", CONNECT.but(mode="scan", retry=3)),
        ("-zr h 1", CONNECT.but(mode="scan", shuffle=True)),
        ("-vv h 1", CONNECT.but(verbosity=2)),
        ("-l 8080", LISTEN),
        ("-l 0", LISTEN.but(ports=(0,))),
        ("-l http-alt", LISTEN),
        ("-ul tftp", LISTEN.but(datagram=True, ports=(69,))),
        ("-l h 8080", LISTEN.but(host="h")),
        ("-l 0 8080", LISTEN.but(host="0")),
        ("-l -p 8080", LISTEN),
        ("-l -p 8080 h", LISTEN.but(host="h")),
        ("-l h -p 8080", LISTEN.but(host="h")),
        ("-l -p 8080 -s h", LISTEN.but(host="h")),
        ("-l -s h 8080", LISTEN.but(host="h")),
        ("-U p", Config(mode="connect", family="unix", host="p")),
        ("-lU @p", Config(mode="listen", family="unix", host="@p")),
        ("-uU p", Config(mode="connect", family="unix", datagram=True, host="p")),
        ("-uUs own p", Config(mode="connect", family="unix", datagram=True, host="p", source_host="own")),
        ("-luU p", Config(mode="listen", family="unix", datagram=True, host="p")),
        ("-zU p", Config(mode="scan", family="unix", host="p")),
        ("-lk 8080", SERVE),
        ("-lk --max-conns 3 8080", SERVE.but(max_conns=3)),
        (
            "-lk --allow a,b --allow c --deny d --allowfile e --denyfile f --denyfile g 8080",
            SERVE.but(
                access=Access(allow=("a", "b", "c"), deny=("d",), allow_files=("e",), deny_files=("f", "g")),
            ),
        ),
        ("-l --user u:g 8080", LISTEN.but(user="u:g")),
        ("-l --http 8080", LISTEN.but(http=True)),
        ("-lU --http p", Config(mode="listen", family="unix", host="p", http=True)),
        ("-c cat -l 8080", LISTEN.but(program=Program(argv=("/bin/sh", "-c", "cat")))),
        ("-e cat -d h 1", CONNECT.but(program=Program(argv=("cat",)), send=False)),
        ("--filter cat h 1", CONNECT.but(program=Program(argv=("/bin/sh", "-c", "cat"), filters=True))),
        ("-d h 1", CONNECT.but(send=False)),
        ("--recv-only h 1", CONNECT.but(send=False)),
        ("--send-only h 1", CONNECT.but(receive=False)),
        ("-Ct h 1", CONNECT.but(crlf=True, telnet=True)),
        ("-i 1.5 --delay 20ms h 1", CONNECT.but(pace=1.5, delay=0.02)),
        ("-i 0 --delay 0 --retry 0 h 1", CONNECT),
        ("-o f h 1", CONNECT.but(logs=Logs(raw="f"))),
        ("--hex-dump f --append-output h 1", CONNECT.but(logs=Logs(hexadecimal="f", append=True))),
        ("-N h 1", CONNECT.but(ending=Ending(at_once=True))),
        ("--no-shutdown h 1", CONNECT.but(ending=Ending(half_close=False))),
        ("-q 0 h 1", CONNECT.but(ending=Ending(quit_after=0))),
        ("-q -1 h 1", CONNECT),
        ("-q 5 -W 2 h 1", CONNECT.but(ending=Ending(quit_after=5, receive_limit=2))),
        ("-w 300 h 1", CONNECT.but(connect_timeout=300, ending=Ending(idle_timeout=300))),
        ("-w 0 h 1", CONNECT),
        ("-w 5 --idle-timeout 0 h 1", CONNECT.but(connect_timeout=5)),
        ("--connect-timeout 1m -w 5 h 1", CONNECT.but(connect_timeout=60, ending=Ending(idle_timeout=5))),
        ("--idle-timeout 1 --retry 2 h 1", CONNECT.but(retry=2, ending=Ending(idle_timeout=1))),
        ("-bD --tcp-keepalive h 1", CONNECT.but(socket=SocketOptions(broadcast=True, debug=True, keepalive=True))),
        ("-I 1 -O 2 -T ef h 1", CONNECT.but(socket=SocketOptions(receive_buffer=1, send_buffer=2, tos=0xB8))),
        ("-M 3 -m 4 h 1", CONNECT.but(socket=SocketOptions(ttl=3, min_ttl=4))),
    ],
)
def test_a_command_line_asks_for(line: str, expected: Config) -> None:
    assert asked(line.split()) == expected


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "missing host and port: as in 'pync localhost 8080', or 'pync -l 8080' to listen"),
        ("8080", "missing host: 'pync HOST 8080' connects to a port, 'pync -l 8080' listens on it"),
        ("h", "missing port: as in 'pync h 80'"),
        ("h 0", "port: too small: 0"),
        ("h 65536", "port: too large: 65536"),
        ("h 80 nosuch", "port: invalid: nosuch"),
        ("-p nosuch h 80", "source port: invalid: nosuch"),
        ("8080 80", "host 8080: a mere number is no host"),
        ("-d 2 h 80", "host 2: a mere number is no host; Ncat's -d TIME is --delay TIME"),
        ("-s 7 h 80", "host 7: a mere number is no host"),
        ("-l", "missing port: as in 'pync -l 8080'"),
        ("-l -s h", "missing port: as in 'pync -l 8080'"),
        ("-l 70000", "port: too large: 70000"),
        ("-l 10-20", "port: invalid: 10-20"),
        ("-l 8080 h", "host 8080: a mere number is no host"),
        ("-l 80 81", "host 80: a mere number is no host"),
        ("-l -p 80 81", "two ports, 80 and 81: a listener has one"),
        ("-l -p 80 h 81", "two ports, 80 and 81: a listener has one"),
        ("-l -s a h 80", "two addresses, a and h: a listener has one; -s is the other way to name it"),
        ("-l a b 80", "operand b: a listener takes [HOST] PORT"),
        ("-U", "missing path: name the unix socket"),
        ("-lU", "missing path: name the unix socket"),
        ("-U p 80", "operand 80: -U takes a path and nothing else"),
        ("-U -p 80 p", "-p with -U: a unix socket has no port"),
        ("-U -s own p", "-s with -U: only a datagram socket that connects has a path of its own; add -u"),
        ("-luU -s own p", "-s with -U: only a datagram socket that connects has a path of its own; add -u"),
        ("-k h 80", "-k without -l: only a listener has clients; TCP keep-alive is --tcp-keepalive"),
        ("--max-conns 1 h 80", "--max-conns without -l: only a listener has clients"),
        ("--allow a h 80", "--allow without -l: only a listener has clients"),
        ("--allowfile a h 80", "--allowfile without -l: only a listener has clients"),
        ("--deny a h 80", "--deny without -l: only a listener has clients"),
        ("--denyfile a h 80", "--denyfile without -l: only a listener has clients"),
        ("--user u h 80", "--user without -l: only a listener has clients"),
        ("--http h 80", "--http without -l: only a listener has clients"),
        ("-lz 80", "-z with -l: a listener connects to nobody"),
        ("-lr 80", "-r with -l: a listener connects to nobody"),
        ("-l --retry 1 80", "--retry with -l: a listener connects to nobody"),
        ("-l --connect-timeout 1 80", "--connect-timeout with -l: a listener connects to nobody"),
        ("-z -e a h 80", "-e with -z: a scan transfers nothing"),
        ("-z -c a h 80", "-c with -z: a scan transfers nothing"),
        ("-z --filter a h 80", "--filter with -z: a scan transfers nothing"),
        ("-e a -c b h 80", "-c with -e: the program has the connection for itself"),
        ("-e a --filter b h 80", "--filter with -e: the program has the connection for itself"),
        ("-c a --filter b h 80", "--filter with -c: the program has the connection for itself"),
        ("-l -e a --http 80", "--http with -e: the program has the connection for itself"),
        ("-c a --recv-only h 80", "--recv-only with -c: the program has the connection for itself"),
        ("--filter a --send-only h 80", "--send-only with --filter: the filter has both directions for itself"),
        ("--send-only --recv-only h 80", "--recv-only with --send-only: nothing would be left to do"),
        ("--send-only -d h 80", "-d with --send-only: nothing would be left to do"),
        ("-N --no-shutdown h 80", "--no-shutdown with -N: one half-closes, the other never does"),
        ("-lu --http 80", "-u with --http: HTTP needs a stream"),
        ("--append-output h 80", "--append-output alone: there is no log to append to; add -o or --hex-dump"),
        ("-V 1 h 80", "-V N: there are no routing tables to choose from"),
        ("-w -1 h 80", "-w, --wait TIME: too small: -1"),
        ("-W 0 h 80", "-W, --receive-limit N: too small: 0"),
        ("-Z h 80", "-Z: no such option; there is no DCCP"),
    ],
)
def test_a_command_line_is_refused(line: str, error: str, face: Face) -> None:
    with pytest.raises(UsageError) as caught:
        asked(line.split())
    assert str(caught.value) == error
    assert face(line.split()) == (2, f"pync: {error}\nTry 'pync --help'.\n")


@pytest.mark.parametrize("argv", [["", "80"], ["-s", "", "h", "80"], ["-l", "", "80"], ["-U", ""], ["-uUs", "", "p"]])
def test_an_empty_host_or_path_is_refused(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="^empty host|empty file name$"):
        asked(argv)


# -- From events to words ------------------------------------------------------------------------------------------

WEB = Address(host="127.0.0.1", port=80)
REFUSED = ConnectFailed(host="h", address=WEB, transport="tcp", why="Connection refused")
LATE = REFUSED.but(why="Connection timed out", timed_out=True)
OPEN = Connected(host="127.0.0.1", address=WEB, transport="tcp")
UNIX = CONNECT.but(family="unix", host="p", ports=())
SPENT = ConnectError("connect to h port 80 (tcp) failed", "Connection refused")
TIMEOUT = TimedOut("connect to h port 80 (tcp)", "timed out")


@pytest.mark.parametrize(
    ("event", "verbosity", "line"),
    [
        (Listening(address=Address(host="0.0.0.0", port=8080), transport="tcp"), 1, "Listening on 0.0.0.0 8080"),
        (Listening(address=Address(host="::", port=8080), transport="tcp"), 1, "Listening on :: 8080"),
        (Accepted(peer=Address(host="127.0.0.1", port=4), transport="tcp"), 1, "Connection received on 127.0.0.1 4"),
        (OPEN, 1, "Connection to 127.0.0.1 80 port [tcp/http] succeeded!"),
        (OPEN.but(host="localhost"), 1, "Connection to localhost (127.0.0.1) 80 port [tcp/http] succeeded!"),
        (OPEN.but(address=WEB.but(port=1023)), 1, "Connection to 127.0.0.1 1023 port [tcp/*] succeeded!"),
        (
            OPEN.but(address=WEB.but(port=69), transport="udp"),
            1,
            "Connection to 127.0.0.1 69 port [udp/tftp] succeeded!",
        ),
        (REFUSED, 1, "pync: connect to h (127.0.0.1) port 80 (tcp) failed: Connection refused"),
        (
            REFUSED.but(host="127.0.0.1"),
            1,
            "pync: connect to 127.0.0.1 port 80 (tcp) failed: Connection refused",
        ),
        (LATE, 1, "pync: connect to h (127.0.0.1) port 80 (tcp) timed out"),
        (Denied(peer=WEB, why="not allowed"), 1, "pync: connection from 127.0.0.1 80 denied: not allowed"),
        (
            SessionFailed(peer=WEB, error=PeerLost("to h", "reset", unsent=2)),
            0,
            "pync: to h: reset, 2 bytes were not sent",
        ),
        (OutOfDescriptors(why="Too many open files"), 0, "pync: accepting clients pauses: Too many open files"),
        (Retrying(error=SPENT, pause=0.5), 2, f"pync: {SPENT}; the next attempt is in 0.5 s"),
    ],
)
def test_an_event_is_said_from_its_verbosity_on(
    event: Event, verbosity: int, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for given in range(4):
        Messages(CONNECT.but(verbosity=given)).report(event)
        assert capfd.readouterr() == ("", f"{line}\n" if given >= verbosity else "")


@pytest.mark.parametrize(
    ("run_config", "event", "line"),
    [
        (LISTEN.but(datagram=True), Listening(address=WEB, transport="udp"), "Bound on 127.0.0.1 80"),
        (UNIX, Listening(address=Address(host="p"), transport="unix"), "Listening on p"),
        (UNIX.but(datagram=True), Listening(address=Address(host="p"), transport="unix"), "Bound on p"),
        (UNIX, Accepted(peer=Address(host=""), transport="unix"), "Connection received on p"),
        (UNIX, Accepted(peer=Address(host="q"), transport="unix"), "Connection received on q"),
        (
            UNIX,
            Accepted(peer=Address(host="\x1b[2Jé\n\udcff"), transport="unix"),
            "Connection received on \\x1b[2Jé\\n\\udcff",
        ),
        (UNIX, Connected(host="p", address=Address(host="p"), transport="unix"), "Connection to p succeeded!"),
        (
            UNIX,
            ConnectFailed(host="p", address=Address(host="p"), transport="unix", why="No such file or directory"),
            "pync: connect to p failed: No such file or directory",
        ),
        (CONNECT.but(numeric=True), OPEN, "Connection to 127.0.0.1 80 port [tcp/*] succeeded!"),
    ],
)
def test_an_event_is_said_in_the_words_of_its_kind_of_socket(
    run_config: Config, event: Event, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Messages(run_config.but(verbosity=1)).report(event)
    assert capfd.readouterr().err == f"{line}\n"


def test_an_event_without_words_is_a_bug() -> None:
    words = Messages(CONNECT.but(verbosity=1))
    with pytest.raises(TypeError):
        words.report(Event())


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", full)
    assert print_line("to nobody") is None  # type: ignore[func-returns-value]


# -- A run: what is said, and its exit status ----------------------------------------------------------------------


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Face:
    """Runs the face with an engine that reports `events` and ends as told: its status and what was on stderr."""

    def go(argv: Sequence[str], *events: Event, error: PyncError | None = None, **outcome: object) -> tuple[int, str]:
        def engine(_: Config, report: Report, wants: Wants) -> object:
            for event in events:
                report(event)
            if error:
                raise error
            return SimpleNamespace(**{"opened": True, "child_status": None, **outcome})

        module = ModuleType("pync.engine")
        vars(module)["run"] = engine
        monkeypatch.setitem(sys.modules, "pync.engine", module)
        return cli.main(list(argv)), capfd.readouterr().err

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
def test_a_run_that_comes_to_its_end_has_the_status(outcome: dict[str, object], status: int, face: Face) -> None:
    assert face(["h", "1"], **outcome) == (status, "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TIMEOUT, 124),
        (ProgramError("cat", "Permission denied", found=True), 126),
        (ProgramError("cat", "No such file or directory", found=False), 127),
        (SPENT, 1),
        (BindError("listen on port 1", "Permission denied"), 1),
        (OutputError("writing stdout", "No space left on device"), 1),
    ],
)
def test_a_run_that_fails_says_so_in_one_line_and_has_the_status(error: PyncError, status: int, face: Face) -> None:
    assert face(["h", "1"], error=error) == (status, f"pync: {error}\n")


def test_a_usage_error_that_shows_late_has_the_hint_too(face: Face) -> None:
    error = UsageError("--allow 300.1.1.1", "not an address")
    assert face(["h", "1"], error=error) == (2, f"pync: {error}\nTry 'pync --help'.\n")


FAILED = "pync: connect to h (127.0.0.1) port 80 (tcp) failed: Connection refused\n"


def test_a_refused_connection_is_one_line_without_v_and_one_for_each_address_with_it(face: Face) -> None:
    assert face(["h", "1"], REFUSED, REFUSED, error=SPENT) == (1, f"pync: {SPENT}\n")
    assert face(["-v", "h", "1"], REFUSED, REFUSED, error=SPENT) == (1, 2 * FAILED)


@pytest.mark.parametrize(
    "error",
    [ConnectError("set ttl to 5", "Operation not permitted"), PeerLost("to h", "Connection refused"), TIMEOUT],
)
def test_an_error_that_says_something_new_is_said(error: PyncError, face: Face) -> None:
    assert face(["-v", "h", "1"], REFUSED, error=error)[1] == f"{FAILED}pync: {error}\n"


def test_the_minimum_ttl_of_a_listener_is_remarked_on_for_it_may_be_meant_as_ncats(face: Face) -> None:
    assert face(["-lk", "-m", "5", "80"]) == (
        0,
        "pync: note: -m is the minimum TTL here; Ncat's -m N is --max-conns N\n",
    )
    assert face(["-m", "5", "h", "80"]) == (0, "")


def test_a_bug_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pync.engine", ModuleType("pync.engine"))
    with pytest.raises(ImportError):
        cli.main(["h", "1"])


# -- The process ---------------------------------------------------------------------------------------------------


def pync(*argv: str, shell: str = "", env: dict[str, str] | None = None) -> Result:
    """Run `python -m pync`; `shell` is put behind it: redirections and more, by /bin/sh."""
    line = [sys.executable, "-m", "pync", *argv]
    if shell:
        line = ["/bin/sh", "-c", f'"$@" {shell}', "sh", *line]
    return run(line, env={**ENVIRONMENT, **(env or {})})


def dying(end: str) -> str:
    """A script that runs pync with an engine that ends so."""
    return f"""if True:
        import signal, sys, types
        from pync.cli import main
        from pync.errors import *
        engine = sys.modules["pync.engine"] = types.ModuleType("pync.engine")
        def run(config, report, wants):
            {end}
        engine.run = run
        main(["h", "1"])
    """


def test_help_is_on_stdout() -> None:
    result = pync("--help")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(b"Usage: pync [OPTION]... HOST PORT...\n") and result.out.endswith(b"the version\n")


@pytest.mark.parametrize("argv", [["--version"], ["-k", "--vers"], ["-w", "soon", "-z", "-l", "--version"]])
def test_version_is_on_stdout_and_wins_over_what_else_is_wrong(argv: list[str]) -> None:
    assert pync(*argv) == (0, b"pync 0.1.0\n", "")


def test_a_usage_error_ends_with_2_and_says_nothing_on_stdout() -> None:
    assert pync("-k", "h", "1")[:2] == (2, b"")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_stderr_that_takes_nothing_changes_nothing(closed: str) -> None:
    assert pync("-k", "h", "1", shell=closed) == (2, b"", "")


def test_a_stdout_that_is_full_is_an_error() -> None:
    assert pync("--help", shell=">/dev/full") == (1, b"", "pync: writing stdout: No space left on device\n")


def test_a_stdout_that_nobody_reads_is_a_quiet_end_by_sigpipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        result = run([sys.executable, "-m", "pync", "--help"], env=ENVIRONMENT, stdout=gone)
    assert (result.status, result.err) == (128 + signal.SIGPIPE, "")


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
def test_who_is_stopped_by_a_signal_dies_by_it_without_a_word(end: str, signum: int) -> None:
    script = [sys.executable, "-c", dying(end)]
    assert run(script, env=ENVIRONMENT) == (128 + signum, b"", "")
    in_a_shell = run(["/bin/sh", "-c", '"$@" 2>/dev/null; echo $?', "sh", *script], env=ENVIRONMENT)
    assert in_a_shell.out == b"%d\n" % (128 + signum)


def test_who_cannot_die_by_a_signal_still_has_its_status() -> None:
    block = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); raise Interrupted(signal.SIGTERM)"
    assert run([sys.executable, "-c", dying(block)], env=ENVIRONMENT) == (143, b"", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_completion_for(shell: str) -> None:
    result = pync(env={"_PYNC_COMPLETE": f"{shell}_source"})
    assert result.status == 0
    assert f"_PYNC_COMPLETE={shell}_complete".encode() in result.out


def test_a_file_name_is_completed_as_one() -> None:
    line = {"_PYNC_COMPLETE": "bash_complete", "COMP_WORDS": "pync -l --hex-dump x", "COMP_CWORD": "3"}
    assert pync(env=line) == (0, b"file,x\n", "")
