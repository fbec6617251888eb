"""What `--raw` needs of the command line's side: a terminal as stdin, and messages that suit a terminal in raw mode.

A module of its own, because most runs have no use for it, and because a config cannot know what stdin is.
"""

from __future__ import annotations

import os
import termios

from pync.errors import UsageError
from pync.faces.stderr import STANDARD, STDERR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config

STDIN = 0


def prepare(asked: Config) -> None:
    """Have each message begin at the left of the terminal. Raises UsageError if `--raw` cannot do what is asked."""
    if len(asked.ports) > 1:
        raise UsageError("--raw with several ports", "a terminal is for one connection")
    if not os.isatty(STDIN):
        raise UsageError("--raw", "stdin is not a terminal")
    STANDARD.line_end = line_end


def line_end() -> bytes:
    """What ends a line on stderr now: a terminal that does not process what it is given needs a CR, too."""
    try:
        return b"\n" if termios.tcgetattr(STDERR)[1] & termios.OPOST else b"\r\n"
    except termios.error:  # it is no terminal
        return b"\n"
