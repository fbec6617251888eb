"""A program under measurement, and what the kernel knows about it.

Each process leads a group of its own, so that the programs it has started can be ended with it. Until it is reaped it
is known by a descriptor (pidfd_open(2)): its process id alone could belong to another process by then.

Peak memory is VmHWM of /proc/PID/status, read while the process lives. ru_maxrss of wait4(2) will not do: it begins
with the memory of the process that forked, which is larger than that of a netcat in C.
"""

import os
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from subprocess import DEVNULL
from typing import NamedTuple

GRACE = 2.0  # seconds to end by SIGTERM before SIGKILL
LISTENING = {"tcp": "0A", "udp": "07"}  # states in /proc/net/PROTOCOL; for UDP it is any bound socket
Given = FileIO | int  # as stdin, stdout or stderr


class Ended(NamedTuple):
    """How a process ended: the status as subprocess gives it, and the CPU seconds of the process and its children."""

    status: int
    cpu: float


class Process:
    """A started program, and the port it listens on, if it does."""

    port = 0

    def __init__(self, words: Sequence[str], directory: Path, **files: Given) -> None:
        """`files`: stdin, stdout and stderr, as subprocess takes them; those that are missing are /dev/null."""
        stdin, stdout, stderr = (files.get(name, DEVNULL) for name in ("stdin", "stdout", "stderr"))
        self._popen = subprocess.Popen(
            words, stdin=stdin, stdout=stdout, stderr=stderr, cwd=directory, start_new_session=True
        )
        self._pidfd = os.pidfd_open(self._popen.pid)
        self._reaping = threading.Lock()
        self._end: Ended | None = None

    def fileno(self) -> int:
        """A descriptor that is readable when the process has ended."""
        return self._pidfd

    def signal(self, signum: int) -> None:
        """Send a signal to the group of the process, if the process has not been reaped."""
        with self._reaping, suppress(ProcessLookupError):
            if self._end is None:
                os.killpg(self._popen.pid, signum)

    def wait(self) -> Ended:
        """Wait for the end of the process."""
        if self._end is None:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
            with self._reaping:
                _, status, usage = os.wait4(self._popen.pid, 0)
                self._popen.returncode = os.waitstatus_to_exitcode(status)
                self._end = Ended(self._popen.returncode, usage.ru_utime + usage.ru_stime)
        return self._end

    def close(self) -> None:
        """End the process, if it has not ended by itself."""
        if self._end is None:
            self.signal(signal.SIGTERM)
            readable(self, seconds=GRACE)
            self.signal(signal.SIGKILL)  # also for the rest of the group
            self.wait()
        os.close(self._pidfd)

    def memory(self, field: str) -> float:
        """VmRSS or VmHWM, the resident memory now or at its peak, in MB; 0 if the process has ended."""
        status = Path(f"/proc/{self._popen.pid}/status").read_text(errors="replace")
        found = re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 / 1e6 if found else 0.0

    def descriptors(self) -> int:
        """How many descriptors the process has open; 0 if it has ended."""
        with suppress(OSError):
            return len(os.listdir(f"/proc/{self._popen.pid}/fd"))
        return 0


def readable(*sources: Process | socket.socket | FileIO, seconds: float | None = None) -> list[int]:
    """Wait until there is something to read; the descriptors of those sources, or none after that many seconds."""
    poll = select.poll()
    for source in sources:
        poll.register(source, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)]


def end_strays() -> None:
    """End the children without a `Process`: a signal may come between the start of a child and the making of that."""
    for thread in os.listdir("/proc/self/task"):
        for pid in map(int, Path(f"/proc/self/task/{thread}/children").read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def port_of(sock: socket.socket) -> int:
    """The port to which the socket is bound."""
    port: int = sock.getsockname()[1]
    return port


def free_port(protocol: str) -> int:
    """A port of 127.0.0.1 that is free at this moment, for "tcp" or "udp"."""
    with socket.socket(type=socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        return port_of(holder)


def bound_ports(protocol: str) -> set[int]:
    """The ports that sockets listen on (tcp) or are bound to (udp)."""
    return {port for port, state, _ in sockets(protocol) if state == LISTENING[protocol]}


def sockets(protocol: str) -> Iterator[tuple[int, str, str]]:
    """The sockets, as the kernel lists them (proc(5)): their ports, their states and the last column."""
    for name in (protocol, f"{protocol}6"):
        with suppress(FileNotFoundError), open(f"/proc/net/{name}") as table:
            next(table)
            for _, local, _, state, *_, last in map(str.split, table):
                yield int(local.rpartition(":")[2], 16), state, last
