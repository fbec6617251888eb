"""Too few descriptors, too little memory, no more processes, a limit on the size of files."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from clients import line
from harness import DEVNULL, PIPE, UNMEASURED, require, run, serve
from meetings import connection, file_of, met, payload, program, received, sending, settled, shell
from netcats import Unable, Use
from network import ROOT
from outcomes import REPORTED, WITHOUT_OPENBSD, Case, Law, Outcome, flow, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Running
    from netcats import Netcat

SIZE = 3_000_000
CLIENTS = 60
TURN = 12.0  # seconds until a client is served
LINE = b"What a client sends.\n"

# -- Descriptors


def burst(tool: Netcat, folder: Path, what: str, descriptors: int = 0, megabytes: int = 0) -> Outcome:
    """Sixty clients at the same time, of whom only a few can be served: the others wait, and each gets its answer."""
    limit = _ulimit(megabytes) if megabytes else f"ulimit -n {descriptors}"
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(serve(_echo))[1]
        use = SERVERS[what](Use("keep"), folder, target)
        process = stack.enter_context(tool.start(use, shell(f'{limit}; exec "$@"'), stdin=DEVNULL, env=UNMEASURED))
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(lambda _: _ask(process, use, what, target), range(CLIENTS)))
        alive = settled(lambda: _ask(process, use, what, target) == LINE, 5)
        process.signal(signal.SIGTERM)
        served = sum(answer == LINE for answer in answers)
        outcome = outcome_of(process, flow(LINE * CLIENTS, LINE * served))
        return outcome if alive else outcome._replace(left=("a server that serves no more",))


def _echo(conn: socket.socket) -> None:
    while data := conn.recv(1 << 16):
        conn.sendall(data)


def _ask(process: Running, use: Use, what: str, target: int) -> bytes:
    """What a client gets for its line; nothing if that fails."""
    with contextlib.suppress(OSError), connection(process, use) as conn:
        conn.settimeout(TURN)
        GREETINGS.get(what, _no_greeting)(conn, target)
        conn.sendall(LINE)
        return received(conn, len(LINE))
    return b""


def _no_greeting(conn: socket.socket, target: int) -> None:
    pass


def _greet_http(conn: socket.socket, target: int) -> None:
    conn.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % target)
    while line(conn) not in (b"\r\n", b""):
        pass


def _greet_socks(conn: socket.socket, target: int) -> None:
    conn.sendall(b"\x05\x01\x00")
    received(conn, 2)
    conn.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + target.to_bytes(2, "big"))
    received(conn, 10)


GREETINGS = {"an HTTP proxy": _greet_http, "a SOCKS proxy": _greet_socks}
SERVERS: dict[str, Callable[[Use, Path, int], Use]] = {
    "programs with pipes": lambda use, folder, target: use._replace(program=program(folder, "exec cat")),
    "programs with the socket": lambda use, folder, target: use._replace(
        program=program(folder, "exec cat"), way="socket"
    ),
    "forwarding": lambda use, folder, target: use._replace(target=target),
    "an HTTP proxy": lambda use, folder, target: use._replace(proxy="http"),
    "a SOCKS proxy": lambda use, folder, target: use._replace(proxy="socks5"),
}
TOOLS_OF = {
    "programs with pipes": WITHOUT_OPENBSD,
    "programs with the socket": ("pync",),
    "forwarding": WITHOUT_OPENBSD,
    "an HTTP proxy": ("pync", "ncat"),
    "a SOCKS proxy": ("pync",),
}


def lines_of_many(tool: Netcat, folder: Path) -> Outcome:
    """Sixty clients at the same time, each with a line for the tool's stdout."""
    use = Use("keep")
    with tool.start(use, shell('ulimit -n 20; exec "$@"'), stdin=PIPE, env=UNMEASURED) as process:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda _: _send_line(process, use), range(CLIENTS)))
        printed = process.read(len(LINE) * CLIENTS)
        process.signal(signal.SIGTERM)
        return outcome_of(process, flow(LINE * CLIENTS, printed))


def _send_line(process: Running, use: Use) -> None:
    with contextlib.suppress(OSError), connection(process, use) as conn:
        conn.sendall(LINE)
        conn.shutdown(socket.SHUT_WR)
        received(conn)


# -- Memory, processes, files


PEAK = "print(open('/proc/self/status').read().partition('VmPeak:')[2].split()[0])"


