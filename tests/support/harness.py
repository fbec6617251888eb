"""The vocabulary of the process tests: start a program, write to it, wait for its output, leave nothing behind.

    with listen("0") as server, pync("127.0.0.1", str(server.port)) as client:
        client.send(b"question")
        assert server.read(8) == b"question"
        server.close_stdin()
        assert client.finish() == success()

It must never sleep for a fixed time and never wait without a deadline: every wait is for an event (bytes on a
pipe, an end-of-file, the end of a process), and a wait that fails shows what had been received until then.

Theory: a thread for each output of a process reads it as soon as it arrives, so that a process is never blocked by
a test that waits for something else. A test that wants the process blocked gives it a pipe of its own as stdout. Our
ends of the pipes are non-blocking: once a process has ended, all that it wrote can be collected, even if a child of
it still holds the pipe.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO, Any, Self

# The installed pync, or with TESTED_ARCHIVE=FILE a pync.pyz (scripts/build), run by the same Python.
PYNC: list[str] = [str(Path(sys.executable).with_name("pync"))]
if archive := os.environ.get("TESTED_ARCHIVE"):
    PYNC = [sys.executable, archive]
# The same pync, in which the kernel moves no bytes by itself (`pync/relay/zerocopy.py`): every flow is copied.
COPYING = [
    sys.executable,
    "-P",  # the installed pync, and not one in the working directory
    "-c",
    "import pync.relay.zerocopy as fast; fast.mover_between = lambda *_: None; from pync.cli import main; main()",
]
PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
# The environment for a process that coverage must not measure, for instance because the test looks at its imports.
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
IN_CI = os.environ.get("CI") == "true"

DEADLINE = 10.0  # seconds for one wait on a live process
GRACE = 5.0  # seconds a process has to end by SIGTERM before SIGKILL


# -- Programs ----------------------------------------------------------------------------------------------------


def require(*programs: str) -> str:
    """The path of the first of `programs`; all must be there. A missing one fails in CI and skips elsewhere."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = [shutil.which(program, path=path) for program in programs]
    for program, where in zip(programs, found, strict=True):
        if where is None:
            (pytest.fail if IN_CI else pytest.skip)(f"{program} is not installed")
    assert found[0] is not None
    return found[0]


class Result(NamedTuple):
    """How a process ended: the status in the shell's way (128 + n for signal n), and all that it wrote."""

    status: int
    out: bytes
    err: str

    @property
    def status_and_out(self) -> tuple[int, bytes]:
        """For a process whose messages do not matter."""
        return self.status, self.out

    def digested(self) -> Result:
        """The same with a digest of `out`, so that a comparison that fails does not print megabytes."""
        return self._replace(out=digest(self.out))


def success(out: bytes = b"", err: str = "") -> Result:
    """The result of a process that has succeeded. Most write nothing but their output."""
    return Result(0, out, err)


def failure(message: str, status: int = 1) -> Result:
    """The result of a pync that has failed: one line on stderr, `pync: MESSAGE`, and nothing on stdout."""
    return Result(status, b"", f"pync: {message}\n")


def digest(data: bytes) -> bytes:
    """What is compared instead of megabytes."""
    return b"%d bytes, SHA-256 %s" % (len(data), hashlib.sha256(data).hexdigest().encode())


def run(argv: Sequence[str], stdin: bytes | IO[bytes] | int = b"", timeout: float = 20, **popen: Any) -> Result:
    """Run a program to its end. It is killed, and the test fails, if that takes longer than `timeout` seconds."""
    given = stdin if isinstance(stdin, bytes) else None
    with Running(argv, stdin=PIPE if isinstance(stdin, bytes) else stdin, **popen) as process:
        if given:
            with contextlib.suppress(BrokenPipeError):  # a program need not read its stdin
                process.send(given, timeout)
        return process.finish(timeout)


def without_ends(err: str) -> str:
    """What was written to stderr, without the lines with which -v reports the ends of sessions."""
    lines = err.splitlines(keepends=True)
    return "".join([line for line in lines if not re.search(r"[\d] s(?: \(.*\))?, (closed by|ended by|exit) ", line)])


