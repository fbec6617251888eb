"""The process group of a program: which processes are in it beside the program itself, and which of them hold a socket.

Theory: the number of a group is the process id of its first process, the program. Other processes may still be in the
group when the program has ended. The system gives the number to no other process while the program is not reaped. So
a group is looked at, and sent signals, only until the program is reaped.

The system has no call that lists a group. So each process of `/proc` is asked for its group. Without `/proc` no other
process is found. Most programs run for a moment. What such a program has started has one of the few numbers that the
system has given since. So these alone are looked at: listing `/proc` takes a third as long as starting a program.

A program has no controlling terminal, or else it could type into ours (TIOCSTI, ioctl_tty(2)) and be stopped by it. So
where we have one, the group is in a session of its own. Where we have none, it is not: Linux schedules each session by
itself (sched(7), autogroup), which would make the start of a program slower. A program with a terminal of its own leads
a session, in which a shell gives each job a group (`child_terminal.py`).
"""

from __future__ import annotations

import errno
import os

from pync.system import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.loop.kernel import Loop

SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
SHORTEST_LOOK, LONGEST_LOOK = 0.05, 5.0  # seconds between two looks
YOUNG, FEW = 1.0, 200  # seconds, and process ids: by then the system cannot have given all numbers once
SHORTAGE_LIMIT = 1.0  # seconds to wait for a descriptor to look with: a session that waits keeps descriptors itself


def has_terminal() -> bool:
    """Whether we have a controlling terminal, as far as we can find out."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        return error.errno != errno.ENXIO
    return True


def is_inhabited(program: int, of: Callable[[int], int | None] = processes.group_of) -> bool:
    """Whether a process other than the program runs in its group, or its session (`processes.session_of`).

    True if no descriptor is left to find out.
    """
    try:
        return processes.is_inhabited(program, of)
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
            return next((pid for pid in processes.others_in(program) if processes.has(pid, name)), None)
        except OSError as error:
            if error.errno not in SHORTAGE or loop.clock() >= until:
                return None
        await loop.sleep(SHORTEST_LOOK)


async def _ended(loop: Loop, pid: int, seconds: float) -> None:
    """Wait until a process has ended, which need not be our child, and for so many seconds at most."""
    try:
        fd = processes.process_descriptor(pid)
    except ProcessLookupError:
        return
    except OSError:  # no such descriptors on this system, or none left
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
    latest = processes.latest()
    if latest is None:
        return False
    given = range(program + 1, latest + 1)
    return latest >= program and len(given) < FEW and all(processes.group_of(pid) != program for pid in given)
