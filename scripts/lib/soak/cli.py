"""The command line of scripts/soak."""

import argparse
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from soak import Lost, datagrams, sessions, shared, websocket
from soak.place import Place, opened
from soak.servers import MORE_MEMORY, Usage, folder, quiet_usages
from soak.sessions import Session
from soak.wire import Chance

FIRST_PART = 60.0  # seconds until memory and descriptors are read for the first time, but at most a third of the run
WORKERS = 8  # sessions at a time
FAILURES = 5  # after which no more sessions begin

KINDS: dict[str, Session] = {
    **dict.fromkeys(["exec", "shell", "filter", "pipes", "tls exec", "forward", "forward to tls"], sessions.echo),
    **dict.fromkeys(["tls forward", "unix exec", "unix forward", "abstract exec", "balancer"], sessions.echo),
    "terminal": sessions.on_terminal,
    "digest": sessions.digesting,
    **dict.fromkeys(["socks5", "http proxy"], sessions.proxied),
    **dict.fromkeys(["ws exec", "tls ws exec", "ws forward"], websocket.echo),
    **dict.fromkeys(["file", "tls file", "ws file"], sessions.download),
    **dict.fromkeys(["page", "tls page"], sessions.page),
    **dict.fromkeys(["sink", "tls sink", "ws sink"], sessions.sink),
    "upload": sessions.upload,
    **dict.fromkeys(["broker", "tls broker"], shared.broker),
    "chat": shared.chat,
    "shared stdin": shared.follow,
    **dict.fromkeys(["udp exec", "udp forward"], datagrams.echo),
    "udp sink": datagrams.sink,
}


class Tally(NamedTuple):
    """What a session came to: the bytes that it has accounted for, or its description and what went wrong."""

    server: str
    size: int  # bytes
    failure: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the options ask for; the exit status is 1 if anything was lost or left behind."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves by `finally`
    with folder() as directory, opened(directory) as place:
        if options.session:
            tallies = [_one(place, number, options) for number in options.session]
            return _report_failures(tallies, [], options)
        return _soak(place, options)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description="Random sessions with pync's servers, in which every byte is accounted for."
    )
    option = parser.add_argument
    option("minutes", type=float, nargs="?", metavar="MINUTES", default=1.0, help="how long sessions begin (1)")
    option("--seed", type=int, default=random.randrange(1 << 31), help="what decides how each session goes")
    option("--only", action="append", choices=KINDS, metavar="SERVER", help="only sessions with it; can be repeated")
    option("--session", type=int, action="append", metavar="N", help="only this session of the seed; can be repeated")
    option("--workers", type=int, default=WORKERS, metavar="N", help=f"sessions at a time ({WORKERS})")
    return parser.parse_args(argv)


def _soak(place: Place, options: argparse.Namespace) -> int:
    seconds = options.minutes * 60
    first = min(FIRST_PART, seconds / 3)
    numbers = itertools.count(1)
    tallies = _run(place, numbers, first, options)
    before = _quiet(place)
    tallies += _run(place, numbers, seconds - first, options)
    after = _quiet(place, before)
    troubles = [f"{name}: {why}" for name, server in place.servers.items() if (why := server.trouble())]
    troubles += [f"{name}: {why}" for name in place.servers for why in grown(before[name], after[name])]
    troubles += [f"{name}: {why}" for name, server in place.servers.items() if (why := server.end())]
    _report(tallies, before, after)
    return _report_failures(tallies, troubles, options)


def _quiet(place: Place, before: dict[str, Usage] | None = None) -> dict[str, Usage]:
    for name, server in place.servers.items():
        if name in place.slots and name not in place.mixtures:
            shared.nudge(server)
    return quiet_usages(place.servers, before)


def _run(place: Place, numbers: Iterable[int], seconds: float, options: argparse.Namespace) -> list[Tally]:
    """Sessions one after another in each of the workers, until the time is up or too many have failed."""
    until, tallies = time.monotonic() + seconds, list[Tally]()
    taking = threading.Lock()

    def work() -> None:
        while time.monotonic() < until and sum(tally.failure is not None for tally in tallies) < FAILURES:
            with taking:
                number = next(iter(numbers))
            tallies.append(_one(place, number, options))

    with ThreadPoolExecutor(options.workers) as pool:
        for done in [pool.submit(work) for _ in range(options.workers)]:
            done.result()
    return tallies


def _one(place: Place, number: int, options: argparse.Namespace) -> Tally:
    """The session of this number."""
    chance = Chance(f"{options.seed}/{number}")
    name = chance.choice(list(options.only or KINDS))
    try:
        return Tally(name, KINDS[name](place, name, chance))
    except (Lost, OSError) as error:
        size = f", {chance.count} bytes" if chance.count >= 0 else ""
        again = f"scripts/soak --seed {options.seed} --session {number}"
        again += "".join(f" --only '{each}'" for each in options.only or ())
        what = f"session {number} with '{name}' ({chance.way}{size}): {type(error).__name__}: {error}"
        return Tally(name, 0, f"{what}\n  server: {' '.join(place.servers[name].argv)}\n  again: {again}")


def grown(before: Usage, after: Usage) -> list[str]:
    """What a server holds at the end that it did not hold before."""
    found = []
    if after.children:
        found.append(f"{after.children} children are left")
    if after.descriptors > before.descriptors:
        found.append(f"{after.descriptors} descriptors instead of {before.descriptors}")
    if after.memory > before.memory + MORE_MEMORY:
        found.append(f"{after.memory:.1f} MB of memory instead of {before.memory:.1f}")
    return found


def _report(tallies: list[Tally], before: dict[str, Usage], after: dict[str, Usage]) -> None:
    print(f"{'server':16}{'sessions':>9}{'MB':>10}{'failed':>8}{'memory, MB':>18}{'descriptors':>14}")
    for name in before:
        own = [tally for tally in tallies if tally.server == name]
        memory = f"{before[name].memory:.1f} → {after[name].memory:.1f}"
        descriptors = f"{before[name].descriptors} → {after[name].descriptors}"
        print(_row(name, own) + f"{memory:>18}{descriptors:>14}")
    print(_row("together", tallies))


def _row(name: str, tallies: list[Tally]) -> str:
    failed = sum(tally.failure is not None for tally in tallies)
    return f"{name:16}{len(tallies):>9,}{sum(tally.size for tally in tallies) / 1e6:>10,.1f}{failed:>8}"


def _report_failures(tallies: list[Tally], troubles: list[str], options: argparse.Namespace) -> int:
    failures = [tally.failure for tally in tallies if tally.failure]
    print(f"\nseed {options.seed}, {os.cpu_count()} processors: {len(failures)} sessions failed")
    for line in [*failures, *troubles]:
        print(line)
    return int(bool(failures or troubles))
