"""The process: it chooses the face, runs it, and ends with the status that the face returns.

Here stands the only `except PyncError`. A bug is not caught: its traceback is needed then.
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

    from pync.faces import Face

DIALECT = "--dialect="  # in front of all other arguments it names the face
FACES = ("pync", "openbsd", "traditional")
COMMANDS = {  # the faces of the commands that have another one than pync
    **dict.fromkeys(("nc", "netcat", "nc.openbsd"), "openbsd"),
    **dict.fromkeys(("nc.traditional", "nc110"), "traditional"),
}


def main(argv: list[str] | None = None) -> int:
    """Run pync with the arguments after its name and return the exit status. Without `argv`, end the process with it.

    A negative status -N of the face ends the process by signal N in either case: SIGINT for an interrupt, SIGPIPE
    for a stdout whose reader has closed it.
    """
    if sys.platform == "win32":
        sys.exit("pync: Windows is not supported: it runs on Unix systems, and in the Windows Subsystem for Linux")
    if argv is None:
        gc.disable()  # collecting would cost a tenth of the start; the engine turns it on again (`engine.py`)
        if os.getpid() == 1:
            from pync.process_one import become_a_child

            become_a_child()
    try:
        status = _run(sys.argv if argv is None else ["pync", *argv])
    except KeyboardInterrupt:  # the loop has not taken over the signals yet
        status = -signal.SIGINT
    _finish_printing(wait=status >= 0)
    if status < 0:
        _end_by_signal(-status)
    if argv is None:
        os._exit(status)  # nothing is buffered, and tearing the interpreter down is a tenth of a short run
    return status


def _run(words: list[str]) -> int:
    reserve()
    name, argv = _chosen(words)
    if name != "pync" and callable(signal.getsignal(signal.SIGUSR1)):
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # the command has it wait for pync's own face to answer it
    face = _face(name, words[0])
    if face is None:
        from pync.faces import print_line

        print_line(f"pync: there is no dialect {name}: it is one of {', '.join(FACES)}")
        return 2
    try:
        return face.run(argv)
    except PyncError as error:
        return face.failed(error)


def _chosen(words: list[str]) -> tuple[str, list[str]]:
    """The name of the face, and the arguments for it: by the first of them, by the environment, or by our own name."""
    command, *argv = words
    if argv and argv[0].startswith(DIALECT):
        return argv[0][len(DIALECT) :], argv[1:]
    return os.environ.get("PYNC_DIALECT") or COMMANDS.get(os.path.basename(command), "pync"), argv


def _face(name: str, command: str) -> Face | None:
    """The face of this name; None if there is none. A process imports one face alone."""
    if name == "pync":
        from pync.faces.native.face import NativeFace

        return NativeFace()
    if name == "openbsd":
        from pync.faces.openbsd.face import OpenbsdFace

        return OpenbsdFace(command)
    if name == "traditional":
        from pync.faces.traditional.face import TraditionalFace

        return TraditionalFace(command)
    return None


def _finish_printing(*, wait: bool) -> None:
    from pync.faces import finish_printing  # which a face has imported

    finish_printing(wait=wait)


def _end_by_signal(signum: int) -> NoReturn:
    """End as if the signal had ended us: so a shell's loop stops at Ctrl-C, and the shell sees 128 + signum."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # the first process of a container outlives a signal that it sends itself
