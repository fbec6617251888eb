"""Becoming the command that was given: the same process goes on as that program, as with exec in a shell.

Theory: the program finds everything as pync did. The descriptors that Python opens end here, and those that pync was
given stay. Python ignores SIGPIPE and SIGXFSZ, and a program inherits what is ignored. In the C locale it
sets LC_CTYPE (PEP 538); Linux keeps the environment of before. A module of its own, because few runs end so.
"""

from __future__ import annotations

import os

from pync.errors import ProgramError, reason
from pync.faces import finish_printing
from pync.system import signal
from pync.system.processes import environment_at_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def become(command: tuple[str, ...]) -> NoReturn:
    """Go on as this program, which is looked for in PATH. Raises ProgramError."""
    finish_printing(wait=True)
    for signum in IGNORED_BY_PYTHON:
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment())
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise ProgramError(command[0], why, found=not isinstance(error, FileNotFoundError)) from None


def environment() -> dict[bytes, bytes]:
    """Our environment without what Python has added to it."""
    ours = dict(os.environb)
    given = environment_at_start()
    if given and not any(variable.startswith(b"LC_CTYPE=") for variable in given):
        ours.pop(b"LC_CTYPE", None)
    return ours
