"""Many connections without data: a scan of all ports, and how long it takes to start and try one."""

from __future__ import annotations

import re
import socket
import statistics
import time
from typing import TYPE_CHECKING

from bench.commands import HOST, argv
from bench.outcomes import Wrong

if TYPE_CHECKING:
    from bench.trial import Trial

# With -v: "Connection to 127.0.0.1 80 port [tcp/*] succeeded!", or "(UNKNOWN) [127.0.0.1] 80 (http) open".
OPEN = re.compile(rb"127\.0\.0\.1\]? (\d+) .*(?:succeeded!|open)$", re.MULTILINE)


def ports(trial: Trial) -> list[float]:
    """Seconds for all ports. Verified is that each one that listens is found.

    More than those may be found: others on this machine listen, too, and most tools meet themselves now and then.
    """
    if trial.verifying:
        _scan_verbosely(trial)
        return []
    began = time.perf_counter()
    trial.start(trial.scale.ports).wait()
    return [time.perf_counter() - began]


def probe(trial: Trial) -> list[float]:
    """Milliseconds from starting the tool to its end, when it has tried a port that is open; the median."""
    _, port = trial.listener()
    times = []
    for _ in range(trial.scale.starts):
        began = time.perf_counter()
        end = trial.start(port).wait()
        times.append(time.perf_counter() - began)
        if end.status:
            raise Wrong(f"ended with status {end.status}")
    return [statistics.median(times) * 1000]


def _scan_verbosely(trial: Trial) -> None:
    expected = {_listen_up_to(trial, 1024 + (trial.scale.ports - 1024) * third // 3) for third in (1, 2, 3)}
    said = trial.open("ports", "wb")
    trial.run([*argv(trial.commands, trial.tool, trial.scale.ports), "-v"], stderr=said).wait()
    found = {int(port) for port in OPEN.findall((trial.files.directory / "ports").read_bytes())}
    if expected - found:
        raise Wrong(f"did not find the open ports {sorted(expected - found)}")


def _listen_up_to(trial: Trial, port: int) -> int:
    """Listen on the highest port up to that one that nobody has."""
    while True:
        try:
            trial.keep(socket.create_server((HOST, port)))
        except OSError:
            port -= 1
        else:
            return port
