"""The command line: it chooses the face, runs it, and turns what comes of it into the end of the process.

Here stands the only `except PyncError`. A bug is not caught: its traceback is what is needed then.
"""

from __future__ import annotations

import gc
import os
import sys

from pync.descriptors import reserve
from pync.errors import PyncError
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main(argv: list[str] | None = None) -> int:
    """Run pync with the words after its name and answer the exit status; without words, be the process and end it.

    A signal that should end us (we were interrupted, or our reader is gone) ends the process in either case.
    """
    if argv is None:
        gc.disable()  # collecting would cost a tenth of the start; the engine goes on with it (`engine.py`)
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # before the engine took over the signals
        status = -signal.SIGINT
    if status < 0:
        _end_by(-status)
    if argv is None:
        os._exit(status)  # nothing is buffered, and tearing the interpreter down is a tenth of a short run
    return status


def _run(argv: list[str]) -> int:
    reserve()
    from pync.faces.native.face import Own

    face = Own()
    try:
        return face.run(argv)
    except PyncError as error:
        return face.failed(error)


def _end_by(signum: int) -> NoReturn:
    """End as if the signal had struck us: so a shell's loop stops at Ctrl-C, and the shell sees 128 + signum."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # the first process of a container outlives a signal that it sends itself
