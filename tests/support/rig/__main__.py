"""Plays rows, each in a thread with a network of its own: `python -m rig`, in a namespace of mounts and networks.

A request is a line of JSON on stdin, an answer a line on stdout. Started by `differential.py`, which says what is in
/etc. A thread can have a network and a working directory of its own (unshare(2)); what it starts inherits both.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import threading
import traceback

from .row import Row
from .scene import Scene, loopback_up

CLONE_FS, CLONE_NEWNET = 0x200, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
ANSWERING = threading.Lock()


def play(row: Row, program: str) -> list[str]:
    """The transcript of one row, in a new network and an empty working directory."""
    if LIBC.unshare(CLONE_FS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    loopback_up()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        scene = Scene(row, program)
        try:
            return scene.play(row.steps)
        finally:
            scene.close()
            os.chdir("/")


def answer(request: dict[str, object], slots: threading.Semaphore) -> None:
    """Play what was asked for, and write the answer."""
    with slots:
        try:
            row = Row(*request["row"])  # type: ignore[misc]
            came: dict[str, object] = {"lines": play(row, str(request["program"]))}
        except Exception:  # a fault of the rig or of a row, which the test shows
            came = {"failed": traceback.format_exc()}
    with ANSWERING:
        print(json.dumps({"id": request["id"], **came}), flush=True)


def main() -> None:
    """Answer until stdin ends."""
    slots = threading.Semaphore(int(sys.argv[1]))
    os.umask(0o022)
    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line), slots)).start()


if __name__ == "__main__":
    main()
