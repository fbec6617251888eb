"""The descriptors of this process: those that we inherited, how many there may be, and how much a pipe of them holds.

Theory: 0, 1 and 2 are stdin, stdout and stderr, also where whoever started us closed them. All others that we find at
the start are not meant for us, and even less for the programs that we start.
"""

from __future__ import annotations

import os


def reserve() -> None:
    """Open /dev/null on those of the descriptors 0 to 2 that are closed, so that no socket ever lands there."""
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(fd, True)
        os.close(fd)
    except FileNotFoundError:  # a root directory without /dev: nothing is there to open
        pass


def seal() -> None:
    """Keep the descriptors that we inherited ourselves from our children: a program gets 0, 1 and 2."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # the descriptor of the listing itself
                pass


def raise_limit() -> None:
    """Use all the descriptors that we may have: each client, and each port that is tried, is one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # then it is as it was
            pass


def grow(pipe: int, size: int) -> int:
    """Let the pipe hold `size` bytes, if it is smaller and we may; how many it holds then, 0 if nobody knows.

    A user's pipes together may hold 64 MiB; those opened later are small, and do not grow (pipe(7)).
    """
    import fcntl

    held = 0
    try:
        held = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        if held < size:
            held = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
    except OSError:  # the user's share is used up, or the kernel is one without
        pass
    return held


def pipe_of_size(size: int) -> tuple[int, int] | tuple[()]:
    """A pipe that holds `size` bytes; nothing where none is to be had."""
    try:
        pipe = os.pipe()
    except OSError:
        return ()
    if grow(pipe[1], size) >= size:
        return pipe
    for end in pipe:
        os.close(end)
    return ()
