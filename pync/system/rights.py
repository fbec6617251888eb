"""The ids and the rights of this process: how they are changed for good, and what of that only Linux has."""

from __future__ import annotations

import os

from pync.system import LINUX

# <linux/prctl.h>, <linux/securebits.h>
PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 27, 28, 38
SECBIT_NO_SETUID_FIXUP = 1 << 2


def gain_nothing() -> bool:
    """Let no program gain rights by its file any more. False if that failed; elsewhere than on Linux it is left out."""
    return not LINUX or _prctl(PR_SET_NO_NEW_PRIVS, 1) >= 0


def keep_capabilities() -> int:
    """Have a change of the user leave root its capabilities, where that is possible. Returns what `restore` takes."""
    bits = _prctl(PR_GET_SECUREBITS)
    _prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP)
    return bits


def restore(bits: int) -> None:
    """Undo `keep_capabilities`."""
    _prctl(PR_SET_SECUREBITS, bits)


def become(uid: int, gid: int) -> None:
    """Change the real, effective and saved ids. Raises OSError."""
    if hasattr(os, "setresuid") and hasattr(os, "setresgid"):
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    else:  # of root, these change all three (setuid(2)); of others, `ids` shows what they have not changed
        os.setgid(gid)
        os.setuid(uid)


def ids() -> tuple[set[int], set[int]]:
    """The user ids and the group ids of this process; without the saved ones where those are not shown."""
    users = os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())
    groups = os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid())
    return set(users), set(groups)


def _prctl(request: int, value: int = 0) -> int:
    """The result of prctl(2), which Python does not have: -1 at an error, or where the system does not have it."""
    try:
        import ctypes

        call = ctypes.CDLL(None).prctl
    except (ImportError, AttributeError):
        return -1
    result: int = call(request, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)
    return result
