"""Child processes, and what the system shows of other processes.

Theory: where a child's end is seen before it is reaped (waitid(2)), its number stays its own until it is reaped, and so
does that of its process group, whose other processes are listed in /proc. Without both, a child is reaped as soon as
it has ended. Its group keeps the number as long as a process is in it, so the group itself is asked then: signal 0
reaches it, or else it is empty and gets no signal any more.
"""

from __future__ import annotations

import errno
import os

from pync.system import LINUX, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BACK_TO_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP)  # Python and nohup ignore them
REAPED_EARLY = not (LINUX and hasattr(os, "waitid") and os.path.isdir("/proc/self"))


def child_status(pid: int) -> int | None:
    """The exit status of a child that has ended, or -n if signal n ended it; None while it runs.

    It is left to be reaped, unless REAPED_EARLY. Raises ChildProcessError if it was reaped before.
    """
    if not REAPED_EARLY:
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return end and (end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def reap(pid: int) -> None:
    """Reap a child whose status `child_status` has returned."""
    if not REAPED_EARLY:
        os.waitpid(pid, 0)


def spawn(
    argv: tuple[str, ...],
    path: str | None,
    ends: tuple[int, int],
    environment: Mapping[str, str],
    *,
    new_session: bool,
) -> int:
    """Start a program that leads a session or a process group of its own; its process id. Raises OSError.

    It is the file at `path`, or argv[0] as the PATH leads to it. `ends` are its stdin and stdout.
    """
    actions = [(os.POSIX_SPAWN_DUP2, end, fd) for fd, end in enumerate(ends)]
    leads: dict[str, int] = {"setsid": True} if new_session else {"setpgroup": 0}
    try:
        return os.posix_spawnp(
            path or argv[0],
            argv,
            environment,
            file_actions=actions,
            setsigdef=BACK_TO_DEFAULT,
            **leads,  # type: ignore[arg-type]
        )
    except NotImplementedError:  # FreeBSD cannot make it the leader of a session in this way
        return _fork(argv, path, ends, environment)


def _fork(argv: tuple[str, ...], path: str | None, ends: tuple[int, int], environment: Mapping[str, str]) -> int:
    from subprocess import Popen

    def default() -> None:
        for signum in BACK_TO_DEFAULT:
            signal.signal(signum, signal.SIG_DFL)

    process = Popen(argv, -1, path, *ends, preexec_fn=default, env=environment, start_new_session=True)
    process.returncode = 0  # or else Popen would wait for it some day
    return process.pid


def process_descriptor(pid: int) -> int:
    """A descriptor that is readable once a process has ended, which need not be our child. Raises OSError."""
    if not hasattr(os, "pidfd_open"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return os.pidfd_open(pid)


def latest() -> int | None:
    """The number that the system has given last to a process; None if that is not known (proc_loadavg(5))."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[4])
    except OSError:
        return None


def environment_at_start() -> list[bytes]:
    """The variables with which this process was started, as NAME=VALUE; none where the system does not keep them."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def group_of(pid: int) -> int | None:
    """The process group of a process; None if it has ended."""
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def others_in(group: int) -> Iterator[int]:
    """The processes of a group without its first, also those that have ended and are not reaped. Raises OSError."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != group and group_of(int(name)) == group:
            yield int(name)


def is_inhabited(group: int) -> bool:
    """Whether a process other than the first of a group runs in it. Raises OSError if it cannot be found out."""
    if not REAPED_EARLY:
        return any(runs(pid) for pid in others_in(group))
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # they are another user's
        pass
    return True


def runs(pid: int) -> bool:
    """Whether a process has not ended: its new parent may never reap it. Raises OSError."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def has(pid: int, name: str) -> bool:
    """Whether a process has a descriptor of this name (proc(5)). False for another user's process. Raises OSError."""
    try:
        return any(_link(f"/proc/{pid}/fd/{fd}") == name for fd in os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it was closed meanwhile
        return ""
