"""What came of a fault, and one judge for all of them.

The law: the bytes delivered are the bytes sent, or the status is not 0 and stderr says how many are missing; the tool
has ended within its limit; it has left nothing behind. A `Law` says what of this can be asked of one case.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from harness import Running
from netcats import NETCATS, Netcat, NeverMet, Unable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

LIMIT = 15.0  # seconds that a tool has for its end, on a busy machine, after the last thing that was done to it
SIGNALLED = 128  # statuses above are those of a signal, which needs no words

HELD = "held"
SILENT = "bytes missing in silence"
MISSING = "bytes missing"
UNCOUNTED = "bytes missing, not counted"
MISCOUNTED = "bytes missing, counted wrongly"
DAMAGED = "wrong data"
HANGS = "hangs"
STATUS = "wrong status"
BREAKS = "breaks off"
CRASHES = "crashes"
LEFT = "something left behind"
BUSY = "uses the processor"
UNABLE = "–"


class Flow(NamedTuple):
    """What went in on one side, and what came out on the other."""

    sent: int
    received: int
    intact: bool  # as far as it came

    @property
    def missing(self) -> int:
        return max(0, self.sent - self.received)


def flow(sent: bytes, received: bytes) -> Flow:
    """Bytes that must arrive in their order."""
    return Flow(len(sent), len(received), sent.startswith(received))


class Law(NamedTuple):
    """What is asked of a case."""

    statuses: tuple[int, ...] | None = (0,)  # those that are right when all has arrived; None: any but 0
    # May bytes be missing? "never", "counted" (how many at most), "estimated" (how many, where acknowledgements may be
    # missing, too), "reported" (that), "signal" (of course)
    loss: str = "never"


WHOLE = Law()
# The peer or the machine prevents it: all of it, or the number of bytes.
COUNTED = Law((0, 1, 124), "counted")
# How many are missing cannot be known: a line on stderr, or the end by a signal.
REPORTED = Law((0, 1), "reported")
FAILS = Law(None, "reported")
ENDS = Law((0, 1), "signal")


class Outcome(NamedTuple):
    """What came of it."""

    status: int | None  # None: it had not ended at its limit
    err: str = ""
    flows: tuple[Flow, ...] = ()
    left: tuple[str, ...] = ()  # what it has left behind
    busy: float = 0.0  # seconds of the processor that it used while it had nothing to do


def verdict(law: Law, outcome: Outcome) -> str:
    """The judge: HELD, or what is wrong."""
    if outcome.status is None:
        return HANGS
    if outcome.status in CRASHED or "Traceback (most recent call last)" in outcome.err:
        return CRASHES
    if not all(flow.intact for flow in outcome.flows):
        return DAMAGED
    if outcome.left:
        return LEFT
    if outcome.busy > BUSY_SECONDS:
        return BUSY
    missing = sum(flow.missing for flow in outcome.flows)
    return _of_a_loss(law, outcome, missing) if missing else _of_a_status(law.statuses, outcome)


BUSY_SECONDS = 0.05  # in one second
CRASHED = {128 + signum for signum in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)}


def _of_a_status(statuses: tuple[int, ...] | None, outcome: Outcome) -> str:
    right = bool(outcome.status) if statuses is None else outcome.status in statuses
    return HELD if right else STATUS


def _of_a_loss(law: Law, outcome: Outcome, missing: int) -> str:
    if outcome.status == 0:
        return SILENT
    if law.loss == "never":
        return MISSING
    if law.loss == "signal":
        return _of_a_status(law.statuses, outcome)
    if law.loss == "reported":
        return HELD if outcome.err.strip() or (outcome.status or 0) > SIGNALLED else UNCOUNTED
    numbers = [int(number.replace(",", "")) for number in re.findall(r"(\d[\d,]*) bytes?\b", outcome.err)]
    if not numbers:
        return UNCOUNTED
    # A byte that was acknowledged may still not have been read.
    most = missing if law.loss == "counted" else math.inf
    return HELD if 0 < sum(numbers) <= most else MISCOUNTED


# -- A case ------------------------------------------------------------------------------------------------------

ALL = tuple(NETCATS)
WITHOUT_OPENBSD = ("pync", "ncat", "socat")


class Case(NamedTuple):
    """A fault: what is done to the tool, by a scene with these facts, and what is asked of it."""

    group: str
    name: str
    scene: Callable[..., Outcome]
    facts: Mapping[str, Any] = {}
    law: Law = WHOLE
    tools: tuple[str, ...] = ALL

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"

    def play(self, tool: Netcat, folder: Path) -> Outcome:
        """Do it to a tool. The folder is empty and for this case alone."""
        return self.scene(tool, folder, **self.facts)


def played(case: Case, name: str, folder: Path) -> tuple[str, object]:
    """The verdict about a tool, and the outcome or what happened instead of one."""
    if name not in case.tools:
        return UNABLE, "has nothing for this"
    try:
        outcome = case.play(NETCATS[name], folder)
    except (Unable, pytest.skip.Exception) as reason:
        return UNABLE, reason
    except NeverMet as end:
        outcome = Outcome(end.status, end.err, (Flow(1, 0, intact=True),))
    except (TimeoutError, pytest.fail.Exception) as failure:
        return HANGS, failure
    except (OSError, AssertionError) as failure:
        return BREAKS, failure
    return verdict(case.law, outcome), outcome


# -- Ends and remains --------------------------------------------------------------------------------------------


def ended(process: Running, limit: float = LIMIT) -> int | None:
    """The status of a process, as a shell shows it; None if it has not ended at its limit."""
    try:
        return process.wait(limit)
    except pytest.fail.Exception:
        return None


def outcome_of(
    process: Running, *flows: Flow, limit: float = LIMIT, left: tuple[str, ...] = (), busy: float = 0.0
) -> Outcome:
    """Wait for the end of a process."""
    status = ended(process, limit)
    return Outcome(status, process.stderr, flows, left, busy)


class Descendants:
    """The processes below one at a moment, and which of them outlive it."""

    def __init__(self, process: Running) -> None:
        self._descriptors = process.descendants()

    def left(self, seconds: float = 5.0) -> tuple[str, ...]:
        """Those that are there so many seconds later, which are killed then. To be called once."""
        until, alive = time.monotonic() + seconds, 0
        for descriptor in self._descriptors:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                alive += 1
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        return (f"{alive} processes",) if alive else ()
