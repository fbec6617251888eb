"""A netcat that has nothing to do, or that is blocked, uses no processor time."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from harness import DEVNULL, PIPE
from meetings import accepted, connection, file_of, listening, met, payload, program, sending, settled, unread_pipe
from netcats import Use
from outcomes import ALL, WITHOUT_OPENBSD, Case, Law, Outcome
from pairs import stuck_port
from terminals import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import Running
    from netcats import Netcat

SIZE = 8_000_000
SECOND = 1.0


@contextlib.contextmanager
def connected(tool: Netcat, folder: Path, role: str = "client") -> Iterator[Running]:
    with met(tool, Use(role), stdin=PIPE) as (process, _):
        yield process


@contextlib.contextmanager
def connected_listener(tool: Netcat, folder: Path) -> Iterator[Running]:
    with connected(tool, folder, "listener") as process:
        yield process


@contextlib.contextmanager
def alone(tool: Netcat, folder: Path) -> Iterator[Running]:
    with tool.start(Use("keep"), stdin=PIPE) as process:
        yield process


@contextlib.contextmanager
def connecting(tool: Netcat, folder: Path) -> Iterator[Running]:
    with stuck_port() as port, tool.start(Use(port=port), stdin=DEVNULL) as process:
        yield process


@contextlib.contextmanager
def blocked_by_its_peer(tool: Netcat, folder: Path) -> Iterator[Running]:
    with file_of(folder, payload(SIZE)) as stdin, met(tool, Use(), stdin=stdin) as (process, _):
        yield process


@contextlib.contextmanager
def blocked_by_stdout(tool: Netcat, folder: Path) -> Iterator[Running]:
    with (
        unread_pipe() as stdout,
        met(tool, Use(), stdin=PIPE, stdout=stdout) as (process, conn),
        sending(conn, payload(SIZE) * 4),
    ):
        yield process


@contextlib.contextmanager
def blocked_both_ways(tool: Netcat, folder: Path) -> Iterator[Running]:
    with (
        unread_pipe() as stdout,
        file_of(folder, payload(SIZE)) as stdin,
        met(tool, Use(), stdin=stdin, stdout=stdout) as (process, conn),
        sending(conn, payload(SIZE) * 4),
    ):
        yield process


@contextlib.contextmanager
def after_the_peer_s_half_close(tool: Netcat, folder: Path) -> Iterator[Running]:
    """Nothing has come from the peer, so stdin, which is open, may still be wanted."""
    with met(tool, Use(), stdin=PIPE) as (process, conn):
        conn.shutdown(socket.SHUT_WR)
        yield process


@contextlib.contextmanager
def after_its_own_half_close(tool: Netcat, folder: Path) -> Iterator[Running]:
    with met(tool, Use(), stdin=DEVNULL) as (process, conn):
        assert conn.recv(1) == b""
        yield process


@contextlib.contextmanager
def at_a_terminal(tool: Netcat, folder: Path) -> Iterator[Running]:
    with terminal() as (_, screen), met(tool, Use(), stdin=screen, stdout=screen) as (process, _):
        yield process


@contextlib.contextmanager
def shaking_hands(tool: Netcat, folder: Path) -> Iterator[Running]:
    with met(tool, Use(tls=True)) as (process, _):
        yield process


@contextlib.contextmanager
def running_a_program(tool: Netcat, folder: Path) -> Iterator[Running]:
    with met(tool, Use("listener", program=program(folder, "exec sleep 20"))) as (process, _):
        yield process


@contextlib.contextmanager
def running_a_program_without_ends(tool: Netcat, folder: Path) -> Iterator[Running]:
    """The program has closed stdin and stdout, and lives on."""
    use = Use("listener", program=program(folder, "exec <&- >&-; exec sleep 20"))
    with met(tool, use) as (process, conn), sending(conn, payload(SIZE)):
        yield process


@contextlib.contextmanager
def serving_half_closed_clients(tool: Netcat, folder: Path) -> Iterator[Running]:
    use = Use("keep")
    with contextlib.ExitStack() as stack:
        process, first = stack.enter_context(met(tool, use, stdin=PIPE))
        for conn in [first, *(stack.enter_context(connection(process, use)) for _ in range(9))]:
            conn.shutdown(socket.SHUT_WR)
        yield process


@contextlib.contextmanager
def forwarding(tool: Netcat, folder: Path) -> Iterator[Running]:
    """The client sends, and the target takes nothing."""
    with listening() as target:
        use = Use("keep", target=target.getsockname()[1])
        with met(tool, use) as (process, conn), accepted(target, process), sending(conn, payload(SIZE)):
            yield process


@contextlib.contextmanager
def out_of_descriptors(tool: Netcat, folder: Path) -> Iterator[Running]:
    """As many clients as it can have are there, and more wait."""
    use = Use("keep", program=program(folder, "exec sleep 20"))
    before = ["sh", "-c", 'ulimit -n 20; exec "$@"', "sh"]
    with contextlib.ExitStack() as stack:
        process, _ = stack.enter_context(met(tool, use, before=before))
        for _ in range(40):
            stack.enter_context(connection(process, use))
        yield process


def uses_nothing(tool: Netcat, folder: Path, state: str) -> Outcome:
    """Once it has come to rest, it uses no processor time for a second. A tool that ends instead uses none."""
    with STATES[state][0](tool, folder) as process:
        used: list[float] = []

        def at_rest() -> bool:
            time.sleep(SECOND / 2)  # that nothing happens is no event
            used.append(process.cpu_seconds())
            return len(used) > 1 and used[-1] - used[-2] <= TICK

        with contextlib.suppress(IndexError, ValueError):  # it has ended
            settled(at_rest, 5)
            before = process.cpu_seconds()
            time.sleep(SECOND)
            return Outcome(0, process.stderr, busy=process.cpu_seconds() - before)
        return Outcome(0, process.stderr)


TICK = 1 / os.sysconf("SC_CLK_TCK")
STATES = {
    "connected client": (connected, ALL),
    "connected listener": (connected_listener, ALL),
    "listener without a client": (alone, ALL),
    "client that connects to a black hole": (connecting, ALL),
    "client whose peer takes nothing": (blocked_by_its_peer, ALL),
    "client whose stdout takes nothing": (blocked_by_stdout, ALL),
    "client that is blocked both ways": (blocked_both_ways, ALL),
    "client after the peer's half-close": (after_the_peer_s_half_close, ALL),
    "client after its own half-close": (after_its_own_half_close, ALL),
    "client at a terminal": (at_a_terminal, ALL),
    "client in a TLS handshake": (shaking_hands, WITHOUT_OPENBSD),
    "listener with a silent program": (running_a_program, WITHOUT_OPENBSD),
    "listener whose program has closed its ends": (running_a_program_without_ends, WITHOUT_OPENBSD),
    "server of ten half-closed clients": (serving_half_closed_clients, ("pync", "ncat", "socat")),
    "forwarder whose target takes nothing": (forwarding, WITHOUT_OPENBSD),
    "server without descriptors": (out_of_descriptors, WITHOUT_OPENBSD),
}

CASES = [
    Case("No processor time", f"a {state}", uses_nothing, {"state": state}, Law(), tools)
    for state, (_, tools) in STATES.items()
]
