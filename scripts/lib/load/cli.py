"""The command line of scripts/load."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from soak import Lost
from soak.servers import Server, Usage, folder, quiet_usages

from load import Load, Start, crowds, quick, silent
from load.clients import SPARE, raise_limit
from load.quick import answered, broker, echo, page, socks

CROWD, BURST, SILENT = 10_000, 20_000, 1_000  # clients
AT_ONCE = 1.0  # seconds within which the next client must be served
TRIES = 3  # next clients
# What a server may keep of the memory that the load has taken: Python's allocator gives pages back late, and not all.
KEPT, MORE_MEMORY = 0.25, 4.0  # a part of it, and MB

SHAPES: dict[str, tuple[int, Start]] = {
    "idle": (CROWD, crowds.idle),
    "broker": (CROWD, crowds.broker),
    "file to each": (CROWD, crowds.file),
    "quick sink": (BURST, quick.sink),
    "quick -e": (BURST, quick.quick(["-e", "cat"], echo)),
    "quick --to": (BURST, quick.quick(["--to", "TO"], answered, target=True)),
    "quick socks5": (BURST, quick.quick(["--proxy-server", "socks5"], socks, target=True)),
    "quick --http": (BURST, quick.quick(["--http"], page)),
    "quick broker": (BURST, quick.quick(["--broker"], broker)),
    "no handshake": (SILENT, silent.silent(["--ssl", "-e", "cat"], b"", silent.shakes_hands)),
    "half a hello": (SILENT, silent.silent(["--ssl", "-e", "cat"], b"\x16\x03\x01\x01", silent.shakes_hands)),
    "half a head": (SILENT, silent.silent(["--http"], b"GET / HTTP/1.1\r\nHost:", silent.asks)),
    "half of socks5": (SILENT, silent.silent(["--proxy-server", "socks5"], b"\5", silent.goes_through_socks)),
    "half a CONNECT": (SILENT, silent.silent(["--proxy-server", "http"], b"CONNECT a", silent.goes_through_http)),
}


class Row(NamedTuple):
    """What a shape came to. Each `Usage` has the memory and the descriptors of the server."""

    name: str
    clients: int
    seconds: float  # until all clients were served or there
    before: Usage
    most: Usage
    after: Usage
    next_client: float  # the slowest of some, in seconds
    wrong: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the options ask for; the exit status is 1 if the next client had to wait, or something is left behind."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves by `finally`
    limit = raise_limit(2 * CROWD + SPARE)
    print(f"{os.cpu_count()} processors, {limit} descriptors for each process")
    print(f"{'shape':15}{'clients':>8}{'seconds':>9}{'memory, MB':>22}{'descriptors':>20}{'next client':>13}")
    failed = False
    for name in options.only or SHAPES:
        count, start = SHAPES[name]
        row = _measure(name, max(1, round(count * options.scale)), start)
        failed |= bool(row.wrong)
        print(_line(row), *(f"  {wrong}" for wrong in row.wrong), sep="\n", flush=True)
    return int(failed)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/load", description="Many clients of pync's servers, and whether the next one is served at once."
    )
    option = parser.add_argument
    option("--only", action="append", choices=SHAPES, metavar="SHAPE", help="only this one; can be repeated")
    option("--scale", type=float, default=1.0, metavar="PART", help="this part of the usual numbers of clients (1)")
    return parser.parse_args(argv)


def _measure(name: str, clients: int, start: Start) -> Row:
    with folder() as directory, start(clients, directory) as load:
        load.next_client()  # so that what a first client makes is there before
        before, wrong = _quiet(load.server), list[str]()
        since, seconds, slowest, most = time.monotonic(), 0.0, 0.0, before
        try:
            with load.burden():
                seconds = time.monotonic() - since
                most = load.server.usage()
                slowest = max(_seconds(load) for _ in range(TRIES))
        except (Lost, OSError) as error:
            wrong.append(f"{type(error).__name__}: {error}")
        peak = _if_alive(load.server.peak)
        after = _quiet(load.server, before)
        wrong += _verdict(load.server, before, peak, after, slowest)
    return Row(name, clients, seconds, before, most._replace(memory=peak), after, slowest, wrong)


def _seconds(load: Load) -> float:
    since = time.monotonic()
    load.next_client()
    return time.monotonic() - since


def _quiet(server: Server, before: Usage | None = None) -> Usage:
    with suppress(OSError):  # it has ended, which `trouble` reports
        return quiet_usages({"": server}, {"": before} if before else None)[""]
    return Usage(0, 0, 0)


def _if_alive(ask: Callable[[], float]) -> float:
    with suppress(OSError, StopIteration):
        return ask()
    return 0.0


def _verdict(server: Server, before: Usage, peak: float, after: Usage, slowest: float) -> list[str]:
    wrong = [trouble] if (trouble := server.trouble()) else []
    if slowest > AT_ONCE:
        wrong.append(f"the next client had to wait for {slowest:.1f} s")
    if after.descriptors > before.descriptors or after.children:
        wrong.append(f"{after.descriptors} descriptors instead of {before.descriptors}, {after.children} children")
    if after.memory > before.memory + MORE_MEMORY + KEPT * (peak - before.memory):
        wrong.append(f"{after.memory:.1f} MB of memory are kept, of {peak:.1f}; before it were {before.memory:.1f}")
    return wrong


def _line(row: Row) -> str:
    memory = " → ".join(f"{usage.memory:.0f}" for usage in (row.before, row.most, row.after))
    descriptors = " → ".join(str(usage.descriptors) for usage in (row.before, row.most, row.after))
    counts = f"{row.name:15}{row.clients:>8,}{row.seconds:>9.1f}"
    return f"{counts}{memory:>22}{descriptors:>20}{row.next_client * 1000:>10.0f} ms"
