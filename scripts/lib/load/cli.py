"""The command line of scripts/load."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from soak import Lost
from soak.servers import Usage, folder, quiet_usages
from soak.websocket import REQUEST

from load import Load, Start, crowds, quick, silent
from load.clients import SPARE, raise_limit
from load.quick import answered, broker, echo, page, socks

ROUNDS = 2  # of the same load, for the same server
CROWD, BURST, SILENT = 10_000, 20_000 // ROUNDS, 1_000  # clients of a round
AT_ONCE = 1.0  # seconds within which the next client must be served
TRIES = 3  # next clients in a round
# Python's allocator keeps what it once had, for the next time. So after the second round a server may have a little
# more than it had at most until then; what is never given back, or only by a late collection of garbage, shows more.
MORE_MEMORY = 1.25  # times
SPARE_MEMORY = 4.0  # MB
QUIET = 60.0  # seconds for a server to be rid of its clients
STEADY = 1.0  # seconds in which a server must not change, to be looked at

BALANCED = ["--accept-proxy", "--allow", "127.0.0.0/8", "-e", "cat"]
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
    "half a PROXY": (SILENT, silent.silent(BALANCED, b"PROXY TCP4", silent.is_named)),
    "half a request": (SILENT, silent.silent(["--ws"], b"GET / HTTP/1.1\r\nHost:", silent.gets_a_message)),
    "silent by ws": (SILENT, silent.silent(["--ws"], REQUEST, silent.gets_a_message)),
    "half a frame": (SILENT, silent.silent(["--ws"], REQUEST + b"\x82\xfe\1", silent.gets_a_message)),
    "half a CONNECT": (SILENT, silent.silent(["--proxy-server", "http"], b"CONNECT a", silent.goes_through_http)),
}


class Round(NamedTuple):
    """What a round came to. Each `Usage` has the memory and the descriptors of the server."""

    seconds: float  # until all clients were served or there
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
    print(f"{'shape':15}{'clients':>8}{'seconds':>9}{'memory, MB':>30}{'descriptors':>34}{'next client':>13}")
    failed = False
    for name in options.only or SHAPES:
        clients, start = SHAPES[name]
        clients = max(1, round(clients * options.scale))
        before, rounds, wrong = _measure(clients, start)
        failed |= bool(wrong)
        print(_line(name, clients, before, rounds), *(f"  {each}" for each in wrong), sep="\n", flush=True)
    return int(failed)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/load", description="Many clients of pync's servers, and whether the next one is served at once."
    )
    option = parser.add_argument
    option("--only", action="append", choices=SHAPES, metavar="SHAPE", help="only this one; can be repeated")
    option("--scale", type=float, default=1.0, metavar="PART", help="this part of the usual numbers of clients (1)")
    return parser.parse_args(argv)


def _measure(clients: int, start: Start) -> tuple[Usage, list[Round], list[str]]:
    """What a fresh server holds, the rounds of this load, and what was wrong."""
    with folder() as directory, start(clients, directory) as load:
        load.next_client()  # so that what a first client makes is there before
        fresh = _quiet(load)
        rounds, wrong, most = list[Round](), list[str](), fresh.memory
        for number in range(1, ROUNDS + 1):
            found = round_of(load, fresh)
            wrong += (f"round {number}: {why}" for why in found.wrong)
            if rounds and found.after.memory > MORE_MEMORY * most + SPARE_MEMORY:
                wrong.append(
                    f"round {number}: {found.after.memory:.1f} MB of memory; before it were {most:.1f} at most"
                )
            most = max(most, found.most.memory, found.after.memory)
            rounds.append(found)
            if load.server.trouble():
                break
    return fresh, rounds, wrong


def round_of(load: Load, fresh: Usage) -> Round:
    """Burden the server once, try the next clients meanwhile, and look at what the server holds afterwards."""
    wrong, slowest, most, since = list[str](), 0.0, fresh, time.monotonic()
    seconds = 0.0
    try:
        with load.burden():
            seconds = time.monotonic() - since
            most = load.server.usage()
            slowest = max(_seconds(load) for _ in range(TRIES))
    except (Lost, OSError) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    with suppress(OSError, StopIteration):  # it has ended, which `trouble` reports
        most = most._replace(memory=load.server.peak())
    after = _quiet(load, fresh)
    if trouble := load.server.trouble():
        wrong.append(trouble)
    if slowest > AT_ONCE:
        wrong.append(f"the next client had to wait for {slowest:.1f} s")
    if after.descriptors > fresh.descriptors or after.children:
        wrong.append(f"{after.descriptors} descriptors instead of {fresh.descriptors}, {after.children} children")
    return Round(seconds, most, after, slowest, wrong)


def _seconds(load: Load) -> float:
    since = time.monotonic()
    load.next_client()
    return time.monotonic() - since


def _quiet(load: Load, fresh: Usage | None = None) -> Usage:
    """What the server holds once it holds no more descriptors than a fresh one, or after some time."""
    until, usage = time.monotonic() + QUIET, Usage(0, 0, 0)
    with suppress(OSError, Lost):
        while time.monotonic() < until:
            load.nudge()
            usage = quiet_usages({"": load.server}, seconds=STEADY)[""]
            if fresh is None or usage.descriptors <= fresh.descriptors and not usage.children:
                break
    return usage


def _line(name: str, clients: int, before: Usage, rounds: list[Round]) -> str:
    usages = [before, *(usage for each in rounds for usage in (each.most, each.after))]
    memory = " → ".join(f"{usage.memory:.0f}" for usage in usages)
    descriptors = " → ".join(str(usage.descriptors) for usage in usages)
    slowest = max(each.next_client for each in rounds) * 1000
    seconds = max(each.seconds for each in rounds)
    return f"{name:15}{clients:>8,}{seconds:>9.1f}{memory:>30}{descriptors:>34}{slowest:>10.0f} ms"
