"""The table of what is measured. Its order is that of the published table.

Each line is one figure: the row that `--only` takes, the title, the unit, and whether more (↑) or less (↓) is better.
The columns of the tools have

    a number    the tool takes part, and pync's goal is at least (↑) or at most (↓) this multiple of its figure
    x           the tool takes part
    ·           the tool has no such use, or its figure would show something else (see the notes)

The goal in the column `own` is for pync's figure itself. The last column is when the received bytes are checked:

    first       in a trial of its own before the first round, by their checksum; in the rounds they are counted
    each        in every round: each answer, or what each client has received
    none        never: nothing arrives that one could look at, and the row net-pipe has the check

Notes: the backlog of busybox is so small that the kernel would make the rest of 50 connections wait for seconds. For
each connection to forward, ncat starts another ncat, and the row would measure nothing but that.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

from bench import crowds, datagrams, exchanges, tls, transfers
from bench.commands import COMMANDS, PYNC, TOOLS, Commands
from bench.figures import Figure, Goal
from bench.trial import Trial

TABLE = """
row            title                                            unit    open ncat trad socat busy tiny bare own   check
file-net       file → net                                       MB/s  ↑ 2.5  x    x    x     x    ·    0.75 ·     first
file-net       file → net, peak memory                          MB    ↓ x    x    x    x     x    ·    x    ·     first
pipe-net       pipe → net                                       MB/s  ↑ 1.6  x    x    x     x    ·    0.85 ·     first
pipe-net       pipe → net, peak memory                          MB    ↓ x    x    x    x     x    ·    x    ·     first
net-file       net → file                                       MB/s  ↑ 1.8  x    x    x     x    ·    0.9  ·     first
net-pipe       net → pipe                                       MB/s  ↑ 3.5  x    x    x     x    ·    0.75 ·     first
net-null       net → /dev/null                                  MB/s  ↑ 2.5  x    x    x     x    ·    x    ·     none
through        pipe → X → X → pipe                              MB/s  ↑ 1.6  x    x    x     x    ·    x    ·     first
through        pipe → X → X → pipe, CPU of both                 s/GiB ↓ 0.5  x    x    x     x    ·    x    ·     first
exec           --exec cat, round trips                          1/s   ↑ ·    1.7  x    x     x    ·    x    ·     each
exec-pumped    --exec cat through a relay, round trips          1/s   ↑ ·    0.85 ·    x     ·    ·    ·    ·     each
stdio          stdin and stdout, round trips                    1/s   ↑ 0.85 x    x    x     x    ·    x    ·     each
connections    -k --exec cat, connections                       1/s   ↑ ·    1.4  ·    x     x    ·    ·    ·     each
connections-50 -k --exec cat, connections, 50 at a time         1/s   ↑ ·    1.4  ·    x     ·    ·    ·    ·     each
clients        -lk, clients at the same time                    ·     ↑ ·    x    ·    ·     ·    ·    ·    10000 each
clients        -lk, opens                                       1/s   ↑ ·    x    ·    ·     ·    ·    ·    8000  each
clients        -lk, memory for all clients                      MB    ↓ ·    x    ·    ·     ·    ·    ·    15    each
portions       -lk < FILE to 1,000 clients at once              MB/s  ↑ ·    ·    ·    ·     ·    ·    ·    ·     each
portions       -lk < FILE to 1,000 clients at once, peak memory MB    ↓ ·    ·    ·    ·     ·    ·    ·    ·     each
tls-send       pipe → net, TLS                                  MB/s  ↑ ·    1    ·    1     ·    ·    ·    ·     first
tls-receive    net → pipe, TLS                                  MB/s  ↑ ·    1    ·    1     ·    ·    ·    ·     first
tls-through    pipe → X → X → pipe, TLS                         MB/s  ↑ ·    1    ·    1     ·    ·    ·    ·     first
forward        forwarding                                       MB/s  ↑ ·    x    ·    1     ·    ·    x    ·     first
forward-trips  forwarding, round trips                          1/s   ↑ ·    x    ·    0.7   ·    ·    ·    ·     each
forward-opens  forwarding, connections                          1/s   ↑ ·    ·    ·    x     ·    ·    ·    ·     each
proxy          tunnel of an HTTP proxy                          MB/s  ↑ ·    x    ·    ·     ·    x    ·    ·     first
hub-100        hub, lines to 100 readers                        k/s   ↑ ·    2.5  ·    ·     ·    ·    ·    ·     first
hub-100        hub, lines to 100 readers, one after another     k/s   ↑ ·    x    ·    ·     ·    ·    ·    ·     first
hub-500        hub, lines to 500 readers                        k/s   ↑ ·    2.5  ·    ·     ·    ·    ·    ·     first
hub-500        hub, lines to 500 readers, one after another     k/s   ↑ ·    x    ·    ·     ·    ·    ·    ·     first
udp-send       UDP send, 64 B                                   k/s   ↑ x    1.4  x    x     ·    ·    ·    ·     first
udp-receive    UDP receive, 64 B                                k/s   ↑ 2    x    x    x     ·    ·    ·    ·     first
ports          ports 1–65535 of 127.0.0.1                       s     ↓ 0.6  ·    x    ·     ·    ·    ·    ·     first
filter         filter tr, exact                                 MB/s  ↑ ·    x    ·    x     ·    ·    ·    100   first
filter-line    filter tr, a line and its answer                 ms    ↓ ·    x    ·    x     ·    ·    ·    0.2   each
start          start to probe a port                            ms    ↓ x    0.4  x    x     ·    ·    2    ·     each
"""

COLUMNS = (*(tool for tool in TOOLS if tool != PYNC), None)  # as `Goal.against`: the last is for pync itself
Measure = Callable[[Trial], list[float]]
# The function that measures a row, and which command lines of commands.py it starts. The function returns a value for
# each figure of the row, in their order; the last one may be absent.
MEASURED_BY: dict[str, tuple[Measure, str]] = {
    "file-net": (transfers.file_to_net, "send"),
    "pipe-net": (transfers.pipe_to_net, "send"),
    "net-file": (transfers.net_to_file, "receive"),
    "net-pipe": (transfers.net_to_pipe, "receive"),
    "net-null": (transfers.net_to_null, "receive"),
    "through": (transfers.through, "send"),
    "exec": (exchanges.with_cat, "cat"),
    "exec-pumped": (exchanges.with_cat, "cat-relayed"),
    "stdio": (exchanges.with_stdio, "talk"),
    "connections": (partial(exchanges.connections, together=1), "cats"),
    "connections-50": (partial(exchanges.connections, together=50), "cats"),
    "clients": (crowds.held, "crowd"),
    "portions": (crowds.portions, "crowd"),
    "tls-send": (tls.send, "tls-send"),
    "tls-receive": (tls.receive, "tls-receive"),
    "tls-through": (tls.offer, "tls-offer"),
    "forward": (transfers.forward, "forward"),
    "forward-trips": (exchanges.forwarded_trips, "forward"),
    "forward-opens": (exchanges.forwarded_connections, "forward"),
    "proxy": (transfers.tunnel, "proxy"),
    "hub-100": (partial(crowds.hub, count=100), "hub"),
    "hub-500": (partial(crowds.hub, count=500), "hub"),
    "udp-send": (datagrams.send, "udp-send"),
    "udp-receive": (datagrams.receive, "udp-receive"),
    "ports": (exchanges.scan, "scan"),
    "filter": (transfers.through_filter, "filter"),
    "filter-line": (exchanges.filtered_lines, "filter-lines"),
    "start": (exchanges.probe, "probe"),
}


class Row(NamedTuple):
    """One measurement, by the name that --only takes."""

    name: str
    measure: Measure
    commands: Commands
    figures: Sequence[Figure]
    verified: bool  # in a trial of its own before the first round


def _row(line: str) -> Row:
    """A line of the table as a row of one figure."""
    name, text = line.split(maxsplit=1)
    title, unit, better, *marks, check = text.rsplit(maxsplit=len(COLUMNS) + 3)
    marked = {tool: mark for tool, mark in zip(COLUMNS, marks, strict=True) if mark != "·"}
    goals = tuple(Goal(float(mark), tool) for tool, mark in marked.items() if mark != "x")
    measure, use = MEASURED_BY[name]
    commands = {tool: COMMANDS[use][tool] for tool in (PYNC, *marked) if tool}
    return Row(name, measure, commands, [Figure(title, unit.strip("·"), goals, better == "↓")], check == "first")


def _rows() -> Iterator[Row]:
    for _, lines in groupby(map(_row, TABLE.strip().splitlines()[1:]), key=lambda row: row.name):
        first, *more = lines
        yield first._replace(figures=[*first.figures, *(figure for row in more for figure in row.figures)])


ROWS = tuple(_rows())
NAMES = [row.name for row in ROWS]
