"""SIGSTOP and SIGCONT in the middle; SIGINT, SIGTERM and SIGHUP at each stage of a run."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import time
from typing import TYPE_CHECKING

from harness import DEVNULL, PIPE, PYNC, Running
from link import dark_network
from meetings import (
    accepted,
    connection,
    file_of,
    listening,
    met,
    payload,
    program,
    received,
    sending,
    settled,
    unread_pipe,
)
from netcats import Use
from outcomes import ALL, WITHOUT_OPENBSD, Case, Descendants, Law, Outcome, flow, outcome_of
from pairs import FULL, stuck_port
from terminals import controlled, terminal

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from netcats import Netcat

SIZE = 8_000_000
STOPPED = 0.3  # seconds

# -- Stopped, and continued


def stopped(tool: Netcat, folder: Path, role: str, uploading: bool) -> Outcome:
    """It is stopped in the middle of a transfer, and all arrives after it goes on."""
    data = payload(SIZE)
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(file_of(folder, data if uploading else b""))
        process, conn = stack.enter_context(met(tool, Use(role), stdin=given))
        if uploading:
            arrived = received(conn, SIZE // 4)
            _stop_for_a_while(process)
            arrived += received(conn)
            conn.close()
        else:
            stack.enter_context(sending(conn, data))
            arrived = process.read(SIZE // 4)
            _stop_for_a_while(process)
            arrived += process.read_all()
        return outcome_of(process, flow(data, arrived))


def _stop_for_a_while(process: Running) -> None:
    process.signal(signal.SIGSTOP)
    time.sleep(STOPPED)  # that it does not run for a while is the fault
    process.signal(signal.SIGCONT)


# -- The stages


@contextlib.contextmanager
def resolving(tool: Netcat, folder: Path) -> Iterator[Running]:
    use = Use(host="a.name.example", port=9)
    with dark_network(folder) as there, tool.start(use, there.inside([]), stdin=DEVNULL) as process:
        there.name_server_is_asked()
        yield process


@contextlib.contextmanager
def resolving_a_rule(tool: Netcat, folder: Path) -> Iterator[Running]:
    """A listener needs the address of a name that is allowed."""
    use = Use("keep", allow="a.name.example")
    with dark_network(folder) as there, Running([*there.inside([]), *tool.words(use)], stdin=DEVNULL) as process:
        there.name_server_is_asked()
        yield process


@contextlib.contextmanager
def connecting(tool: Netcat, folder: Path) -> Iterator[Running]:
    with stuck_port() as port, tool.start(Use(port=port), stdin=DEVNULL) as process:
        assert settled(lambda: any("socket" in link for link in process.descriptors()))
        yield process


@contextlib.contextmanager
def shaking_hands(tool: Netcat, folder: Path) -> Iterator[Running]:
    with met(tool, Use(tls=True)) as (process, conn):
        assert conn.recv(1)  # of the ClientHello
        yield process


@contextlib.contextmanager
def relaying(tool: Netcat, folder: Path) -> Iterator[Running]:
    with met(tool, Use(), stdin=PIPE) as (process, conn):
        process.send(b"x")
        assert conn.recv(1)
        yield process


@contextlib.contextmanager
def blocked(tool: Netcat, folder: Path) -> Iterator[Running]:
    """Neither stdout nor the peer takes anything."""
    with (
        unread_pipe() as stdout,
        file_of(folder, payload(SIZE)) as stdin,
        met(tool, Use(), stdin=stdin, stdout=stdout) as (process, conn),
        sending(conn, payload(SIZE)),
    ):
        assert conn.recv(1)
        yield process


@contextlib.contextmanager
def blocked_by_its_log(tool: Netcat, folder: Path) -> Iterator[Running]:
    """The log is a pipe that takes nothing more."""
    log = folder / "log"
    os.mkfifo(log)
    with (
        open(os.open(log, os.O_RDWR), "rb", 0),
        met(tool, Use(log=log)) as (process, conn),
        sending(conn, payload(SIZE)),
    ):
        process.read(1)
        assert settled(lambda: _is_full(conn))
        yield process


def _is_full(conn: socket.socket) -> bool:
    """Whether a connection has taken nothing for a while."""
    return not select.select([], [conn], [], FULL)[1]


@contextlib.contextmanager
def listening_alone(tool: Netcat, folder: Path) -> Iterator[Running]:
    with tool.start(Use("listener"), stdin=PIPE) as process:
        yield process


@contextlib.contextmanager
def listening_on_a_path(tool: Netcat, folder: Path) -> Iterator[Running]:
    with tool.start(Use("listener", unix=folder / "left-behind"), stdin=PIPE) as process:
        yield process


@contextlib.contextmanager
def serving_many(tool: Netcat, folder: Path) -> Iterator[Running]:
    use = Use("keep")
    with contextlib.ExitStack() as stack:
        process, _ = stack.enter_context(met(tool, use, stdin=PIPE))
        for _ in range(20):
            conn = stack.enter_context(connection(process, use))
            conn.sendall(b"x\n")
        process.read_until(b"x\n")
        yield process


@contextlib.contextmanager
def running_a_program(tool: Netcat, folder: Path) -> Iterator[Running]:
    use = Use("listener", program=program(folder, "echo started; sleep 20 & wait"))
    with met(tool, use) as (process, conn):
        assert conn.recv(1)
        yield process


@contextlib.contextmanager
def running_many_programs(tool: Netcat, folder: Path) -> Iterator[Running]:
    use = Use("keep", program=program(folder, "echo started; exec sleep 20"))
    with met(tool, use) as (process, first), contextlib.ExitStack() as stack:
        for conn in [first, *(stack.enter_context(connection(process, use)) for _ in range(4))]:
            assert conn.recv(1)
        yield process


@contextlib.contextmanager
def filtering(tool: Netcat, folder: Path) -> Iterator[Running]:
    use = Use("keep", program=program(folder, "echo started; exec cat"), way="filter")
    with met(tool, use) as (process, conn):
        assert conn.recv(1)
        yield process


@contextlib.contextmanager
def forwarding(tool: Netcat, folder: Path) -> Iterator[Running]:
    with listening() as target:
        use = Use("keep", target=target.getsockname()[1])
        with met(tool, use) as (process, _), accepted(target, process):
            yield process


@contextlib.contextmanager
def listening_with_tls(tool: Netcat, folder: Path) -> Iterator[Running]:
    """It has made a certificate, for which it may need files."""
    (folder / TEMPORARY).mkdir()
    environment = {**os.environ, "TMPDIR": str(folder / TEMPORARY)}
    with tool.start(Use("keep", tls=True), stdin=PIPE, env=environment) as process:
        yield process


def ends_by(tool: Netcat, folder: Path, stage: str, signum: signal.Signals) -> Outcome:
    """The signal ends it, with the status that the shell shows for that, and nothing is left."""
    with STAGES[stage](tool, folder) as process:
        descendants = Descendants(process)
        process.signal(signum)
        outcome = outcome_of(process, limit=SOON)
        left = descendants.left()
    left += ("a unix path",) if (folder / "left-behind").exists() else ()
    left += tuple(path.name for path in folder.glob(f"{TEMPORARY}/*"))
    return outcome._replace(left=left)


SOON = 6.0  # seconds: a program has two until SIGKILL
STAGES = {
    "resolving": resolving,
    "resolving a name of --allow": resolving_a_rule,
    "connecting": connecting,
    "shaking hands": shaking_hands,
    "relaying": relaying,
    "blocked both ways": blocked,
    "blocked by its log": blocked_by_its_log,
    "listening": listening_alone,
    "listening on a path": listening_on_a_path,
    "serving 21 clients": serving_many,
    "listening with TLS": listening_with_tls,
    "forwarding": forwarding,
    "running a filter": filtering,
    "running a program": running_a_program,
    "running five programs": running_many_programs,
}
TOOLS_OF = {
    "resolving a name of --allow": ("pync", "ncat"),
    "blocked by its log": ("pync", "ncat"),
    "shaking hands": WITHOUT_OPENBSD,
    "serving 21 clients": WITHOUT_OPENBSD,
    "listening with TLS": ("pync", "ncat"),  # socat makes no certificate
    "forwarding": WITHOUT_OPENBSD,
    "running a filter": ("pync",),
    "running a program": WITHOUT_OPENBSD,
    "running five programs": WITHOUT_OPENBSD,
}
TEMPORARY = "temporary-files"


def at_the_password(tool: Netcat, folder: Path, signum: signal.Signals) -> Outcome:
    """It asks for a password without echo: the terminal has its echo again."""
    with terminal() as (keyboard, screen), listening() as server:
        modes = termios.tcgetattr(screen)
        modes[3] |= termios.ECHO
        termios.tcsetattr(screen, termios.TCSANOW, modes)
        modes = termios.tcgetattr(screen)
        words = [*PYNC, "-P", "user", "-x", f"127.0.0.1:{server.getsockname()[1]}", "127.0.0.1", "9"]
        with Running(words, stdin=screen, **controlled()) as process:
            assert settled(lambda: not termios.tcgetattr(screen)[3] & termios.ECHO)
            process.signal(signum)
            outcome = outcome_of(process, limit=SOON)
        # On a Linux terminal the modes of a session that has ended stay.
        same = termios.tcgetattr(screen) == modes
        return outcome if same else outcome._replace(left=("a terminal without echo",))


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

CASES = [
    *(
        Case(
            "SIGSTOP and SIGCONT",
            f"a {role} in the middle of {'sending' if uploading else 'receiving'}",
            stopped,
            {"role": role, "uploading": uploading},
        )
        for role in ("client", "listener")
        for uploading in (True, False)
    ),
    *(
        Case(
            signum.name,
            f"while it is {stage}",
            ends_by,
            {"stage": stage, "signum": signum},
            Law((128 + signum,)),
            TOOLS_OF.get(stage, ALL),
        )
        for signum in SIGNALS
        for stage in STAGES
    ),
    *(
        Case(signum.name, "while it asks for a password", at_the_password, {"signum": signum}, law, ("pync",))
        for signum in SIGNALS
        for law in [Law((128 + signum,))]
    ),
]
