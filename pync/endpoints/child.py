"""A child process: how it is started, how it ends, and pync's ends of its stdin and stdout.

Theory. Closing its stdin is the half-close. A program may close its stdin or end before it has read everything, so
what it does not read is dropped. Its output ends with end-of-file on a pipe, and with EIO on a pseudo-terminal.

A program that filters must answer line by line, and C programs do so only on a terminal: so the stdout of a
filter is a pseudo-terminal in raw mode, which changes no byte. Where coreutils' libstdbuf is found it is preloaded
too, and makes stdio unbuffered: then even a client that sends no newline and waits gets its answer.

A child gets no other descriptor, the default signal dispositions (Python ignores SIGPIPE, nohup SIGHUP), both
addresses of the connection in its environment, no controlling terminal, and a process group of its own, which is
signalled as a whole. It is reaped when its session is over, and not before: until then no other process gets its
number, which is that of the group.
"""

from __future__ import annotations

import os

from pync.endpoints import CHUNK, SHORT, Half, Sink, Source, next_read_size
from pync.endpoints.child_environment import unbuffered
from pync.endpoints.children import exit_status
from pync.endpoints.process_group import SHORTEST_LOOK, has_terminal, is_inhabited, released
from pync.errors import ProgramError, reason
from pync.system import processes, signal
from pync.system.files import possible_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from pync.config import Program
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

TAKING = 0.1  # seconds that a child has to act on what it has received, before it is hung up on
# When its session breaks off, a program and its group get these signals, each with the seconds to act on it.
TERMINATION_STEPS = ((signal.SIGHUP, 0.2), (signal.SIGTERM, 2.0), (signal.SIGKILL, 0.0))
STUCK = 5.0  # seconds after SIGKILL, after which a program that has not ended does not hold up pync's own end
TERMINAL = 4095  # bytes that reading a terminal gives at most (n_tty.c)
TERMINAL_READS = 15  # reads of a terminal that are joined before they are passed on, at most


class ChildEnd(Half):
    """Our end of stdin or stdout. `fd` is None once it is closed, and where the program has the socket itself."""

    def __init__(self, loop: Loop, fd: int | None) -> None:
        self.loop = loop
        self.fd = fd

    def raw(self) -> int | None:
        """The descriptor."""
        return self.fd

    def close(self) -> None:
        """Close the descriptor. Doing it again changes nothing."""
        fd, self.fd = self.fd, None
        if fd is not None:
            self.loop.forget(fd)
            os.close(fd)


class ChildStdin(ChildEnd, Sink):
    """What the program reads."""

    async def write(self, data: Bytes) -> int:
        """Write to the program's stdin. Once the program has closed it, the data is dropped."""
        while self.fd is not None:
            try:
                return os.write(self.fd, data)
            except BlockingIOError:
                await self.loop.writable(self.fd)
            except OSError:
                break
        return len(data)

    async def send_eof(self) -> None:
        """Close the program's stdin."""
        self.close()


class ChildStdout(ChildEnd, Source):
    """What the program writes."""

    def __init__(self, loop: Loop, fd: int | None, most: int = CHUNK) -> None:
        """`most`: bytes that one read gives at most."""
        super().__init__(loop, fd)
        self.most = most
        self.size = min(SHORT, most)

    async def read(self) -> bytes | None:
        """What the program wrote; None when its output has ended."""
        while self.fd is not None:
            await self.loop.readable(self.fd)
            try:
                data = os.read(self.fd, self.size)
            except BlockingIOError:
                continue
            except OSError:  # EIO: the program's side of the pseudo-terminal is closed
                break
            self.size = next_read_size(self.size, len(data), self.most)
            return self._and_more(self.fd, data) if len(data) == TERMINAL else data or None
        return None

    def raw(self) -> int | None:
        """The descriptor, if it is a pipe. A terminal gives too little at a time, and ends with an error."""
        return None if self.fd is None or os.isatty(self.fd) else self.fd

    def _and_more(self, fd: int, data: bytes) -> bytes:
        """`data` joined with what else is there already, because a terminal gives only a small piece at a time."""
        pieces = [data]
        try:
            while len(pieces) < TERMINAL_READS and len(pieces[-1]) == TERMINAL:
                pieces.append(os.read(fd, TERMINAL))
        except OSError:  # nothing is there, or the end, which the next read finds again
            pass
        return b"".join(pieces)


