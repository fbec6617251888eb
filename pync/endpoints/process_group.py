"""The process group of a program: which processes are in it beside the program itself, and which of them hold a socket.

Theory: the number of a group is the process id of its first process, the program. Other processes may still be in the
group when the program has ended. The system gives the number to no other process while the program is not reaped. So
a group is looked at, and sent signals, only until the program is reaped.

The system has no call that lists a group. So each process of `/proc` is asked for its group. Without `/proc` no other
process is found. Most programs run for a moment. What such a program has started has one of the few numbers that the
system has given since. So these alone are looked at: listing `/proc` takes a third as long as starting a program.

A program has no controlling terminal, or else it could type into ours (TIOCSTI, ioctl_tty(2)) and be stopped by it. So
where we have one, the group is in a session of its own. Where we have none, it is not: Linux schedules each session by
itself (sched(7), autogroup), which would make the start of a program slower.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pync.loop.kernel import Loop

SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
SHORTEST_LOOK, LONGEST_LOOK = 0.05, 5.0  # seconds between two looks
YOUNG, FEW = 1.0, 200  # seconds, and process ids: by then the system cannot have given all numbers once
SHORTAGE_LIMIT = 1.0  # seconds to wait for a descriptor to look with: a session that waits keeps descriptors itself


def apart() -> dict[str, Any]:
    """Arguments of posix_spawn(3) with which a program leads a group of its own, without a controlling terminal."""
    return {"setsid": True} if _has_terminal() else {"setpgroup": 0}


def _has_terminal() -> bool:
    """Whether we have a controlling terminal, as far as we can find out."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        return error.errno != errno.ENXIO
    return True


def is_inhabited(program: int) -> bool:
    """Whether a process other than the program runs in its group. True if no descriptor is left to find out."""
    try:
        return any(_runs(pid) for pid in _others(program))
    except OSError as error:
        return error.errno in SHORTAGE


async def released(loop: Loop, program: int, sock: int, age: float) -> None:
    """Wait until no other process of the program's group has the socket, which is a descriptor of ours.

    `age`: the seconds since the program was started.
    The end of such a process is noticed at once, and its closing of the socket after at most `LONGEST_LOOK` seconds.
    """
    if age < YOUNG and _has_started_nothing(program):
        return
    name = f"socket:[{os.fstat(sock).st_ino}]"
    pause = SHORTEST_LOOK
    while (holder := await _holder(loop, program, name)) is not None:
        await _ended(loop, holder, pause)
        pause = min(2 * pause, LONGEST_LOOK)


async def _holder(loop: Loop, program: int, name: str) -> int | None:
    """Another process of the group that has the socket of this name, if one can be found."""
    until = loop.clock() + SHORTAGE_LIMIT
    while True:
        try:
            return next((pid for pid in _others(program) if _has(pid, name)), None)
        except OSError as error:
            if error.errno not in SHORTAGE or loop.clock() >= until:
                return None
        await loop.sleep(SHORTEST_LOOK)


async def _ended(loop: Loop, pid: int, seconds: float) -> None:
    """Wait until a process has ended, which need not be our child, and for so many seconds at most."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # no pidfd on this system, or no descriptor left for one
        await loop.sleep(seconds)
        return
    try:
        await loop.readable(fd, loop.clock() + seconds)
    finally:
        loop.forget(fd)
        os.close(fd)


def _has_started_nothing(program: int) -> bool:
    """Whether none of the process ids that the system has given since that of a young program is in its group.

    False if they are many, or if the system does not report the latest one (proc_loadavg(5)).
    """
    try:
        with open("/proc/loadavg", "rb") as file:
            latest = int(file.read().split()[4])
    except OSError:
        return False
    given = range(program + 1, latest + 1)
    return latest >= program and len(given) < FEW and all(_group_of(pid) != program for pid in given)


def _others(program: int) -> Iterator[int]:
    """The other processes of the program's group, also those that have ended and are not reaped. Raises OSError."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != program and _group_of(int(name)) == program:
            yield int(name)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:  # it has ended meanwhile
        return None


def _runs(pid: int) -> bool:
    """Whether a process has not ended: its new parent may never reap it. Raises OSError."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _has(pid: int, name: str) -> bool:
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
