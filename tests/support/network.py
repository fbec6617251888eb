"""A network of its own for a test: a namespace with a loopback interface, in which addresses and routes can be set."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from harness import Running, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = os.geteuid() == 0


@contextlib.contextmanager
def network(*commands: str) -> Iterator[Callable[[Sequence[str]], list[str]]]:
    """A network in which these commands were run by a shell. Gives a function: the command line to run one in it."""
    require("unshare", "nsenter", "ip")
    script = " && ".join(["ip link set lo up", *commands, "echo ready", "exec cat"])
    with Running(["unshare", "-n" if ROOT else "-rn", "sh", "-c", script]) as holder:
        holder.read_until(b"ready\n")
        entering = ["nsenter", "-t", str(holder.pid), "-n", *([] if ROOT else ["-U", "--preserve-credentials"])]
        yield lambda words: [*entering, *words]
