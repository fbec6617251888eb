"""Another system, simulated: pync does not see what PORTABLE_WITHOUT names, separated by commas.

In the environment of `scripts/test --portable` each interpreter calls `take_away` before anything else (a .pth file),
also in the processes that a test starts. What pync's modules import are views of the real modules. The rest
of the process sees the real ones: the standard library, pytest, the tests, and whatever a test replaces in a module.

- A name that is taken away is missing in its module.
- A path below /proc or /dev/fd is not there.
- A call with an option that is taken away fails as on a system that does not know the option.
"""

from __future__ import annotations

import builtins
import errno
import os
import selectors
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VARIABLE = "PORTABLE_WITHOUT"

# What can be taken away: the names that are missing then, each with its module.
FEATURES: dict[str, tuple[str, ...]] = {
    "epoll": ("select.epoll", "selectors.EpollSelector"),  # leaves poll(2), or select(2) if that is taken away, too
    "poll": ("select.poll", "selectors.PollSelector"),
    "rdhup": ("select.POLLRDHUP",),
    "splice": ("os.splice", "os.SPLICE_F_NONBLOCK"),
    "sendfile": ("os.sendfile",),
    "pidfd": ("os.pidfd_open",),
    "waitid": ("os.waitid",),
    "setsid": (),  # of posix_spawn(3)
    "memfd": ("os.memfd_create",),
    "pipe2": ("os.pipe2",),
    "o_path": ("os.O_PATH", "os.O_TMPFILE"),
    "setresuid": ("os.setresuid", "os.setresgid", "os.getresuid", "os.getresgid"),
    "pipe_size": ("fcntl.F_GETPIPE_SZ", "fcntl.F_SETPIPE_SZ"),
    "outq": (),  # TIOCOUTQ and SIOCOUTQNSD of sockets
    "dontwait": ("_socket.MSG_DONTWAIT",),
    "reuseport": ("_socket.SO_REUSEPORT",),
    "keepidle": ("_socket.TCP_KEEPIDLE", "_socket.TCP_KEEPINTVL", "_socket.TCP_KEEPCNT"),
    "segments": (),  # UDP_SEGMENT and UDP_GRO
    "rlimit_as": ("resource.RLIMIT_AS",),
    "proc": (),
    "dev_fd": (),
    # The name of the system, and with it the numbers of its headers: IP_PKTINFO, abstract names, prctl(2) and so on.
    "linux": ("_socket.AF_VSOCK", "_socket.SO_PEERCRED", "_socket.SO_BINDTODEVICE"),
}
UDP, SEGMENT, GRO = 17, 103, 104
QUEUES = (0x5411, 0x894B)  # TIOCOUTQ, SIOCOUTQNSD
ELSEWHERE = "elsewhere1"


def taken_away() -> set[str]:
    """The features that this run has to do without."""
    names = set(filter(None, os.environ.get(VARIABLE, "").split(",")))
    if "everything" in names:  # but poll(2), which every system has
        names = names - {"everything"} | FEATURES.keys() - {"poll"}
    assert names <= FEATURES.keys(), f"{VARIABLE}: there is no {names - FEATURES.keys()}"
    return names


class View(ModuleType):
    """A module as pync sees it: without some names, and with others in place of the real ones."""

    def __init__(self, real: ModuleType, missing: set[str], **instead: Any) -> None:
        super().__init__(real.__name__, real.__doc__)
        self.__dict__.update(instead)
        self.__dict__["_real"], self.__dict__["_missing"] = real, missing

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_missing"]:
            raise AttributeError(f"{self.__name__} has no {name} here")
        return getattr(self.__dict__["_real"], name)


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def refusing_paths(call: Callable[..., Any], away: set[str]) -> Callable[..., Any]:
    """The call as it is where these file systems are not mounted."""

    def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
        text = path if isinstance(path, str) else ""
        if ("proc" in away and (text + "/").startswith("/proc/")) or ("dev_fd" in away and text == "/dev/fd"):
            raise failure(errno.ENOENT)
        return call(path, *args, **kwargs)

    return refuse


