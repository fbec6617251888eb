"""The four netcats that a fault is done to: how each is started for one use, and what it cannot do.

    with NETCATS["socat"].start(Use("listener")) as process: … process.port …

Each use has one command line for each tool, with what its manual offers for that use: nc.openbsd half-closes (`-N`),
socat waits for the answer (`-t`). What a tool has no option for is `Unable`. Nothing here may know what is done to it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import DEADLINE, PYNC, Running, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOST = "127.0.0.1"
LISTENING = "0A"  # a state in /proc/net/tcp


class Unable(Exception):
    """The tool has no option for this."""


class NeverMet(Exception):
    """The tool has ended before it was connected."""

    def __init__(self, process: Running) -> None:
        self.status, self.err = process.wait(), process.stderr
        super().__init__(f"ended with {self.status}: {self.err}")


class Use(NamedTuple):
    """What a tool is started for."""

    role: str = "client"  # "listener" serves one client, "keep" many
    port: int = 0
    host: str = HOST
    unix: Path | None = None  # instead of host and port
    program: Path | None = None  # an executable file that gets the connection
    way: str = "pipes"  # how the program gets it: "pipes", the "socket" itself, or as a "filter"
    wait: int = 0  # seconds for connecting and for silence
    tls: bool = False  # a client does not verify, a listener makes its certificate
    target: int = 0  # the port to which each client is connected
    proxy: str = ""  # the kind of proxy that a listener is: "http" or "socks5"
    log: Path | None = None  # a copy of what is transferred
    allow: str = ""  # the only host that a listener serves

    @property
    def listens(self) -> bool:
        return self.role != "client"


def _pync(use: Use) -> list[str]:
    words = {"client": [], "listener": ["-l"], "keep": ["-lk"]}[use.role]
    words += ["-w", str(use.wait)] if use.wait else []
    words += ["--ssl", *([] if use.listens else ["--ssl-no-verify"])] if use.tls else []
    words += ["--to", f"{HOST}:{use.target}"] if use.target else []
    words += ["--proxy-server", use.proxy] if use.proxy else []
    words += ["-o", str(use.log)] if use.log else []
    words += ["--allow", use.allow] if use.allow else []
    if use.program:
        words += ["--filter" if use.way == "filter" else "-c", str(use.program)]
        words += ["--pipes"] if use.way == "pipes" else []
    return [*PYNC, *words, *_place(use)]


def _openbsd(use: Use) -> list[str]:
    if use.program or use.tls or use.target or use.proxy or use.log or use.allow:
        raise Unable
    words = {"client": ["-N"], "listener": ["-Nl"], "keep": ["-Nlk"]}[use.role]
    words += ["-w", str(use.wait)] if use.wait else []
    return [require("nc.openbsd"), *words, *_place(use)]


def _ncat(use: Use) -> list[str]:
    if (use.program and use.way != "pipes") or use.proxy == "socks5":
        raise Unable
    words = {"client": [], "listener": ["-l"], "keep": ["-lk"]}[use.role]
    words += ["-w", str(use.wait), "-i", str(use.wait)] if use.wait else []
    words += ["--ssl"] if use.tls else []
    words += ["-c", f"ncat {HOST} {use.target}"] if use.target else []
    words += ["--proxy-type", use.proxy] if use.proxy else []
    words += ["-o", str(use.log)] if use.log else []
    words += ["--allow", use.allow] if use.allow else []
    words += ["-c", str(use.program)] if use.program else []
    return [require("ncat"), *words, *_place(use)]


def _place(use: Use) -> list[str]:
    return ["-U", str(use.unix)] if use.unix else [use.host, str(use.port)]


def _socat(use: Use) -> list[str]:
    if use.way != "pipes" or use.proxy or use.log or use.allow or (use.tls and use.listens):
        raise Unable
    fork = ",fork" if use.role == "keep" else ""
    if use.unix:
        there = f"UNIX-LISTEN:{use.unix}{fork}" if use.listens else f"UNIX-CONNECT:{use.unix}"
    elif use.listens:
        there = f"TCP-LISTEN:{use.port},bind={use.host},backlog=128{fork}"
    else:
        limit = f",connect-timeout={use.wait}" if use.wait else ""
        there = f"OPENSSL:{use.host}:{use.port},verify=0" if use.tls else f"TCP:{use.host}:{use.port}{limit}"
    here = f"EXEC:{use.program}" if use.program else f"TCP:{HOST}:{use.target}" if use.target else "STDIO"
    idle = ["-T", str(use.wait)] if use.wait else []
    return [require("socat"), "-t", "5", *idle, *([there, here] if use.listens else [here, there])]


class Netcat(NamedTuple):
    """One of them."""

    name: str
    words: Callable[[Use], list[str]]

    def start(self, use: Use, before: Sequence[str] = (), **popen: Any) -> Running:
        """Start it and, if it listens, wait until it does. `before`: the words of a command that starts it."""
        process = Running([*before, *self.words(use)], **popen)
        try:
            if use.listens:
                process.port = _unix_port(process, use.unix) if use.unix else _port(process)
                if not alive(process):
                    raise NeverMet(process)
        except BaseException:
            process.close()
            raise
        return process


NETCATS = {
    name: Netcat(name, words)
    for name, words in {"pync": _pync, "nc.openbsd": _openbsd, "ncat": _ncat, "socat": _socat}.items()
}


def _port(process: Running) -> int:
    """The port on which a process listens, once it does, in whatever network it is; 0 if it ends before."""
    until = time.monotonic() + DEADLINE
    while alive(process) and time.monotonic() < until:
        with contextlib.suppress(OSError):  # the process has just ended
            sockets = set(process.descriptors())
            for table in "tcp", "tcp6":
                for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                        return int(fields[1].rpartition(":")[2], 16)
        time.sleep(0.005)
    return 0


def _unix_port(process: Running, path: Path) -> int:
    """Wait until a process listens on a path. 0, which is the port of a path, or of a process that has ended."""
    until = time.monotonic() + DEADLINE
    flags = "00010000"  # SO_ACCEPTCON in /proc/net/unix: it listens
    while alive(process) and time.monotonic() < until:
        # Names of other processes are any bytes.
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
        if any(line.split()[3:4] == [flags] and line.endswith(f" {path}") for line in lines[1:]):
            break
        time.sleep(0.005)
    return 0


def alive(process: Running) -> bool:
    """Whether a process has not ended. It is not reaped."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
