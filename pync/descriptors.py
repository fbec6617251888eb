"""The descriptors of this process that have fixed numbers, which every run needs.

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