# -- A process under test ----------------------------------------------------------------------------------------


class Output:
    """What a process has written to one pipe so far, read by a thread of its own."""

    def __init__(self, pipe: IO[bytes], news: threading.Condition) -> None:
        self.data = bytearray()  # not yet taken by the test
        self.ended = False
        self._pipe = pipe
        self._news = news
        os.set_blocking(pipe.fileno(), False)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        poll = select.poll()
        poll.register(self._pipe.fileno(), select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while not self.ended and self._stop not in dict(poll.poll()):
            self.collect()

    def collect(self) -> None:
        """Take everything that is in the pipe now."""
        with self._news:
            while not self.ended:
                try:
                    chunk = os.read(self._pipe.fileno(), 1 << 16)
                except BlockingIOError:
                    break
                self.data += chunk
                self.ended = not chunk
            self._news.notify_all()

    def take(self, size: int) -> bytes:
        """The next `size` bytes of those that have been read."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def close(self) -> None:
        """Stop reading and close the pipe."""
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._pipe.close()


class Running:
    """A started process. As a context it is ended on leaving (SIGTERM, then SIGKILL), with all its descendants.

    `stdin` and `stdout` are PIPE, DEVNULL, a file or a descriptor; stderr is always read by the test. Other
    keywords go to `subprocess.Popen`. A wait that takes longer than its `timeout` (seconds) fails the test.
    """

    port: int = 0  # on which a server listens, once it has announced it

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | int = PIPE,
        stdout: IO[bytes] | int = PIPE,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        pass_fds: Sequence[int] = (),
        **popen: Any,
    ) -> None:
        self.argv = list(argv)
        popen = {"stderr": PIPE, "bufsize": 0, **popen}
        self._process = subprocess.Popen(
            self.argv, stdin=stdin, stdout=stdout, env=env, cwd=cwd, pass_fds=pass_fds, **popen
        )
        self._news = threading.Condition()
        self._outputs = [Output(pipe, self._news) for pipe in (self._process.stdout, self._process.stderr) if pipe]
        self._out = self._outputs[0] if self._process.stdout else None
        self._err = self._outputs[-1] if self._process.stderr else None
        if self._process.stdin:
            os.set_blocking(self._process.stdin.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- its input

    def send(self, data: bytes, timeout: float = DEADLINE) -> None:
        """Write all of `data` to its stdin. BrokenPipeError if it has closed that."""
        assert self._process.stdin, "stdin is not a pipe"
        rest, until = memoryview(data), time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._process.stdin.fileno(), select.POLLOUT)
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
                continue
            if not poll.poll(max(0, until - time.monotonic()) * 1000):
                self._fail(f"{len(rest)} of {len(data)} bytes of stdin not taken after {timeout} s")

    def close_stdin(self) -> None:
        """Give it the end-of-file. To do so more than once does no harm."""
        if self._process.stdin:
            self._process.stdin.close()

    # -- its output

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._err.data.decode(errors="replace") if self._err else ""

    def read(self, size: int, timeout: float = DEADLINE) -> bytes:
        """The next `size` bytes of its stdout: neither more nor fewer."""
        out = self._stdout()
        self._await(lambda: len(out.data) >= size, lambda: out.ended, timeout, f"{size} bytes on stdout")
        return out.take(size)

    def read_until(self, end: bytes, timeout: float = DEADLINE) -> bytes:
        """Its stdout up to and including the next `end`."""
        out = self._stdout()
        self._await(lambda: end in out.data, lambda: out.ended, timeout, f"{end!r} on stdout")
        return out.take(out.data.index(end) + len(end))

    def read_all(self, timeout: float = DEADLINE) -> bytes:
        """Its stdout to the end-of-file."""
        out = self._stdout()
        self._await(lambda: out.ended, lambda: False, timeout, "the end of stdout")
        return out.take(len(out.data))

    def expect(self, pattern: str, timeout: float = DEADLINE, count: int = 1) -> re.Match[str]:
        """Wait until stderr, from its start, holds `pattern` (`^` and `$` match at lines) `count` times; the last."""
        assert self._err, "stderr is not a pipe"
        err = self._err
        found: list[re.Match[str]] = []

        def there() -> bool:
            found[:] = re.finditer(pattern, self.stderr, re.MULTILINE)
            return len(found) >= count

        self._await(there, lambda: err.ended, timeout, f"{pattern!r} on stderr")
        return found[count - 1]

    def _stdout(self) -> Output:
        assert self._out, "stdout is not a pipe"
        return self._out

    def _await(self, there: Callable[[], bool], hopeless: Callable[[], bool], timeout: float, what: str) -> None:
        with self._news:
            self._news.wait_for(lambda: there() or hopeless(), timeout)
            if not there():
                self._fail(f"no {what} {'before its end' if hopeless() else f'after {timeout} s'}")

    def _fail(self, what: str) -> None:
        status = self._process.poll()
        state = "running" if status is None else f"ended with {shell_status(status)}"
        out = bytes(self._out.data[:2000]) if self._out else b""
        pytest.fail(f"{self.argv} ({state}): {what}\n stdout: {out!r}\n stderr: {self.stderr[-2000:]}")

    # -- its end

    def wait(self, timeout: float = 20) -> int:
        """Wait until it ends; its status in the shell's way."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._fail(f"has not ended after {timeout} s")
        for output in self._outputs:
            output.collect()
        return shell_status(self._process.returncode)

    def finish(self, timeout: float = 20) -> Result:
        """Close its stdin, read to the end of its stdout, wait until it ends."""
        self.close_stdin()
        until = time.monotonic() + timeout
        out = self.read_all(timeout) if self._out else b""
        status = self.wait(max(0.1, until - time.monotonic()))
        return Result(status, out, self.stderr)

    def signal(self, signum: int) -> None:
        """Send it a signal."""
        self._process.send_signal(signum)

    def close(self) -> None:
        """End it and what it has started, and close the pipes."""
        # The id of a process that has been reaped may belong to another process by now.
        reaped = self._process.returncode is not None
        family = [] if reaped else _descendants(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for descendant in family:
            _end(descendant)
        self.close_stdin()
        while self._outputs:
            self._outputs.pop().close()

    # -- what the system knows about it

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """The processor time it has used, in user and in system mode."""
        user, system = _stat(self.pid)[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> list[str]:
        """What its descriptors lead to, in their order: `pipe:[…]`, `socket:[…]`, a path."""
        directory, links = f"/proc/{self.pid}/fd", []
        for fd in sorted(os.listdir(directory), key=int):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links.append(os.readlink(f"{directory}/{fd}"))
        return links

    def children(self) -> list[int]:
        """The process ids of its children."""
        return [pid for pid, parent in _parents() if parent == self.pid]

    def descendants(self) -> list[int]:
        """Descriptors (pidfd_open(2)) of its children, their children and so on, which the caller closes."""
        return _descendants(self.pid)


def shell_status(returncode: int) -> int:
    """The status as a shell shows it, from the one that Popen gives."""
    return 128 - returncode if returncode < 0 else returncode


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, from "state" on (proc_pid_stat(5)); none without such a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parents() -> Iterator[tuple[int, int]]:
    """Every process id with that of its parent."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            yield int(name), int(fields[1])


def _descendants(ancestor: int) -> list[int]:
    """Descriptors (pidfd_open(2)) of all processes below `ancestor`: a process id could be reused meanwhile."""
    family, parents, descriptors = [ancestor], list(_parents()), []
    for member in family:  # grows while it is walked
        family += [pid for pid, parent in parents if parent == member]
    for pid in family[1:]:
        with contextlib.suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
    return descriptors


def _end(pidfd: int) -> None:
    """Kill a process that is not our child and wait until it has ended; closes the descriptor."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(DEADLINE * 1000)
    os.close(pidfd)


# -- pync --------------------------------------------------------------------------------------------------------


def pync(*args: str, **kw: Any) -> Running:
    """Start the installed pync."""
    return Running([*PYNC, *args], **kw)


def listen(*args: str, **kw: Any) -> Running:
    """Start `pync -v -l` and wait until it takes connections (or datagrams, with -u); `port` is then known."""
    datagrams = any(re.match(r"-[A-Za-z46]*u|--udp$", arg) for arg in args)
    return announced(pync("-v", "-l", *args, **kw), "Bound" if datagrams else "Listening")


def announced(process: Running, word: str = "Listening") -> Running:
    """Wait until a server writes `Listening on HOST PORT` to stderr, and note the port (0 if it names a path)."""
    try:
        process.port = int(process.expect(rf"^(?:[\d:.]+ )?{word} on \S+(?: (\d+))?\n")[1] or 0)
    except BaseException:
        process.close()
        raise
    return process


# -- Peers in plain Python ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def serve(handler: Callable[[socket.socket], object], host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """A TCP server on an ephemeral port: `handler(conn)` runs in a thread for each connection, closed after it.

    On leaving, connections still open are shut down and their handlers must return.
    """
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, handler), daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            accepting.join(DEADLINE)
            assert not accepting.is_alive(), f"{handler} has not returned {DEADLINE} s after its connection was shut"


def _accept(listener: socket.socket, handler: Callable[[socket.socket], object]) -> None:
    sessions: list[tuple[socket.socket, threading.Thread]] = []
    closing = threading.Event()

    def session(conn: socket.socket) -> None:
        try:
            handler(conn)
        except OSError:
            if not closing.is_set():
                raise
        finally:
            conn.close()

    with contextlib.suppress(OSError):  # the listener was shut down
        while True:
            conn = listener.accept()[0]
            sessions.append((conn, threading.Thread(target=session, args=(conn,), daemon=True)))
            sessions[-1][1].start()
    closing.set()
    for conn, thread in sessions:
        with contextlib.suppress(OSError):
            conn.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextlib.contextmanager
def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections: the test holds it, so that no other process takes it."""
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_DGRAM:
            # A socket connected to itself takes its own datagrams only. The system refuses all others by ICMP.
            holder.connect(holder.getsockname())
        yield holder.getsockname()[1]


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A TCP connection on which every operation fails after ten seconds."""
    return socket.create_connection((host, port), timeout=DEADLINE)


@contextlib.contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """Inside, this process may have `count` descriptors, as far as its hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def PAYLOAD(size: int) -> bytes:  # noqa: N802 (a constant for each size)
    """`size` bytes that look random and are the same every time."""
    return random.Random("pync").randbytes(size)


# The upper-case server of many a networking course: it sends back what it receives in capitals, at once and without
# buffering. It serves many clients at the same time, writes to stderr where it listens, and leaves no zombies.

UPPER_C = r"""
#include <arpa/inet.h>
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int client)
{
    char data[4096];
    ssize_t size;
    while ((size = read(client, data, sizeof data)) > 0) {
        for (ssize_t i = 0; i < size; i++)
            data[i] = toupper((unsigned char)data[i]);
        for (ssize_t done = 0, n; done < size; done += n)
            if ((n = write(client, data + done, size - done)) < 0)
                exit(1);
    }
    exit(0);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int client, on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_port = htons(argc > 1 ? atoi(argv[1]) : 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&address, length) || listen(listener, 128)) {
        perror("upper");
        return 1;
    }
    getsockname(listener, (void *)&address, &length);
    fprintf(stderr, "Listening on 127.0.0.1 %d\n", ntohs(address.sin_port));
    signal(SIGCHLD, SIG_IGN); /* children are reaped by the kernel */
    while ((client = accept(listener, NULL, NULL)) >= 0) {
        if (fork() == 0) {
            close(listener);
            serve(client);
        }
        close(client);
    }
    return 1;
}
"""

UPPER_PY = r"""
import socketserver, sys

class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data.upper())

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

with Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Upper) as server:
    print("Listening on", *server.server_address, file=sys.stderr)
    server.serve_forever()
"""
