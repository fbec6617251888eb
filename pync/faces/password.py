"""Asking for a password on the terminal, which is left as it was, also by a signal.

Theory: getpass turns the echo off, and on again when it is done. A signal whose disposition is the default ends the
process in between, and the user would no more see what is typed. So each signal that stops pync restores the terminal
first, and then has its default. A handler that raises would not do: where the terminal has hung up, getpass goes on and
reads stdin instead. A module of its own, because only a proxy with a user and no password needs it.
"""

from __future__ import annotations

import os
import termios
from getpass import getpass

from pync.system import signal

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ask(prompt: str) -> str:
    """What is typed at the prompt. Raises OSError without a terminal, EOFError if it is ended instead."""
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)  # without one getpass would read stdin
    modes = termios.tcgetattr(terminal)

    def end(signum: int, _: object) -> None:
        try:
            if os.tcgetpgrp(terminal) == os.getpgrp():  # in the background the modes are those of another process
                termios.tcsetattr(terminal, termios.TCSANOW, modes)
        except (OSError, termios.error):  # it has hung up
            pass
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)

    caught = [signum for signum in STOPPING if signal.getsignal(signum) != signal.SIG_IGN]
    before = [(signum, signal.signal(signum, end)) for signum in caught]
    try:
        return getpass(prompt)
    finally:
        for signum, handler in before:
            signal.signal(signum, handler)
        os.close(terminal)
