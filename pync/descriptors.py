"""The descriptors of this process that have fixed numbers, and how much a pipe holds. Every run needs both.

Theory: 0, 1 and 2 are stdin, stdout and stderr, even if the parent process has closed them. To write to a closed stdout
is an error, so the /dev/null that stands there cannot be written to.
"""

from __future__ import annotations

import os


def reserve() -> None:
    """Open /dev/null on those of the descriptors 0 to 2 that are closed, so that no socket ever lands there."""
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            if fd == 1:
                os.close(fd)
                os.open(os.devnull, os.O_RDONLY)
            os.set_inheritable(fd, True)
        os.close(fd)
    except FileNotFoundError:  # in a root directory without /dev there is nothing to open
        pass


def grow(pipe: int, size: int) -> int:
    """Let the pipe hold `size` bytes if it is smaller, and return how many it holds then; 0 if that is not known.

    All pipes of a user may hold 64 MiB together. Pipes that are opened then are small and cannot grow (pipe(7)).
    """
    import fcntl

    held = 0
    try:
        held = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        if held < size:
            held = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
    except OSError:  # the user's share is used up, or the kernel cannot do it
        pass
    return held
