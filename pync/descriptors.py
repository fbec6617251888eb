"""The descriptors of this process: those it inherits, the limit of their number, and how much a pipe holds.

Theory: 0, 1 and 2 are stdin, stdout and stderr, even if the parent process has closed them. All other descriptors that
are open at the start are not meant for pync, and even less for the programs that it starts.
"""

from __future__ import annotations

import os


def reserve() -> None:
    """Open /dev/null on those of the descriptors 0 to 2 that are closed, so that no socket ever lands there."""
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(fd, True)
        os.close(fd)
    except FileNotFoundError:  # in a root directory without /dev there is nothing to open
        pass


def seal() -> None:
    """Keep our inherited descriptors from our children, which get 0, 1 and 2 only."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # the descriptor of the listing itself
                pass


def raise_limit() -> None:
    """Raise the limit of descriptors as far as allowed: each client takes one, and so does each port of a scan."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # the limit stays as it was
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


def pipe_of_size(size: int) -> tuple[int, int] | tuple[()]:
    """A pipe that holds at least `size` bytes; an empty tuple if the system gives none."""
    try:
        pipe = os.pipe()
    except OSError:
        return ()
    if grow(pipe[1], size) >= size:
        return pipe
    for end in pipe:
        os.close(end)
    return ()