class Child:
    """A running program, and our ends of its stdin and stdout."""

    def __init__(
        self, loop: Loop, pid: int, into: int | None = None, out: int | None = None, most: int = CHUNK
    ) -> None:
        """`into` and `out` are our ends, None where the program has the socket; `most`: bytes of one read at most."""
        self.loop = loop
        self.pid = pid
        self.begun = loop.clock()
        self.status: int | None = None
        self.signal: int | None = None  # that has ended it
        self.reaped = False
        self.input = ChildStdin(loop, into)
        self.output = ChildStdout(loop, out, most)

    def close(self) -> None:
        """Close both our ends."""
        self.input.close()
        self.output.close()

    async def ended(self) -> int:
        """Wait for the program's end, and return its exit status as the shell does: 128 + n for signal n."""
        if self.status is None:
            try:
                status = await exit_status(self.loop, self.pid)
            except ChildProcessError:  # another task, which has waited too, was given the only report of it
                if self.status is None:
                    raise
            else:
                self.status, self.signal = (128 - status, -status) if status < 0 else (status, None)
        return self.status

    async def left(self, sock: socket.socket) -> int:
        """Wait until neither the program nor what it leaves in its group has the socket; the program's exit status."""
        status = await self.ended()
        await released(self.loop, self.pid, sock.fileno(), self.loop.clock() - self.begun)
        return status

    def reap(self) -> None:
        """Reap the program, which has ended. From now on it is sent nothing, nor is its group."""
        processes.reap(self.pid)
        self.reaped = True

    async def hang_up(self) -> None:
        """Send SIGHUP, after the time to act on what the program has received."""
        await self.ended_within(TAKING)
        self._signal(signal.SIGHUP)

    async def terminate(self, stuck: float | None = STUCK) -> None:
        """End the program, and what it leaves in its group, by signals of rising force, and reap it.

        A stdin that is still open was not received to its end. So the end-of-file comes after SIGHUP, because a program
        that reads the end-of-file alone takes a part for the whole. A program that not even SIGKILL ends is left alone
        after `stuck` seconds, and None is no limit: it hangs in the system, or is another user's.
        """
        over, interruption = self.reaped, None
        for signum, grace in ((0, TAKING), *TERMINATION_STEPS):
            if over:
                break
            if signum:
                self._signal(signum)
                self.close()
            try:
                over = await self._over_within(grace)
            except BaseException as error:  # the run ends meanwhile: the next step comes at once, but it does come
                interruption = error
        self.close()
        await self.ended_within(stuck)
        if self.status is not None and not self.reaped:
            self.reap()
        if interruption:
            raise interruption

    def _is_inhabited(self) -> bool:
        return is_inhabited(self.pid)

    def _signal(self, signum: int) -> None:
        try:
            os.killpg(self.pid, signum)
        except (PermissionError, ProcessLookupError):  # it is another user's now, as with sudo
            pass

    async def ended_within(self, seconds: float | None) -> None:
        """Wait for the program's end, for so many seconds at most."""
        if self.status is None:
            try:
                await self.loop.within(seconds, self.ended())
            except TimeoutError:
                pass

    async def _over_within(self, seconds: float) -> bool:
        """Whether the program and all that it leaves in its group have ended, after so many seconds at most."""
        until = self.loop.clock() + seconds
        await self.ended_within(seconds)
        while self.status is not None and self._is_inhabited():
            if self.loop.clock() >= until:
                return False
            await self.loop.sleep(SHORTEST_LOOK)
        return self.status is not None


def hand_over(loop: Loop, program: Program, sock: socket.socket, environment: Mapping[str, str]) -> Child:
    """Start the program with the connected socket itself as stdin and stdout, as inetd does. Raises ProgramError.

    The socket is made blocking, which is what programs expect of their stdin.
    """
    sock.setblocking(True)
    return Child(loop, _spawn(program, sock.fileno(), sock.fileno(), environment))


def start(loop: Loop, program: Program, environment: Mapping[str, str], most: int = CHUNK) -> Child:
    """Start the program. Its stdin is a pipe; its stdout is a pipe, or a pseudo-terminal if it filters.

    `most`: bytes that one read of its output gives at most. Raises ProgramError.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        reading, into = os.pipe()
        theirs.append(reading)
        ours.append(into)
        out, writing = _terminal() if program.filters else os.pipe()
        theirs.append(writing)
        ours.append(out)
        if program.filters:
            environment = {**environment, **unbuffered(environment)}
        pid = _spawn(program, reading, writing, environment)
    except BaseException as error:
        for fd in ours:
            os.close(fd)
        if isinstance(error, OSError):  # no descriptor left
            raise ProgramError(program.argv[0], reason(error), found=True) from None
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    for fd in ours:
        os.set_blocking(fd, False)
    return Child(loop, pid, into, out, most)


def _spawn(program: Program, stdin: int, stdout: int, environment: Mapping[str, str]) -> int:
    try:
        return processes.spawn(program.argv, program.path, (stdin, stdout), environment, new_session=has_terminal())
    except OSError as error:
        raise not_run(program.argv, error) from None


def not_run(argv: tuple[str, ...], error: OSError) -> ProgramError:
    """The exception for an error of starting a program."""
    return ProgramError(argv[0], reason(error), found=not isinstance(error, FileNotFoundError))


def _terminal() -> tuple[int, int]:
    """A pseudo-terminal that changes nothing, or a pipe where the system has no more pseudo-terminals."""
    import tty

    try:
        master, slave = os.openpty()
    except OSError:
        return os.pipe()
    tty.setraw(slave)
    return master, slave


def seal() -> None:
    """Keep our inherited descriptors from our children, which get 0, 1 and 2 only."""
    for fd in possible_descriptors():
        if fd > 2:
            try:
                os.set_inheritable(fd, False)
            except OSError:  # it is not open: the descriptor of the listing itself
                pass
