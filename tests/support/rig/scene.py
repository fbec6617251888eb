"""One row played to one program: each step of its script, and the transcript of what was seen from outside.

A transcript is a list of lines, and the same lines mean the same behaviour. The steps log what they have waited for;
what comes at the end is logged for every row: how the program has ended, what it wrote, what it leaves.

Theory: nothing sleeps. "It still runs" is what is found after an event that the script has waited for, and then
`SILENCE` seconds in which nothing happens at all. A step that waits in vain ends the script.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .ends import FAMILIES, End, bound, shown
from .process import Process, decoded
from .pump import Pump
from .verbs import PATIENCE, SILENCE, VERBS, Vain

if TYPE_CHECKING:
    from collections.abc import Callable

    from .row import Row

TEMPORARY = re.compile(r"/tmp/nc[-.]\w+")
EPHEMERAL = re.compile(r"\b(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})\b")


class Scene:
    """What one program does in one row."""

    def __init__(self, row: Row, program: str) -> None:
        self.transcript: list[str] = []
        self.pump = Pump()
        self.servers: list[socket.socket] = []
        self._unused: list[socket.socket] = []  # kept open, and never looked at
        self.ends: list[End] = []
        self._raw = ""  # of the addresses that were seen, for the paths in them
        for words in [each.split(None, 2 if each.startswith("file") else 3) for each in row.around]:
            self._serve(words)
        self.process = Process(self.pump, row, program)
        self._since = time.monotonic()

    # -- before the program starts

    def _serve(self, words: list[str]) -> None:
        kind = words[0]
        if kind == "file":
            Path(words[1]).write_bytes(decoded(words[2]))
        elif kind == "directory":
            os.mkdir(words[1])
        elif kind == "full":  # nothing more is accepted, and nothing refused
            sock = bound(["tcp", *words[1:]])
            sock.listen(0)
            for _ in range(4):
                filler = socket.socket(sock.family)
                filler.setblocking(False)
                filler.connect_ex(sock.getsockname())
                self._unused.append(filler)
            self._unused.append(sock)
        elif kind == "shared":  # a listener that lets others bind the same port
            self.servers.append(bound(["tcp", *words[1:]], socket.SO_REUSEPORT))
            self.servers[-1].listen(16)
            self.servers[-1].setblocking(False)
        elif kind == "dead":  # a path that a socket has left behind
            bound(["unix", words[1]]).close()
        elif FAMILIES[kind] == socket.SOCK_DGRAM:
            self.ends.append(End(self.pump, bound(words)))
        else:
            sock = bound(words)
            if words[-1] != "held":  # bound, but nothing listens
                sock.listen(16)
            sock.setblocking(False)
            self.servers.append(sock)

    # -- the script

    def play(self, steps: list[str]) -> list[str]:
        """The transcript of the whole."""
        with contextlib.suppress(Vain):
            for step in steps:
                self._since, since = time.monotonic(), self._since
                self._step(step, since)
        self._last()
        return self.transcript

    def _step(self, step: str, since: float) -> None:
        number, _, rest = step.partition(": ")
        end = None
        if rest and number.isdigit():
            end, step = self.ends[int(number) - 1], rest
        verb, _, text = step.partition(" ")
        if verb == "ends":
            self._ends_between(text, since)
        else:
            end = end or (self.ends[-1] if self.ends else None)
            VERBS[verb](self, end, text)  # type: ignore[arg-type]  # most verbs need none

    def log(self, *lines: str, end: End | None = None) -> None:
        mark = f"{self.ends.index(end) + 1}: " if end else ""
        self._raw += "".join(lines)
        self.transcript += [f"{mark}{TEMPORARY.sub('/tmp/nc-?', line)}" for line in lines]

    def wait(self, what: str, there: Callable[[], bool], *, live: bool = True) -> None:
        """Until `there`. With `live`, an end of the program means that it can no longer come."""
        done = self.pump.wait(lambda: there() or (live and self.process.ended), PATIENCE)
        if self.process.ended and live:
            done = self.pump.wait(there, 0.05)
        if not done:
            self.log(f"no {what}")
            raise Vain

    def _ends_between(self, text: str, since: float) -> None:
        """The program ends so many seconds after the last step: not earlier, and not much later."""
        least, most = map(float, text.split())
        self.pump.wait(lambda: self.process.ended, most)
        if self.process.ended and time.monotonic() - since < least:
            self.log(f"ended within {least} s")

    # -- the end

    def log_ends(self) -> None:
        for end in self.ends:
            self.log(*end.taken(), end=end)

    def _last(self) -> None:
        process = self.process
        if process.ended:
            self.pump.wait(lambda: not any(end.open and not end.datagrams for end in self.ends), SILENCE)
            self.pump.settle(0.02, lambda: False)
        self.log_ends()
        if process.status not in self.transcript:
            self.log(process.status)
        self.log(*([f"stdout {shown(bytes(process.out))}"] if process.out else []))
        self.log(*([f"terminal {shown(bytes(process.screen))}"] if process.screen else []))
        text = process.err.decode(errors="backslashreplace")
        self.log(*(f"stderr {EPHEMERAL.sub('PORT', line)!r}" for line in text.splitlines(keepends=True)))
        if process.ended:
            self.pump.wait(lambda: not process.children(), SILENCE)
            self.log(*(f"child left: {name}" for _, name in process.children()))
        self._log_paths()

    def _log_paths(self) -> None:
        for name in sorted(os.listdir()):
            path, kind = Path(name), "file"
            if name != "bin" and (path.is_file() or path.is_socket()):
                kind = "socket" if path.is_socket() else f"file {shown(path.read_bytes())}"
                self.log(f"left {name}, {path.stat().st_mode & 0o777:o}, {kind}")
        for name in sorted(set(TEMPORARY.findall(self._raw + self.process.err.decode(errors="replace")))):
            if os.path.exists(name):
                self.log(f"left {name}")
                shutil.rmtree(name, ignore_errors=True)

    def close(self) -> None:
        """Close everything, and end the program."""
        self.process.close()
        for end in self.ends:
            end.close()
        for sock in [*self.servers, *self._unused]:
            sock.close()


def loopback_up() -> None:
    """In a new network the loopback interface is down."""
    import fcntl

    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
