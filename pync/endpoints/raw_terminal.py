"""A stdin that is a terminal in raw mode (`--raw`): each key goes to the other side, and Ctrl-] is the end of stdin.

Theory: what reads keys one by one, such as a shell with job control or an editor, runs on a terminal of its own at the
other side, which echoes, edits and makes signals of keys. So the terminal here must do nothing of that. It is in raw
mode (termios(3)) as long as stdin is read: not before there is a connection, and not while another one is made.

A task, the keeper, puts the terminal into raw mode, and its `finally` gives the terminal back with the attributes that
were found. The loop waits for every `finally`, however the run ends, and only then an error is reported or the process
ends by a signal. The attributes are set at once (TCSANOW), because a terminal that shows nothing any more would never
have shown what is to be waited for. In the background they are those of another process, and are left alone.

SIGTSTP and SIGQUIT only come from other processes, because Ctrl-Z and Ctrl-\\ are keys. The terminal is given back
before they act. After SIGCONT, and also after a SIGSTOP that nothing can prepare for, raw mode is set again.

A module of its own, beside `terminal.py`, because most terminals are not raw.
"""

from __future__ import annotations

import os
import termios
import tty

from pync.endpoints.stdio import STDIN
from pync.endpoints.terminal import LOOK, Terminal
from pync.loop.tasks import Condition
from pync.stages.window_size import escaped, message
from pync.system import open_again, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.endpoints import Source
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

ESCAPE = b"\x1d"  # Ctrl-], as in telnet(1)
STOPPING = (signal.SIGTSTP, signal.SIGQUIT)


class RawTerminal(Terminal):
    """Reads a terminal that is in raw mode meanwhile."""

    def __init__(self, loop: Loop, source: Source, fd: int = STDIN, *, sizes: bool = False) -> None:
        """`source` reads `fd`. `sizes`: the size of its window is sent, too, at first and when it has changed."""
        super().__init__(loop, source, fd)
        self.sizes = sizes
        self.size = 0, 0  # what was sent last
        self.news = Condition()  # notified when something was read, or the size has changed
        self.changed = False  # the size has
        self.ended = False
        self.reading: Task | None = None  # a read that lasts until it gives something, over changes of the size
        self.keeper: Task | None = None
        self.found: list[Any] | None = None  # the attributes before raw mode, while that is set
        self.stopped_by = 0  # SIGTSTP or SIGQUIT, if it has come and pync is to obey it

    async def read(self) -> bytes | None:
        """Wait for what is typed, in raw mode; None from Ctrl-] on. Raises InputError."""
        if self.ended:
            return None
        if not self.keeper:
            self.keeper = self.loop.spawn(self._keep())
            self._measure()
        self.reading = self.reading or self.loop.spawn(super().read(), self.news)
        try:
            while not (self.changed or self.reading.done):
                await self.loop.wait(self.news)
            if self.changed:
                self.changed = False
                return message(*self.size)
            data, self.reading = self.reading.result(), None
        except BaseException:
            self._give_back()
            raise
        return self._typed(data)

    def _typed(self, data: bytes | None) -> bytes | None:
        typed, escape, _ = (data or b"").partition(ESCAPE)
        if escape:
            self._end_line()
        if escape or not data:
            self.ended = True
            self._give_back()
        return (escaped(typed) if self.sizes else typed) or None

    def _give_back(self) -> None:
        if self.keeper:
            self.keeper.cancel()
        if self.reading and not self.reading.done:
            self.reading.cancel()
            self.reading = None
        self.keeper, self.size, self.changed = None, (0, 0), False

    def _end_line(self) -> None:
        """Echo the one key that is ours, as a new line, so that the next prompt does not follow the other side's."""
        try:
            with open(open_again(self.fd, os.O_WRONLY | os.O_NONBLOCK), "wb", 0) as screen:
                screen.write(b"\r\n")
        except OSError:  # it has hung up
            pass

    async def _keep(self) -> None:
        """Keep the terminal in raw mode while this process is in the foreground, until this is cancelled."""
        signalled, self.stopped_by = Condition(), 0
        caught = [n for n in (*STOPPING, signal.SIGCONT, signal.SIGWINCH) if signal.getsignal(n) != signal.SIG_IGN]
        self.loop.notified_by |= dict.fromkeys(caught, signalled)
        before = [(signum, signal.signal(signum, self._came)) for signum in caught]
        try:
            while True:
                if self.stopped_by:
                    self._obey(self.stopped_by)
                background = self._in_background()
                if not background:
                    self._set_raw()
                self._measure()
                await self.loop.wait(signalled, self.loop.clock() + LOOK if background else None)
        finally:
            self._restore()
            for signum, handler in before:
                signal.signal(signum, handler)

    def _came(self, signum: int, _: object) -> None:
        if signum in STOPPING:
            self.stopped_by = signum

    def _obey(self, signum: int) -> None:
        """Give the terminal back, and have the signal end this process, or stop it until it is to go on."""
        self.stopped_by = 0
        self._restore()
        handler = signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        signal.signal(signum, handler)

    def _set_raw(self) -> None:
        try:
            self.found = self.found or termios.tcgetattr(self.fd)
            tty.setraw(self.fd, termios.TCSANOW)
        except termios.error:  # the terminal has hung up, which reading finds out
            pass

    def _restore(self) -> None:
        found, self.found = self.found, None
        try:
            if found and not self._in_background():
                termios.tcsetattr(self.fd, termios.TCSANOW, found)
        except termios.error:  # it has hung up
            pass

    def _measure(self) -> None:
        """Find out whether the size has changed. A terminal without a size has none to be sent."""
        if not self.sizes:
            return
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:  # it has hung up
            return
        if rows and columns and (rows, columns) != self.size:
            self.size, self.changed = (rows, columns), True
            self.news.notify()
