"""Starting: what each way of being used imports, to the module. A netcat is started in every round of a shell loop.

It is the installed command that is asked, and what the interpreter imports by itself is left out.
"""

from __future__ import annotations

import gc
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
from harness import PYNC, UNMEASURED, Running, announced, connect, run, serve
from test_layers import COSTLY

from pync import engine
from pync.config import Config

if TYPE_CHECKING:
    import socket

    from pync.events import Event

# -- What may be imported ----------------------------------------------------------------------------------------

FACE = {"cli", "config", "descriptors", "errors", "events", "system"}
FACE |= {"faces", "faces.own", "faces.own_options", "faces.table", "faces.types", "faces.words"}
ENGINE = {"engine", "interrupts", "loop", "modes", "modes.run", "tasks"}
NET = {"net", "net.dial", "net.options", "net.resolve"}
RELAY = {"endpoints", "endpoints.sockets", "endpoints.stdio", "flow", "modes.session", "relay", "zerocopy"}

SCAN = FACE | ENGINE | NET | {"modes.attempts", "modes.probes", "modes.scan"}
CONNECT = FACE | ENGINE | NET | RELAY | {"modes.attempts", "modes.connect"}
LISTEN = FACE | ENGINE | NET | RELAY | {"modes.clients", "modes.listen", "net.access", "net.bind"}
PROGRAM = {"endpoints.child", "endpoints.pipes", "modes.program"}

# Of all others: what no run imports that does not need it for what it was asked.
RARE = COSTLY | {"click", "h11", "ipaddress", "mimetypes", "random", "ssl", "tempfile", "threading", "tty"}


# -- Asking the interpreter --------------------------------------------------------------------------------------


def python(*arguments: str) -> list[str]:
    """An interpreter that tells on stderr what it imports."""
    return [sys.executable, "-X", "importtime", *arguments]


START = python(*PYNC)


def named(err: str) -> set[str]:
    """The modules in what `-X importtime` tells."""
    return {line.rpartition("|")[2].strip() for line in err.splitlines() if line.startswith("import time:")}


@cache
def bare() -> frozenset[str]:
    """What the interpreter imports by itself."""
    return frozenset(named(run(python("-c", "pass"), env=UNMEASURED).err))


class Imported:
    """What a run imported: modules of pync, without that prefix, and others."""

    def __init__(self, err: str) -> None:
        names = named(err) - bare()
        self.own = {name.removeprefix("pync.") for name in names if name.startswith("pync.")}
        self.others = {name for name in names if not name.startswith("pync")}


def client(*options: str, stdin: bytes = b"hello\n") -> Imported:
    """Run pync against a server that echoes."""
    with serve(echo) as (host, port):
        result = run([*START, *options, host, str(port)], stdin, env=UNMEASURED)
    assert result.status == 0, result.err
    assert result.out == (b"" if "-z" in options else stdin)
    return Imported(result.err)


def echo(conn: socket.socket) -> None:
    while data := conn.recv(4096):
        conn.sendall(data)


def server(*options: str, answer: bytes = b"") -> Imported:
    """Run a pync that listens, and talk to it."""
    with announced(Running([*START, "-v", "-l", *options, "127.0.0.1", "0"], env=UNMEASURED)) as process:
        process.close_stdin()
        with connect(process.port) as peer:
            peer.sendall(b"hello\n")
            assert peer.recv(4096) == answer
            peer.close()
        result = process.finish()
    assert result.status == 0, result.err
    return Imported(result.err)


# -- The laws ----------------------------------------------------------------------------------------------------


def test_a_scan_imports_nothing_that_moves_bytes() -> None:
    imported = client("-z")
    assert imported.own == SCAN
    assert imported.others & RARE <= {"resource"}


def test_connecting_imports_what_a_conversation_needs() -> None:
    imported = client()
    assert imported.own == CONNECT
    assert imported.others & RARE == set()


def test_listening_imports_what_a_conversation_needs() -> None:
    imported = server()
    assert imported.own == LISTEN
    assert imported.others & RARE == set()


def test_a_program_imports_what_a_program_needs() -> None:
    imported = server("--filter", "cat", answer=b"hello\n")
    assert imported.own == LISTEN | PROGRAM
    assert imported.others & RARE <= {"tty"}


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (["-C"], {"stages", "stages.crlf"}),
        (["-t"], {"stages", "stages.telnet"}),
        (["-i", "1ms"], {"endpoints.pacing"}),
        (["--delay", "1ms"], {"endpoints.pacing"}),
        (["-o", "/dev/null"], {"endpoints.logs", "stages", "stages.hexdump"}),
    ],
    ids=["crlf", "telnet", "pace", "delay", "log"],
)
def test_what_is_asked_for_is_imported_and_nothing_beside_it(options: list[str], more: set[str]) -> None:
    imported = client(*options, stdin=b"hello\r\n")
    assert imported.own == CONNECT | more
    assert imported.others & RARE == set()


def test_the_version_is_told_without_an_engine() -> None:
    result = run([*START, "--version"], env=UNMEASURED)
    assert result.status == 0
    assert Imported(result.err).own == FACE


# -- The collector -----------------------------------------------------------------------------------------------

# Runs pync with an engine that tells whether garbage is collected when it is reached.
REACHED = """
import gc, os, sys, types
from pync.cli import main

def run(*_):
    os.write(1, b"on" if gc.isenabled() else b"off")
    os._exit(0)

sys.modules["pync.engine"] = types.ModuleType("pync.engine")
sys.modules["pync.engine"].run = run
sys.argv = ["pync", "127.0.0.1", "1"]
main()
"""


def test_no_garbage_is_collected_during_the_start() -> None:
    assert run([sys.executable, "-c", REACHED], env=UNMEASURED).out == b"off"


def test_garbage_is_collected_while_the_loop_runs_and_what_was_there_before_is_left_out() -> None:
    seen: list[tuple[bool, bool]] = []

    def report(event: Event) -> None:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))

    gc.disable()
    try:
        with serve(echo) as (host, port):
            engine.run(Config(mode="scan", host=host, ports=(port,)), report)
    finally:
        gc.unfreeze()
        gc.enable()
    assert seen == [(True, True)]


def test_who_runs_the_engine_with_the_collector_on_keeps_it_as_it_is() -> None:
    frozen = gc.get_freeze_count()
    with serve(echo) as (host, port):
        engine.run(Config(mode="scan", host=host, ports=(port,)), lambda event: None)
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
