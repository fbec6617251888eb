"""The faces of pync: each is a command line that pync can have, in a folder of its own; beside them, what they share.

A face turns argv into a `Config`, events into lines on stderr, and the end of a run into an exit status. All else in
pync knows of no option and prints nothing. `cli.py` chooses the face, makes it, with the name of the command as it was
started if its messages begin with that, and calls its two methods:

run(argv)
    Do what the arguments (without the program's name) ask for, and return the status. Raises PyncError.
failed(error)
    `run` has raised this error: report it on stderr, unless a line there has it already, and return the status.

A status from 0 on is the exit status of the process. A negative one, -N, asks for the process to end by signal N; an
error that ends so (an interrupt, a stdout that its reader has closed) is not reported.

During a run stdout carries only what the peer sends, so a face writes its lines on stderr, with `print_line`, or with
`print_lines` if several belong together, such as those of a traceback. `print_unescaped` is for texts of its own. A
text that the user asked for instead of a run (--help) goes to stdout, with `print_text`.
"""

from __future__ import annotations

import os
import sys

from pync.errors import OutputClosed, OutputError, reason
from pync.printable import backslash_escape, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from pync.errors import PyncError

    class Face(Protocol):
        """The contract above."""

        def run(self, argv: list[str]) -> int: ...

        def failed(self, error: PyncError) -> int: ...


def print_line(line: str) -> None:
    """Write a line on stderr, at once or when there is room (`stderr.py`). A stderr that is closed or full is no error.

    The line may hold what a stranger chose (the path of a unix socket), so whatever is not printable is escaped.
    """
    print_lines((line,))


def print_lines(lines: Iterable[str]) -> None:
    """Write several lines on stderr as one message: all are shown, or none if there is no room for them."""
    from pync.faces.stderr import STANDARD

    text = "".join([f"{printable(line, backslash_escape)}\n" for line in lines])
    STANDARD.write(text.encode(sys.getfilesystemencoding(), "backslashreplace"))


def print_unescaped(text: str) -> None:
    """Write a text of a face's own on stderr as it is, with its tabs and without an end of the line of ours."""
    from pync.faces.stderr import STANDARD

    STANDARD.write(text.encode())


def draw_line(line: str) -> None:
    """Show a line on a terminal that the next one takes the place of, or nothing if it takes nothing now."""
    from pync.faces.stderr import STANDARD

    columns = os.get_terminal_size(STANDARD.fd).columns or 80
    STANDARD.draw(printable(line, backslash_escape)[: columns - 1].encode(sys.getfilesystemencoding(), "replace"))


def clear_line() -> None:
    """Take away what `draw_line` has shown last."""
    from pync.faces.stderr import STANDARD

    STANDARD.write(b"")


def finish_printing(*, wait: bool) -> None:
    """Write what stderr had no room for. With `wait`, give its reader some time."""
    if module := sys.modules.get("pync.faces.stderr"):  # a run that has printed nothing has not imported it
        module.STANDARD.finish(wait=wait)


def print_text(text: str) -> None:
    """Write a text on stdout. Raises OutputError."""
    data = text.encode()
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError as error:
        raise OutputClosed("writing stdout", reason(error)) from None
    except OSError as error:
        raise OutputError("writing stdout", reason(error)) from None
