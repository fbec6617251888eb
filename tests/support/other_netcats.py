"""Two netcats, each as the real program and as a pync that is asked to behave like it: one scene for both.

A scene gives both the same words of a command line. For the real one they are its arguments; for pync they are put into
a `Config`, with which a process of its own runs the engine: no face takes part. Only the options about the end of a
conversation are known here, and everything is numeric and on the loopback.
"""

from __future__ import annotations

import contextlib
import getopt
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clients import unix_client
from harness import DEADLINE, Running, connect, require

from pync.behaviour import Behaviour
from pync.config import Config, Ending, Logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from pairs import Pair

# Reports what the tests wait for, in the words of nc.openbsd.
RUN = """
import sys
from pync import engine
from pync.behaviour import *
from pync.config import *
from pync.errors import PyncError
from pync.listener_events import Accepted, Listening

def report(event):
    if isinstance(event, Listening):
        address = event.address
        print("Listening on", *[address.host, address.port][: 2 if address.port else 1], file=sys.stderr)
    elif isinstance(event, Accepted):
        print("Connection received", file=sys.stderr)

try:
    engine.run(eval(sys.argv[1]), report, lambda kind: False)
except PyncError as error:
    sys.exit(f"pync: {error}")
"""
READY = r"^(?:Listening|Bound|listening) on \S+(?: (\d+).*)?\n"
STREAM_READY = READY.replace("|Bound", "")
RECEIVED = "^(?:Connection received|connect to)"
ALL: dict[str, Any] = {
    "idle_ends": True,
    "loss_ends": True,
    "unreadable_ends": True,
    "datagrams_stay": True,
    "null_counts": True,
    "telnet_keeps": True,
}


class Netcat(NamedTuple):
    """One of the two, and whether it is the real one."""

    name: str
    real: bool

    @property
    def traditional(self) -> bool:
        return self.name == "nc.traditional"

    def __str__(self) -> str:
        return self.name if self.real else f"pync as {self.name}"

    def start(self, *words: str, **popen: Any) -> Running:
        """Start it with these options and operands: the address, and the port or the ports."""
        if not self.real:
            return Running([sys.executable, "-c", RUN, repr(config(self, words))], **popen)
        path = require(self.name)
        if self.traditional and "-l" in words:
            *words, host, port = words  # type: ignore[assignment]
            words = (*words, "-s", host, *(["-p", port] if int(port) else []))
        return Running([path, "-n", *(["-v"] if "-l" in words else []), *words], **popen)


OPENBSD = [Netcat("nc.openbsd", True), Netcat("nc.openbsd", False)]
TRADITIONAL = [Netcat("nc.traditional", True), Netcat("nc.traditional", False)]


def config(netcat: Netcat, words: tuple[str, ...]) -> Config:
    """What pync is asked to do."""
    pairs, operands = getopt.gnu_getopt([*words], "CdkltuNUi:o:q:w:W:")
    options = dict(pairs)
    times = {name: float(options[name]) for name in ("-i", "-q", "-w") if name in options}
    listens, datagrams = "-l" in options, "-u" in options
    facts: dict[str, Any] = {"host": operands[0], "ports": tuple(map(int, operands[1:]))}
    return Config(
        mode="listen" if listens else "connect",
        family="unix" if "-U" in options else "ipv4",
        datagram=datagrams,
        numeric=True,
        keep_open="-k" in options,
        send="-d" not in options,
        crlf="-C" in options,
        telnet="-t" in options,
        pace=times.get("-i"),
        logs=Logs(hexadecimal=options.get("-o")),
        ending=Ending(
            half_close="-N" in options or "-q" in options,
            quit_after=times.get("-q"),
            idle_timeout=times.get("-w"),
            receive_limit=int(options["-W"]) if "-W" in options else None,
        ),
        behaviour=traditional() if netcat.traditional else openbsd(listens, datagrams),
        **facts,
    )


def openbsd(listens: bool, datagrams: bool) -> Behaviour:
    """What nc.openbsd does in its own way about the end of a conversation."""
    hard = listens or datagrams
    return Behaviour(
        after_peer="drain" if listens else "stay",
        quit_from="either" if hard else "both",
        quit_discards=hard,
        sends_on=True,
        limit_over_all=True,
        one_at_a_time=listens,
        read_size=16384,
        pauses="after",
        **ALL,
    )


def traditional() -> Behaviour:
    """The same for nc.traditional."""
    return Behaviour(
        after_peer="drain",
        idle_periods=2,
        repeat_first_read=True,
        dump_runs_on=True,
        read_size=8192,
        pauses="around",
        **ALL,
    )


@contextlib.contextmanager
def client(netcat: Netcat, *options: str, path: Path | None = None, **popen: Any) -> Iterator[Pair]:
    """A netcat that has connected to the test, over a unix socket if there is a path."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as server:
        server.bind(str(path) if path else ("127.0.0.1", 0))
        server.listen()
        server.settimeout(DEADLINE)
        goal = ["-U", str(path)] if path else ["127.0.0.1", str(server.getsockname()[1])]
        with netcat.start(*options, *goal, **popen) as process, server.accept()[0] as peer:
            peer.settimeout(DEADLINE)
            yield process, peer


@contextlib.contextmanager
def listener(netcat: Netcat, *options: str, path: Path | None = None, **popen: Any) -> Iterator[Pair]:
    """A netcat that has accepted a connection of the test."""
    with (
        listening(netcat, *options, path=path, **popen) as process,
        unix_client(path) if path else connect(process.port) as peer,
    ):
        process.expect(RECEIVED)
        yield process, peer


@contextlib.contextmanager
def listening(netcat: Netcat, *options: str, path: Path | None = None, **popen: Any) -> Iterator[Running]:
    """A netcat that waits for clients, or for datagrams."""
    goal = ["-U", str(path)] if path else ["127.0.0.1", "0"]
    with netcat.start("-l", *options, *goal, **popen) as process:
        # nc.openbsd reports that a path is bound before it listens there.
        ready = STREAM_READY if path and "-u" not in options else READY
        process.port = int(process.expect(ready)[1] or 0)
        yield process


def over_unix(role: Callable[..., AbstractContextManager[Pair]]) -> Callable[..., AbstractContextManager[Pair]]:
    """The same role over a unix socket."""

    @contextlib.contextmanager
    def connected(netcat: Netcat, *options: str, **popen: Any) -> Iterator[Pair]:
        with tempfile.TemporaryDirectory() as folder, role(netcat, *options, path=Path(folder, "s"), **popen) as pair:
            yield pair

    return connected
