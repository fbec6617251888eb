"""A program under measurement, and what the system knows of it.

A process leads a group of its own, so that what it has started can be ended with it. It is known by a descriptor
(pidfd_open(2)) until it is reaped: a process id alone could be somebody else's by then.

Peak memory is VmHWM of /proc/PID/status, read while the process lives. ru_maxrss of wait4(2) will not do: it begins
with the memory of the process that forked, which is larger than that of a netcat in C.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

GRACE = 2.0  # seconds to end by SIGTERM before SIGKILL
LISTENING = {"tcp": "0A", "udp": "07"}  # states in /proc/net/PROTOCOL; for UDP it is any bound socket


class Ended(NamedTuple):
    """How a process ended: the status in Python's way, and the processor time in seconds of it and its children."""

    status: int
    cpu: float


class Process:
    """A started program."""

    def __init__(
        self, words: Sequence[str], stdin: FileIO | int, stdout: FileIO | int, stderr: FileIO | int, directory: Path
    ) -> None:
        self._popen = subprocess.Popen(
            words, stdin=stdin, stdout=stdout, stderr=stderr, cwd=directory, start_new_session=True
        )
        self._pidfd = os.pidfd_open(self._popen.pid)
        self._reaping = threading.Lock()
        self._end: Ended | None = None

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended."""
        return self._pidfd

    def signal(self, signum: int) -> None:
        """Send a signal to its group, if it has not been reaped."""
        with self._reaping, suppress(ProcessLookupError):
            if self._end is None:
                os.killpg(self._popen.pid, signum)

    def ended(self, seconds: float) -> bool:
        """Whether it ends within that time."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def wait(self) -> Ended:
        """Wait for its end."""
        if self._end is None:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
            with self._reaping:
                _, status, usage = os.wait4(self._popen.pid, 0)
                self._popen.returncode = os.waitstatus_to_exitcode(status)
                self._end = Ended(self._popen.returncode, usage.ru_utime + usage.ru_stime)
        return self._end

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        if self._end is None:
            self.signal(signal.SIGTERM)
            self.ended(GRACE)
            self.signal(signal.SIGKILL)  # whatever is left of its group
            self.wait()
        os.close(self._pidfd)

    def memory(self, field: str) -> float:
        """VmRSS or VmHWM, the resident memory now or at its peak, in MB; 0 if it has ended."""
        status = Path(f"/proc/{self._popen.pid}/status").read_text(errors="replace")
        found = re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 / 1e6 if found else 0.0

    def descriptors(self) -> int:
        """How many descriptors it has open; 0 if it has ended."""
        with suppress(OSError):
            return len(os.listdir(f"/proc/{self._popen.pid}/fd"))
        return 0


def end_strays() -> None:
    """End the children that nobody knows of: a signal may strike when one is started and not yet a `Process`."""
    for thread in os.listdir("/proc/self/task"):
        for pid in map(int, Path(f"/proc/self/task/{thread}/children").read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def free_port(kind: socket.SocketKind) -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


def bound_ports(protocol: str) -> set[int]:
    """The ports that sockets listen on (tcp) or are bound to (udp), as the kernel lists them."""
    ports = set()
    for name in (protocol, f"{protocol}6"):
        with suppress(FileNotFoundError), open(f"/proc/net/{name}") as table:
            next(table)
            for _, local, _, state, *_ in map(str.split, table):
                if state == LISTENING[protocol]:
                    ports.add(int(local.rpartition(":")[2], 16))
    return ports
