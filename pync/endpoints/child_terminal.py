"""A child process on a terminal of its own (`--pty`): a shell with job control, top, vi, whatever needs a terminal.

Theory. A pseudo-terminal has a master, which is ours, and a slave, which is the program's stdin, stdout and stderr and
the controlling terminal of its session. It is in the mode in which a login finds it: it echoes, edits lines, and makes
signals of keys. So the bytes are changed on the way as on any terminal (termios(3)). Our process never opens the slave
without O_NOCTTY, because a leader of a session that has no terminal would get it as its own.

The session ends with its leader, the program, as under sshd(8). Other processes may hold the terminal then. So what is
in the terminal at that moment is read, and no end-of-file is waited for. While the leader runs, a terminal that no
process has open is no end either: login(1) closes it and opens it again. The rest of the session is hung up. A shell
gives each job a process group, so a signal is for all groups of the session. A process that ignores SIGHUP lives on.

A terminal has no half-close. What a person types in its place is the end-of-file key, Ctrl-D. It is read as an
end-of-file by a program that takes lines, once: the next one that reads (the shell around the program) waits for
another. A program that takes single keys (a shell at its prompt, vi) reads it as a key, and may read it as such if the
terminal's mode changes between typing and reading. So the key is typed again after each silence, until the program
has ended. Where keys make no signals either (`stty raw`), every byte is data, and no key is typed. A program that
takes single keys and does not end by the key is hung up. All of that comes after the peer has sent its last byte.
"""

from __future__ import annotations

import errno
import os
import termios

from pync.endpoints.child import Child, ChildStdin, ChildStdout, not_run
from pync.endpoints.process_group import is_inhabited
from pync.errors import ProgramError, reason
from pync.loop.tasks import Condition
from pync.system import processes, queued, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pync.config import Program
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

ROWS, COLUMNS = 24, 80
STARTING = 0.5  # seconds that a program has, from its start, to put its terminal into the mode that it wants
SILENCE = 2.0  # seconds without output after which the end-of-file key is typed again, or the program is hung up
LOOK = 0.1  # seconds between two looks whether a process has opened the terminal again
HELD = 64 * 1024  # bytes: more than a terminal holds (n_tty.c and tty_buffer.c: less than 16 KiB)


class Screen(ChildStdout):
    """What the program writes to its terminal."""

    def __init__(self, loop: Loop, fd: int) -> None:
        super().__init__(loop, fd)
        self.ending = Condition()  # notified when the program has ended, and when this is closed
        self.left: int | None = None  # once the program has ended: how many bytes are still read at most
        self.written = loop.clock()  # when output was read last

    async def read(self) -> bytes | None:
        """What the program wrote; None when it has ended and all that it wrote is read."""
        while self.fd is not None and (self.left is None or self.left > 0):
            if self.left is None:
                await self.loop.readable(self.fd, condition=self.ending)
            data = self._there()
            if data:
                self.written = self.loop.clock()
                if self.left is not None:
                    self.left -= len(data)
                return data
            if self.left is not None:
                break
            if data is None:
                await self.loop.wait(self.ending, self.loop.clock() + LOOK)
        return None

    def _there(self) -> bytes | None:
        """What can be read at once: b"" for nothing, None if no process has the terminal open."""
        if self.fd is None:
            return None
        try:
            return self._and_more(self.fd, os.read(self.fd, self.size)) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def end(self) -> None:
        """Take note that the program has ended."""
        if self.left is None:
            self.left = HELD
            self.ending.notify()

    def close(self) -> None:
        """Close the descriptor."""
        super().close()
        self.ending.notify()

    async def serves_until(self, moment: float) -> bool:
        """Wait until this moment, or until the program has ended or this is closed: False then."""
        while self.fd is not None and self.left is None:
            if not await self.loop.wait(self.ending, moment):
                return True
        return False

    async def falls_silent(self) -> bool:
        """Wait until nothing was written for SILENCE, or until the program has ended or this is closed: False then."""
        until = self.loop.clock() + SILENCE
        while await self.serves_until(until):
            if self.fd is not None and queued(self.fd):  # the program waits for a peer that is slow
                until = self.loop.clock() + SILENCE
            elif self.loop.clock() < self.written + SILENCE:
                until = self.written + SILENCE
            else:
                return True
        return False