@functools.cache
def _python() -> int:
    """What a Python needs that does nothing, in kB, as `ulimit -v` counts it."""
    return int(run([sys.executable, "-I", "-c", PEAK], env=UNMEASURED).out)


def _ulimit(more: int) -> str:
    """The command of the shell that leaves so many megabytes to a Python that has started."""
    return f"ulimit -v {_python() + more * 1024}"


def little_memory(tool: Netcat, folder: Path, role: str, megabytes: int) -> Outcome:
    """`ulimit -v`: what it starts it finishes, or it reports that it cannot."""
    data = payload(SIZE)
    before = shell(f'{_ulimit(megabytes)}; exec "$@"')
    with (
        file_of(folder, data) as stdin,
        met(tool, Use(role), before=before, env=UNMEASURED, stdin=stdin) as (process, conn),
    ):
        with sending(conn, data):
            arrived = received(conn)
            printed = process.read_all()
        return outcome_of(process, flow(data, arrived), flow(data, printed))


def no_processes(tool: Netcat, folder: Path, what: str) -> Outcome:
    """`ulimit -u 1`, as a user of its own: neither a process nor a thread can be made."""
    if not ROOT:
        raise Unable("only root can become another user")
    user = 50_000 + os.getpid() % 10_000 + threading.get_ident() % 1000
    words = [f"--reuid={user}", f"--regid={user}", "--clear-groups", *(f"--{which}-caps={READING}" for which in CAPS)]
    before = [require("setpriv"), *words, require("prlimit"), "--nproc=1"]
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        if what == "a name":
            sent, use = payload(SIZE), Use(host="localhost")
            stdin = stack.enter_context(file_of(folder, sent))
        else:
            sent, use = b"started\n", Use("listener", program=program(folder, "echo started"))
            stdin = stack.enter_context(file_of(folder, b""))
        process, conn = stack.enter_context(met(tool, use, before=before, env=UNMEASURED, stdin=stdin))
        arrived = received(conn)
        conn.close()
        return outcome_of(process, flow(sent, arrived))


# The interpreter may be in a directory of root's.
CAPS, READING = ("inh", "ambient"), "+dac_read_search"


def limited_files(tool: Netcat, folder: Path, what: str) -> Outcome:
    """`ulimit -f`, a megabyte: stdout is a file that must not become longer, or the log of the bytes is one."""
    data, path = payload(SIZE), folder / "limited"
    before = shell('ulimit -f 2048; exec "$@"')
    use = Use(log=path if what == "log" else None)
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context((folder / "stdout").open("wb")) if what == "stdout" else DEVNULL
        process, conn = stack.enter_context(met(tool, use, before=before, env=UNMEASURED, stdout=stdout))
        with sending(conn, data):
            outcome = outcome_of(process)
        written = (folder / "stdout" if what == "stdout" else path).read_bytes()
        return outcome._replace(flows=(flow(data, written),))


MEMORY = "Limits: ulimit -v, so many MB more than Python needs"
FEW = "Limits: ulimit -n 20, 60 clients"
USER = "Limits: ulimit -u 1"
FILES = "Limits: ulimit -f"
ENDED = Law((128 + signal.SIGTERM,))

CASES = [
    *(Case(FEW, f"of {what}", burst, {"what": what, "descriptors": 20}, ENDED, TOOLS_OF[what]) for what in SERVERS),
    Case(FEW, "of stdout", lines_of_many, {}, ENDED),
    *(
        Case(MEMORY, f"a {role}, {more} MB", little_memory, {"role": role, "megabytes": more}, REPORTED)
        for role in ("client", "listener")
        for more in (5, 10, 40)
    ),
    *(
        Case(MEMORY, f"60 clients of {what}, 20 MB", burst, {"what": what, "megabytes": 20}, ENDED, TOOLS_OF[what])
        for what in ("programs with pipes", "forwarding")
    ),
    Case(USER, "a client that looks up a name", no_processes, {"what": "a name"}, REPORTED),
    Case(USER, "a listener with a program", no_processes, {"what": "a program"}, REPORTED, WITHOUT_OPENBSD),
    Case(FILES, "stdout is a file", limited_files, {"what": "stdout"}, REPORTED),
    Case(FILES, "a log of the bytes", limited_files, {"what": "log"}, REPORTED, ("pync", "ncat")),
]
