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
    from collections.abc import Callable, Iterator, Mapping

BACK_TO_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP)  # Python and nohup ignore them
# Those that keys of a terminal send, and those of job control. A script's `&` ignores the first two.
OF_TERMINALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
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


def spawn_on_terminal(argv: tuple[str, ...], terminal: int, environment: Mapping[str, str]) -> int:
    """Start a program that leads a session of its own, on a terminal; its process id. Raises OSError.

    The terminal becomes its stdin, stdout and stderr, and the controlling terminal of the session. On Linux that is the
    first terminal which the leader of a session opens. It is opened by its descriptor: a name in /dev/pts may be that
    of another terminal (pts(4), instances of devpts).
    """
    if not REAPED_EARLY:
        opened = (os.POSIX_SPAWN_OPEN, 0, f"/proc/self/fd/{terminal}", os.O_RDWR, 0)
        actions = [opened, (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
        defaults = BACK_TO_DEFAULT + OF_TERMINALS
        try:
            return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsigdef=defaults, setsid=True)
        except NotImplementedError:
            pass
    return _fork(argv, None, (terminal, terminal), environment, terminal)


def _fork(
    argv: tuple[str, ...],
    path: str | None,
    ends: tuple[int, int],
    environment: Mapping[str, str],
    terminal: int | None = None,
) -> int:
    import fcntl
    import termios
    from subprocess import Popen

    def prepare() -> None:
        for signum in BACK_TO_DEFAULT + OF_TERMINALS * bool(terminal):
            signal.signal(signum, signal.SIG_DFL)
        if terminal is not None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = Popen(argv, -1, path, *ends, terminal, prepare, env=environment, start_new_session=True)
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


def session_of(pid: int) -> int | None:
    """The session of a process; None if it has ended, or if the system does not report it."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def others_in(number: int, of: Callable[[int], int | None] = group_of) -> Iterator[int]:
    """The processes of a group (or of a session: `session_of`) without its first. Raises OSError.

    Those that have ended and are not reaped are among them.
    """
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != number and of(int(name)) == number:
            yield int(name)


def is_inhabited(number: int, of: Callable[[int], int | None] = group_of) -> bool:
    """Whether a process other than the first of a group (or session) runs in it. Raises OSError if that is not known.

    Where processes are not listed, only the group of a session's leader is looked at.
    """
    if not REAPED_EARLY:
        return any(runs(pid) for pid in others_in(number, of))
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # they are another user's
        pass
    return True


def signal_session(leader: int, signum: int) -> None:
    """Send a signal to each process group of a session; a group that is stopped goes on with it.

    The leader is not reaped yet, so its number is still that of the session. The jobs of a shell have groups of their
    own. Where processes are not listed, they are not found.
    """
    groups = {leader}
    try:
        groups |= {group for pid in others_in(leader, session_of) if (group := group_of(pid))}
    except OSError:
        pass
    for group in groups:
        try:
            os.killpg(group, signum)
            os.killpg(group, signal.SIGCONT)
        except (PermissionError, ProcessLookupError):  # it is another user's, or has ended meanwhile
            pass


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