class Keyboard(ChildStdin):
    """What the program reads from its terminal."""

    def __init__(self, loop: Loop, fd: int, leader: int, screen: Screen) -> None:
        """`leader` is the program."""
        super().__init__(loop, fd)
        self.leader = leader
        self.begun = loop.clock()
        self.screen = screen
        self.last = b"\n"  # the last byte that was typed

    async def write(self, data: Bytes) -> int:
        """Type some of the data."""
        written = await super().write(data)
        self.last = bytes(data[written - 1 : written])
        return written

    def raw(self) -> None:
        """None: the last byte has to be seen."""

    async def send_eof(self) -> None:
        """Have the program notice that no more is typed, until it ends: by the end-of-file key, or by hanging up."""
        if not await self.screen.serves_until(self.begun + STARTING):
            return
        keys, lines = self._end_of_file()
        if keys and lines:
            # In the middle of a line the key only passes the line on.
            await self.write(keys if self.last in b"\r\n" else keys * 2)
        typed = hung_up = False  # what was done to a program that takes single keys: the key was typed, it was hung up
        while await self.screen.falls_silent():
            keys, lines = self._end_of_file()
            if keys and (lines or not typed):
                await self.write(keys)
                typed = not lines
            elif not hung_up:
                processes.signal_session(self.leader, signal.SIGHUP)
                hung_up = True
            else:
                self.close()
                self.screen.close()

    def _end_of_file(self) -> tuple[bytes, bool]:
        """The end-of-file key (b"" if there is none at present), and whether the program takes lines."""
        if self.fd is None:
            return b"", False
        try:
            attributes = termios.tcgetattr(self.fd)
        except termios.error:  # elsewhere than on Linux a terminal that no process has open may have no mode
            return b"", False
        flags, keys = attributes[3], attributes[6]
        key: bytes = keys[termios.VEOF] if flags & (termios.ICANON | termios.ISIG) else b""
        return key.strip(b"\0"), bool(flags & termios.ICANON)


class ChildOnTerminal(Child):
    """A running program that has a terminal of its own, and our end of the terminal."""

    input: Keyboard
    output: Screen

    def __init__(self, loop: Loop, pid: int, into: int, out: int) -> None:
        """`into` and `out` are two descriptors of the terminal's master."""
        super().__init__(loop, pid)
        self.output = Screen(loop, out)
        self.input = Keyboard(loop, into, pid, self.output)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size, of which the kernel notifies the program (SIGWINCH)."""
        if self.output.fd is not None:
            termios.tcsetwinsize(self.output.fd, (rows, columns))

    async def ended(self) -> int:
        """Wait for the program's end, which is that of its terminal, and return its exit status as the shell does."""
        status = await super().ended()
        self.output.end()
        return status

    def reap(self) -> None:
        """Hang up what the program leaves in its session, and reap the program, which has ended."""
        self.close()
        self._signal(signal.SIGHUP)
        super().reap()

    def _is_inhabited(self) -> bool:
        return is_inhabited(self.pid, processes.session_of)

    def _signal(self, signum: int) -> None:
        processes.signal_session(self.pid, signum)


def start(loop: Loop, program: Program, environment: Mapping[str, str]) -> ChildOnTerminal:
    """Start the program on a terminal of its own. Raises ProgramError."""
    master, slave, again = _terminal(program)
    try:
        pid = processes.spawn_on_terminal(program.argv, slave, variables(environment))
    except BaseException as error:
        os.close(master)
        os.close(again)
        if isinstance(error, OSError):
            raise not_run(program.argv, error) from None
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)  # both of them, which are one open file description
    return ChildOnTerminal(loop, pid, again, master)


def _terminal(program: Program) -> tuple[int, int, int]:
    """A new terminal: its master, its slave, and the master again. Raises ProgramError."""
    fds: list[int] = []
    try:
        fds += os.openpty()
        termios.tcsetwinsize(fds[1], (ROWS, COLUMNS))
        fds.append(os.dup(fds[0]))
    except BaseException as error:
        for fd in fds:
            os.close(fd)
        if not isinstance(error, OSError):
            raise
        # The system's word for that would be the one for a full disk.
        why = "none is left" if error.errno in (errno.ENOSPC, errno.EAGAIN) else reason(error)
        raise ProgramError(program.argv[0], f"no terminal for it: {why}", found=True) from None
    master, slave, again = fds
    return master, slave, again


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the kind of the terminal, and without the size of another."""
    kept = {name: value for name, value in environment.items() if name not in ("LINES", "COLUMNS")}
    return {**kept, "TERM": environment.get("TERM") or "vt100"}
