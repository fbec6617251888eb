"""The program under test as a scene has it: its stdin of every kind, what it writes, its sockets, what it leaves."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import signal
import socket
import subprocess
import tempfile
import termios
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from .ends import RANDOM, STARTING, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pump import Pump
    from .row import Row

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438  # the same number on all machines
MARK = "PYNC_DIFFERENTIAL_ROW"
OPTIONS = {
    "SO_DEBUG": (socket.SOL_SOCKET, socket.SO_DEBUG),
    "SO_BROADCAST": (socket.SOL_SOCKET, socket.SO_BROADCAST),
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "SO_RCVBUF": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    "SO_SNDBUF": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    "IP_TOS": (socket.IPPROTO_IP, socket.IP_TOS),
    "IP_TTL": (socket.IPPROTO_IP, socket.IP_TTL),
    "IP_MINTTL": (socket.IPPROTO_IP, 21),
    "IPV6_TCLASS": (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    "IPV6_UNICAST_HOPS": (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
    "IPV6_MINHOPCOUNT": (socket.IPPROTO_IPV6, 73),
}
CLOSING = {"closed stdin": "<&-", "closed stdout": ">&-"}


class Process:
    """A started program, called `bin/NAME` from the working directory, which is the scene's own."""

    def __init__(self, pump: Pump, row: Row, program: str) -> None:
        self._pump = pump
        self.out, self.err, self.screen = bytearray(), bytearray(), bytearray()
        self.ended = False
        self.passed: socket.socket | None = None  # our end of its stdout, if that is a socket
        self._unsent = b""
        self._open: list[int] = []  # descriptors of ours
        self.keyboard = -1
        self._mark = uuid.uuid4().hex
        os.mkdir("bin")
        os.symlink(program, f"bin/{row.command[0]}")
        self._start(row, [f"bin/{row.command[0]}", *row.command[1:]])

    def _start(self, row: Row, words: list[str]) -> None:
        given = {MARK: self._mark, "LC_ALL": "C", **dict(each.split("=", 1) for each in row.env)}
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYNC_", "POSIXLY"))} | given
        closing = [CLOSING[end] for end in (f"{row.stdin} stdin", f"{row.stdout} stdout") if end in CLOSING]
        if closing:
            words = ["sh", "-c", f'exec "$0" "$@" {" ".join(closing)}', *words]
        if row.stdin == "terminal":
            words = ["setsid", "-c", *words]
        stdin, stdout = self._stdin(row.stdin), self._stdout(row.stdout)
        errors, stderr = os.pipe()
        session = row.stdin != "terminal"
        with STARTING:
            self._process = subprocess.Popen(
                words, stdin=stdin, stdout=stdout, stderr=stderr, env=env, bufsize=0, start_new_session=session
            )
        for fd in {stdin, stdout, stderr}:
            os.close(fd)
        self._collect(errors, self.err)
        self._pidfd = os.pidfd_open(self.pid)
        self._open.append(self._pidfd)
        self._pump.watch(self._pidfd, self._end)

    def _stdin(self, kind: str) -> int:
        if kind == "terminal":
            self.keyboard, slave = pty.openpty()
            attributes = termios.tcgetattr(slave)
            attributes[3] &= ~termios.ECHO
            termios.tcsetattr(slave, termios.TCSANOW, attributes)
            self._collect(self.keyboard, self.screen)
            return slave
        if kind.startswith("file"):
            with tempfile.TemporaryFile() as file:
                file.write(decoded(kind.removeprefix("file ")))
                file.seek(0)
                return os.dup(file.fileno())
        if kind in ("null", "closed"):
            return os.open(os.devnull, os.O_RDONLY)
        if kind == "directory":
            return os.open(".", os.O_RDONLY)
        reading, self.keyboard = os.pipe()
        os.set_blocking(self.keyboard, False)
        self._open.append(self.keyboard)
        return reading

    def _stdout(self, kind: str) -> int:
        if kind == "full":
            return os.open("/dev/full", os.O_WRONLY)
        if kind == "socket":
            self.passed, theirs = socket.socketpair()
            return theirs.detach()
        reading, writing = os.pipe()
        if kind == "unread":
            os.close(reading)
        else:
            self._collect(reading, self.out)
        return writing

    def _collect(self, fd: int, into: bytearray) -> None:
        os.set_blocking(fd, False)
        self._open.append(fd)

        def read() -> None:
            data = b""
            with contextlib.suppress(BlockingIOError):
                try:
                    data = os.read(fd, 1 << 16)
                except OSError:  # of a terminal that nothing has open any more
                    data = b""
                if data:
                    into.extend(data)
                else:
                    self._pump.forget(fd)

        self._pump.watch(fd, read)

    # -- what a script does to it

    def type(self, data: bytes) -> None:
        """Write to its stdin, as fast as it takes it."""
        self._unsent += data
        if self.keyboard >= 0:
            self._pump.wait(self._typed, 5)

    def _typed(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            try:
                self._unsent = self._unsent[os.write(self.keyboard, self._unsent) :]
            except BrokenPipeError:
                self._unsent = b""
        return not self._unsent

    def end_stdin(self) -> None:
        """Close our end of the pipe."""
        self._open.remove(self.keyboard)
        os.close(self.keyboard)
        self.keyboard = -1

    def signal(self, name: str) -> None:
        """Send it a signal."""
        self._process.send_signal(signal.Signals[f"SIG{name}"])

    # -- what the system knows about it

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _end(self) -> None:
        self._pump.forget(self._pidfd)
        self._process.wait()
        self.ended = True

    @property
    def status(self) -> str:
        """How it has ended, or that it runs."""
        code = self._process.returncode
        if not self.ended or code is None:
            return "runs"
        return f"exit {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def bound(self, kind: str) -> list[str]:
        """The addresses to which its sockets of this kind are bound: of TCP those that listen."""
        mine, found = self._inodes(), []
        for table in (kind, f"{kind}6"):
            for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[9] in mine and words[3] == ("0A" if kind == "tcp" else words[3]):
                    found.append(_address(words[1]))
        return sorted(found)

    def _inodes(self) -> set[str]:
        found = set()
        with contextlib.suppress(FileNotFoundError, PermissionError):
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    found.add(os.readlink(f"/proc/{self.pid}/fd/{fd}").removeprefix("socket:[").rstrip("]"))
        return found

    def options(self, names: list[str]) -> list[str]:
        """The values of these options of its connected socket, or of the only one it has."""
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(sock) for sock in self._sockets()]
            connected = [sock for sock in socks if _connected(sock)] or socks
            return [f"{name} {connected[0].getsockopt(*OPTIONS[name])}" for name in names] if connected else ["none"]

    def _sockets(self) -> Iterator[socket.socket]:
        for fd in sorted(map(int, os.listdir(f"/proc/{self.pid}/fd"))):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{self.pid}/fd/{fd}").startswith("socket:"):
                    copy = LIBC.syscall(PIDFD_GETFD, self._pidfd, fd, 0)
                    sock = socket.socket(fileno=copy) if copy >= 0 else None
                    if sock and sock.family in (socket.AF_INET, socket.AF_INET6):
                        yield sock

    def children(self) -> list[tuple[int, str]]:
        """The processes that it has started and that have not ended: their ids and names."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                marked = f"{MARK}={self._mark}".encode() in (folder / "environ").read_bytes()
                if marked and int(folder.name) != self.pid:
                    found.append((int(folder.name), (folder / "comm").read_text().strip()))
        return sorted(found)

    def close(self) -> None:
        """End it with all that it has started."""
        if not self.ended:
            self._process.kill()
            self._process.wait()
        for pid, _ in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for fd in self._open:
            self._pump.forget(fd)
            os.close(fd)
        if self.passed:
            self.passed.close()


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _address(text: str) -> str:
    """An address as /proc/net has it: words of four bytes in the order of the machine."""
    host, port = text.split(":")
    words = bytes.fromhex(host)
    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    number = int(port, 16)
    name = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
    return f"{name} {number if number < RANDOM else 'PORT'}"


def decoded(text: str) -> bytes:
    """The bytes that a text of a row stands for."""
    if text.startswith("@"):
        return pattern(int(text[1:]))
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")
