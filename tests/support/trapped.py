"""A pync that fails on purpose: `python trapped.py WHERE ERROR EVERY ARGUMENTS…` runs pync with these arguments.

Every EVERYth session of the server is trapped: the first of these fails at its first WHERE, the next at its second, and
so on. WHERE is `await`, where a task of the session waits, or `call`, where it calls what can fail for want of
something: opening, starting, looking up, importing. ERROR is the name of an exception, or of an errno. At the end of a
trapped session a line on stderr says whether it had so many places, in the words of `SPRUNG` and `ESCAPED`. A session
that imports a module or opens a file is reported by a line that begins with `LATE`. Looks into /proc and at
/dev/tty do not count: each does without an answer. Nor does the session's own log, whose name ends with `LOG`.

Nothing here is imported by a test but the words: it is a program of its own, which a test starts.
"""

from __future__ import annotations

import builtins
import codecs
import errno
import os
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from pync.loop.tasks import Task, Work

SPRUNG, ESCAPED, LATE = "trap: sprung", "trap: escaped", "late:"
LOG = ".log"
SESSIONS = (
    "Server.serve",
    "DatagramClients._serve",
)  # the coroutines that are a session, from its beginning to its end


class Trap:
    """The sessions so far, the tasks of the one that is trapped, and how many places it has passed."""

    def __init__(self, where: str, error: Callable[[], Exception], every: int) -> None:
        self.where = where
        self.error = error
        self.every = every
        self.sessions = 0
        self.tasks: set[Task] = set()
        self.at = self.passed = 0

    def spring(self, where: str) -> None:
        """Take note of a place that a trapped session has come to, and fail if it is the one."""
        if where == self.where:
            self.passed += 1
            if self.passed == self.at:
                raise self.error()

    def watch(self, work: Work[Any]) -> Work[Any]:
        """The work of a new session, trapped if its turn has come."""
        self.sessions += 1
        if (self.sessions - 1) % self.every:
            return work
        self.at += 1
        self.passed = 0
        return self.outcome(work)

    async def outcome(self, work: Work[Any]) -> Any:
        """Run a trapped session, and say whether it failed."""
        try:
            return await self.stepped(work)
        finally:
            self.tasks.clear()
            os.write(2, f"{SPRUNG if self.passed >= self.at else ESCAPED}\n".encode())

    @types.coroutine
    def stepped(self, work: Work[Any]) -> Generator[Any, Any, Any]:
        """Run the work, and fail where it waits if that is the place: as if what it waits for had failed."""
        resume: Callable[[], Any] = lambda: work.send(None)  # noqa: E731 (it is replaced at each step)
        while True:
            try:
                waits_for = resume()
            except StopIteration as end:
                return end.value
            try:
                value = yield waits_for
                self.spring("await")
            except BaseException as error:
                failure = error
                resume = lambda: work.throw(failure)  # noqa: E731, B023 (called before `failure` changes)
            else:
                resume = lambda: work.send(value)  # noqa: E731, B023 (called before `value` changes)


def set_trap(trap: Trap) -> None:
    """Have pync's loop and the calls that can fail go through the trap."""
    from pync.loop.kernel import Loop

    spawn = Loop.spawn

    def spawn_trapped(loop: Loop, work: Work[Any], *ended: Any) -> Task:
        current = loop._current
        if getattr(work, "__qualname__", "") in SESSIONS and (current is None or current not in trap.tasks):
            task = spawn(loop, watched := trap.watch(work), *ended)
            if watched is not work:
                trap.tasks.add(task)
            return task
        if current in trap.tasks:
            task = spawn(loop, trap.stepped(work), *ended)
            trap.tasks.add(task)
            return task
        return spawn(loop, work, *ended)

    Loop.spawn = spawn_trapped  # type: ignore[method-assign, assignment]

    def trapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kw: Any) -> Any:
            if trap.tasks and LOOPS and LOOPS[0]._current in trap.tasks:
                trap.spring("call")
            return real(*args, **kw)

        return call

    made = Loop.__init__

    def remember(loop: Loop, *args: Any, **kw: Any) -> None:
        made(loop, *args, **kw)
        LOOPS.append(loop)

    def audit(event: str, facts: tuple[Any, ...]) -> None:
        allowed = str(facts[0]).startswith(("/proc/", "/dev/tty")) or str(facts[0]).endswith(LOG)
        named = event in ("import", "open") and not allowed
        if named and trap.tasks and LOOPS[0]._current in trap.tasks:
            REAL_WRITE(2, f"{LATE} {event} {facts[0]}\n".encode())

    sys.addaudithook(audit)
    Loop.__init__ = remember  # type: ignore[method-assign, assignment]
    set_calls(trapped)


LOOPS: list[Any] = []


def set_calls(trapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace what can fail for want of something."""
    import _socket
    import _thread
    import select

    for name in ("pipe", "openpty", "open", "dup", "posix_spawnp", "splice", "sendfile", "read", "write", "waitpid"):
        setattr(os, name, trapped(getattr(os, name)))
    os.write = REAL_WRITE
    for module, name in ((_socket, "getaddrinfo"), (_thread, "start_new_thread"), (select, "poll"), (codecs, "lookup")):
        setattr(module, name, trapped(getattr(module, name)))
    real = _socket.socket

    class Socket(real):  # type: ignore[misc, valid-type]
        __slots__ = ()

    for name in ("recv", "send", "sendto", "recv_into", "connect_ex", "setsockopt", "getsockopt"):
        setattr(Socket, name, in_session(trapped, getattr(real, name)))
    _socket.socket = Socket  # type: ignore[misc]
    real_import = builtins.__import__
    late_import = trapped(real_import)

    def load(name: str, *args: Any, **kw: Any) -> Any:
        return (real_import if name in sys.modules else late_import)(name, *args, **kw)

    builtins.__import__ = load


def in_session(trapped: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A method that goes through the trap."""
    checked = trapped(real)

    def method(self: Any, *args: Any) -> Any:
        return checked(self, *args)

    return method


REAL_WRITE = os.write


def named_error(name: str) -> Callable[[], Exception]:
    """A maker of the exception of that name, or of an OSError with that errno."""
    if hasattr(errno, name):
        code = getattr(errno, name)
        return lambda: OSError(code, os.strerror(code))
    kind = getattr(builtins, name)
    return lambda: kind("trapped")


def main() -> None:
    """Run pync with the arguments after the first three."""
    where, error, every = sys.argv[1:4]
    set_trap(Trap(where, named_error(error), int(every)))
    from pync.cli import main as pync

    sys.argv[1:] = sys.argv[4:]
    pync()


if __name__ == "__main__":
    main()
