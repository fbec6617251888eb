"""Process 1 of a container: it runs pync as its child, passes signals on to it, and reaps what it inherits.

Theory: a process whose parent has ended becomes a child of process 1, and stays a zombie until that reaps it (wait(2)).
pync waits for each of its programs by itself. If it also reaped all that has ended, the status of a program could be
taken by the wrong part of it. So process 1 does nothing but reap, as tini does, and ends with pync's status.

It keeps no descriptor open, because a reader gets the end-of-file only when every writer has closed its descriptor. Its
signals are blocked and waited for: the kernel keeps a blocked signal for process 1, and drops one that has no handler
(pid_namespaces(7)). A signal that was typed at the terminal is not passed on, because pync is in the same process group
and has got it as well. A terminal that closes sends SIGHUP to the first process alone.
"""

from __future__ import annotations

import os

from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def become_a_child() -> None:
    """Go on in a child of this process. The process itself ends with the child's status, and does not return here.

    Where no process can be started, this one goes on, and inherited processes are not reaped.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, no status can be waited for (wait(2))
    signals = signal.valid_signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        child = os.fork()
    except OSError:
        child = 0
    if child:
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        os._exit(_status_of(child, signals))
    if os.environ.get("LISTEN_PID") == "1":  # sockets were passed to process 1, as podman does it
        os.environ["LISTEN_PID"] = str(os.getpid())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _status_of(child: int, signals: Iterable[int]) -> int:
    """Pass signals on to the child and reap, until the child has ended; its status as the shell shows it."""
    while True:
        info = signal.sigwaitinfo(signals)
        if info.si_signo == signal.SIGCHLD:
            if (status := _reap(child)) is not None:
                return status if status >= 0 else 128 - status
        elif info.si_code <= 0 or info.si_signo == signal.SIGHUP:  # a process has sent it (sigaction(2)), or see above
            os.kill(child, info.si_signo)


def _reap(child: int) -> int | None:
    """Reap all that has ended; the exit status of the child if that is among it, or -n if signal n ended it."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return os.waitstatus_to_exitcode(status)
        if pid == 0:
            return None