def replaced_in_os(away: set[str]) -> dict[str, Any]:
    def spawn(*args: Any, **kwargs: Any) -> int:
        if "setsid" in away and kwargs.get("setsid"):
            raise NotImplementedError("posix_spawnp: setsid unavailable on this platform")
        return os.posix_spawnp(*args, **kwargs)

    def late(name: str) -> Callable[..., Any]:
        return refusing_paths(lambda *args, **kwargs: getattr(os, name)(*args, **kwargs), away)

    def answers(name: str) -> Callable[..., bool]:
        def answer(path: str) -> bool:
            try:
                return bool(refusing_paths(getattr(os.path, name), away)(path))
            except OSError:
                return False

        return answer

    paths = View(os.path, set(), **{name: answers(name) for name in ("exists", "isdir")})
    return {"posix_spawnp": spawn, "path": paths} | {
        name: late(name) for name in ("open", "listdir", "readlink", "stat")
    }


def replaced_in_fcntl(away: set[str]) -> dict[str, Any]:
    import fcntl

    def ioctl(fd: int, request: int, *args: Any) -> Any:
        if "outq" in away and request in QUEUES:
            raise failure(errno.ENOTTY)
        return fcntl.ioctl(fd, request, *args)

    return {"ioctl": ioctl}


def replaced_in_socket(away: set[str]) -> dict[str, Any]:
    import _socket

    def check_option(level: int, option: int) -> None:
        if "segments" in away and level == UDP and option in (SEGMENT, GRO):
            raise failure(errno.ENOPROTOOPT)

    def check_name(name: Any) -> None:
        if "linux" in away and isinstance(name, (bytes, str)) and name[:1] in ("", b"", "\0", b"\0"):
            raise failure(errno.ENOENT)

    class Socket(_socket.socket):
        def setsockopt(self, level: int, option: int, *args: Any) -> Any:
            check_option(level, option)
            return super().setsockopt(level, option, *args)

        def getsockopt(self, level: int, option: int, *args: Any) -> Any:
            check_option(level, option)
            return super().getsockopt(level, option, *args)

        def bind(self, name: Any) -> None:
            check_name(name)
            super().bind(name)

        def connect_ex(self, name: Any) -> int:
            check_name(name)
            return super().connect_ex(name)

    return {"socket": Socket}


def replaced_in_ctypes(away: set[str]) -> dict[str, Any]:
    import ctypes

    return {"CDLL": (lambda _: object()) if "linux" in away else ctypes.CDLL}


def views(away: set[str]) -> dict[str, View]:
    """The modules that pync sees otherwise than they are, by their names. They are made when they are asked for."""
    missing: dict[str, set[str]] = {}
    for feature in away:
        for name in FEATURES[feature]:
            module, _, attribute = name.partition(".")
            missing.setdefault(module, set()).add(attribute)
    waits = selectors.SelectSelector if "poll" in away else selectors.PollSelector
    instead: dict[str, Callable[[], dict[str, Any]]] = {
        "os": lambda: replaced_in_os(away),
        "fcntl": lambda: replaced_in_fcntl(away),
        "_socket": lambda: replaced_in_socket(away),
        "ctypes": lambda: replaced_in_ctypes(away),
        "selectors": lambda: {"DefaultSelector": waits} if "epoll" in away else {},
        "sys": lambda: {"platform": ELSEWHERE} if "linux" in away else {},
    }
    made: dict[str, View] = {}

    class Views(dict[str, View]):
        def __missing__(self, name: str) -> View:
            if name not in missing and name not in instead:
                raise KeyError(name)
            if name not in made:
                replaced = instead.get(name, dict)()
                made[name] = View(sys.modules[name], missing.get(name, set()), **replaced)
            return made[name]

    return Views()


def take_away() -> None:
    """From now on, modules of pync that are imported see these views."""
    away = taken_away()
    real, seen = builtins.__import__, views(away)
    open_file = refusing_paths(open, away)

    def import_module(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:  # noqa: A002
        module = real(name, globals, locals, fromlist, level)
        importer = str(globals.get("__name__")) if globals else ""
        if level or not (importer == "pync" or importer.startswith("pync.")):
            return module
        globals["open"] = open_file
        try:
            return seen[name]
        except KeyError:
            return module

    builtins.__import__ = import_module
