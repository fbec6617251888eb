"""Servers that run for long: a `pync -lk` for each mode, and what the kernel knows about its process."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PYNC = str(Path(sys.executable).with_name("pync"))
HOST = "127.0.0.1"
DEADLINE = 20.0  # seconds for a server to listen, to be quiet or to end
LOOK = 0.02  # seconds between two looks at a process
PAUSE = 0.25  # seconds between two looks at all servers
LISTENING = {"tcp": "0A", "udp": "07"}  # states in /proc/net; of UDP it is any bound socket
# MB that a server may have more after the same load once more. Python's allocator keeps what it once had, for the next
# time, and cyclic garbage is collected only when there are many thousands of objects.
MORE_MEMORY = 12.0
TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)


class Usage(NamedTuple):
    """What a server holds at a moment."""

    memory: float  # MB that are resident
    descriptors: int
    children: int  # processes, ended ones that were not waited for included


class Server:
    """A pync that serves many clients. Its stderr goes to a file, which should stay empty."""

    def __init__(self, name: str, folder: Path, *options: str, path: str = "", **files: object) -> None:
        """`path` is that of a unix socket, which begins with @ if it is abstract. `files`: stdin and stdout."""
        self.name, self.path = name, path
        self.tls, self.datagrams, self.websocket = "--ssl" in options, "-u" in options, "--ws" in options
        self.errors = folder / f"{name.replace(' ', '-')}.stderr"
        place = ["-U", path] if path else [HOST, "0"]
        self.argv = [PYNC, "-lk", *options, *place]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **files}
        with self.errors.open("wb") as stderr:
            self._process = subprocess.Popen(self.argv, stderr=stderr, cwd=folder, **given)  # type: ignore[call-overload]
        self.pid: int = self._process.pid
        self.port = 0
        self._wait_until(self._listens, "it does not listen")

    @property
    def address(self) -> tuple[str, int] | str:
        """Where it listens, as `socket.connect` takes it."""
        if self.path:
            return self.path.replace("@", "\0", 1) if self.path[0] == "@" else self.path
        return HOST, self.port

    @property
    def operands(self) -> list[str]:
        """The same as operands of a pync that connects."""
        return ["-U", self.path] if self.path else [HOST, str(self.port)]

    def usage(self) -> Usage:
        """What it holds now. Raises OSError if it has ended."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return Usage(memory * 1024 / 1e6, len(os.listdir(f"/proc/{self.pid}/fd")), len(children))

    def peak(self) -> float:
        """The most memory that it has had, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6

    def trouble(self) -> str | None:
        """What is wrong with it: it has ended, or has reported a bug."""
        said = self.errors.read_text(errors="replace")
        if self._process.poll() is not None:
            return f"it has ended with {self._process.returncode}: {said[-2000:]}"
        return f"a bug: {said[-3000:]}" if "Traceback" in said else None

    def end(self) -> str | None:
        """End it by SIGTERM; what is wrong with its end."""
        if self._process.poll() is not None:
            return None  # `trouble` has reported it
        self._process.terminate()
        try:
            status = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"SIGTERM has not ended it within {DEADLINE} s"
        return None if status in TERMINATED else f"SIGTERM has ended it with {status}"

    def _listens(self) -> bool:
        if self.path:
            with socket.socket(socket.AF_UNIX) as probe:
                names = Path("/proc/net/unix").read_text().split()
                return probe is not None and self.path in names
        self.port = _bound_port(self.pid, "udp" if self.datagrams else "tcp")
        return self.port != 0

    def _wait_until(self, there: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + DEADLINE
        while not there():
            if self._process.poll() is not None or time.monotonic() > until:
                self.end()
                raise RuntimeError(f"{self.argv}: {otherwise}: {self.errors.read_text()}")
            time.sleep(LOOK)


def quiet_usages(
    servers: Mapping[str, Server], before: Mapping[str, Usage] | None = None, seconds: float = 3.0
) -> dict[str, Usage]:
    """What each server holds once it has no child, and no more descriptors than before.

    Without `before`, what each holds once that has not changed for some seconds.
    """
    until, last, same = time.monotonic() + DEADLINE, _usages(servers), 0
    while time.monotonic() < until:
        time.sleep(PAUSE)
        now = _usages(servers)
        same, last = (same + 1 if now == last else 0), now
        quiet = all(
            not usage.children and (before is None or usage.descriptors <= before[name].descriptors)
            for name, usage in now.items()
        )
        if quiet and (before or same * PAUSE >= seconds):
            break
    return last


def _usages(servers: Mapping[str, Server]) -> dict[str, Usage]:
    return {name: server.usage() for name, server in servers.items()}


def _bound_port(pid: int, protocol: str) -> int:
    """The port on which a process listens (or to which it is bound, with UDP); 0 if there is none yet."""
    sockets = set()
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                sockets.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    with open(f"/proc/net/{protocol}") as table:
        for fields in map(str.split, table):
            if fields[3] == LISTENING[protocol] and f"socket:[{fields[9]}]" in sockets:
                return int(fields[1].rpartition(":")[2], 16)
    return 0


class Feed:
    """The stdin of a server that shares it: numbered lines without an end, a few at a time."""

    LINES = 64  # in one write, which a pipe takes whole or not at all (PIPE_BUF is 4096 bytes)
    PAUSE = 0.002  # seconds between writes

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        while not self._ended.wait(self.PAUSE):
            lines = b"".join(b"%015d\n" % each for each in range(number, number + self.LINES))
            with suppress(BlockingIOError):
                os.write(self._writer, lines)
                number += self.LINES

    def end(self) -> None:
        """Close both ends of the pipe."""
        self._ended.set()
        self._thread.join()
        os.close(self.reader)
        os.close(self._writer)


@contextmanager
def folder() -> Iterator[Path]:
    """A directory for the files of a run."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        yield Path(name)
