"""Descriptors 0 to 2: closed, full, slow, non-blocking, shared, a directory, a growing file, a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import subprocess
import termios
from typing import TYPE_CHECKING

from harness import DEVNULL, PIPE, UNMEASURED, require
from meetings import file_of, listening, met, payload, read_slowly, received, sending, shell
from netcats import Unable, Use
from network import ROOT
from outcomes import FAILS, REPORTED, WHOLE, Case, Law, Outcome, flow, outcome_of
from terminals import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from netcats import Netcat

SIZE = 3_000_000
QUESTION, ANSWER = b"from stdin\n", b"from the peer\n"

# -- stdout


def into_a_full_file(tool: Netcat, folder: Path, role: str, kind: str) -> Outcome:
    """Stdout takes nothing, or no more than 64 KiB."""
    data = payload(SIZE)
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(_tmpfs(folder)) / "full" if kind == "tmpfs" else folder / "full"
        if kind == "/dev/full":
            path.symlink_to(kind)
        stdout = stack.enter_context(path.open("wb"))
        process, conn = stack.enter_context(met(tool, Use(role), stdout=stdout))
        with sending(conn, data):
            outcome = outcome_of(process)
        arrived = path.read_bytes() if kind == "tmpfs" else b""
        return outcome._replace(flows=(flow(data, arrived),))


@contextlib.contextmanager
def _tmpfs(folder: Path) -> Iterator[Path]:
    place = folder / "mounted"
    place.mkdir()
    if not ROOT:
        raise Unable("only root can mount")
    subprocess.run([require("mount"), "-t", "tmpfs", "-o", "size=64k", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run([require("umount"), "-l", place], check=True)


def into_a_pipe(tool: Netcat, folder: Path, role: str, *, blocking: bool = True, closed_after: int = 0) -> Outcome:
    """Stdout is a pipe that is read slowly, that others have made non-blocking, or that is closed by its reader."""
    # More than the pipe holds: the kernel moves pages into it, of which the large ones make 6 MB in a pipe of 1 MiB.
    data = payload(SIZE) * (10 if closed_after else 1)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        os.set_blocking(writing, blocking)
        with met(tool, Use(role), stdout=writer) as (process, conn), sending(conn, data):
            left = () if os.get_blocking(writing) == blocking else ("a pipe of others whose blocking is changed",)
            writer.close()
            arrived = read_slowly(reading, closed_after or len(data) + 1)
            reader.close()
            return outcome_of(process, flow(data, arrived), left=left)


def into_a_shared_pipe(tool: Netcat, folder: Path, role: str) -> Outcome:
    """Another writer uses the same pipe before and after: its bytes come through, and the pipe stays as it was."""
    data = payload(SIZE)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0) as writer:
        with met(tool, Use(role), stdout=writer) as (process, conn), sending(conn, data):
            arrived = read_slowly(reading, SIZE)
            left = () if os.get_blocking(writing) else ("a pipe of others that is non-blocking",)
            outcome = outcome_of(process, left=left)
        writer.write(ANSWER)
        arrived += read_slowly(reading, len(ANSWER))
        return outcome._replace(flows=(flow(data + ANSWER, arrived),))


# -- Closed at the start


def closed(tool: Netcat, folder: Path, role: str, closed: tuple[int, ...]) -> Outcome:
    """An exchange: what is open gets its bytes, and nothing else gets into the connection."""
    closing = " ".join(f"{fd}{'<' if fd == 0 else '>'}&-" for fd in closed)
    before = shell(f'exec "$@" {closing}')
    with (
        file_of(folder, QUESTION) as stdin,
        met(tool, Use(role), before=before, stdin=stdin, env=UNMEASURED) as (process, conn),
    ):
        with sending(conn, ANSWER):
            arrived = received(conn)
        conn.close()
        printed = process.read_all()
        sent = b"" if 0 in closed else QUESTION
        # Without a stderr there is no line about what is missing: the status reports it.
        outcome = outcome_of(process, flow(sent, arrived), flow(ANSWER, printed))
        return outcome._replace(err="(stderr is closed)") if 2 in closed else outcome


def _closed(role: str, fds: tuple[int, ...]) -> Case:
    which = ", ".join(("stdin", "stdout", "stderr")[fd] for fd in fds)
    name = f"{which} closed at the start" if fds else "none closed"
    return Case(
        f"Descriptors of a {role}", name, closed, {"role": role, "closed": fds}, REPORTED if 1 in fds else WHOLE
    )


# -- stdin


def from_a_directory(tool: Netcat, folder: Path) -> Outcome:
    """Which cannot be read."""
    with listening() as server:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            process = tool.start(Use(port=server.getsockname()[1]), stdin=descriptor)
        finally:
            os.close(descriptor)
        with process, server:
            return outcome_of(process)


def from_a_growing_file(tool: Netcat, folder: Path, role: str) -> Outcome:
    """A writer appends while the file is sent: at least what was there at the start arrives, and in order."""
    data = payload(SIZE)
    first = data[: SIZE // 2]
    with file_of(folder, first) as stdin, met(tool, Use(role), stdin=stdin) as (process, conn):
        arrived = received(conn, SIZE // 4)
        with (folder / "stdin").open("ab") as writer:
            writer.write(data[SIZE // 2 :])
        arrived += received(conn)
        conn.close()
        return outcome_of(process, flow(first, arrived[: len(first)]), flow(data, arrived + data[len(arrived) :]))


def from_a_terminal(tool: Netcat, folder: Path, role: str) -> Outcome:
    """A user types two lines and Ctrl-D. The terminal is as it was."""
    with terminal() as (keyboard, screen):
        modes, flags = termios.tcgetattr(screen), fcntl.fcntl(screen, fcntl.F_GETFL)
        with met(tool, Use(role), stdin=screen) as (process, conn):
            keyboard.write(QUESTION)
            arrived = received(conn, len(QUESTION))
            keyboard.write(QUESTION + b"\x04")
            arrived += received(conn)
            conn.sendall(ANSWER)
            conn.close()
            printed = process.read_all()
            outcome = outcome_of(process, flow(QUESTION * 2, arrived), flow(ANSWER, printed))
        same = termios.tcgetattr(screen) == modes and fcntl.fcntl(screen, fcntl.F_GETFL) == flags
        return outcome if same else outcome._replace(left=("the modes of the terminal",))


def from_nothing(tool: Netcat, folder: Path, role: str) -> Outcome:
    """Stdin is /dev/null, and the peer answers late."""
    with met(tool, Use(role), stdin=DEVNULL) as (process, conn), sending(conn, payload(SIZE)):
        printed = process.read_all()
        return outcome_of(process, flow(payload(SIZE), printed))


def from_a_pipe_in_pieces(tool: Netcat, folder: Path, role: str) -> Outcome:
    """A producer that is much slower than the connection."""
    with met(tool, Use(role), stdin=PIPE) as (process, conn):
        arrived = b""
        for _ in range(20):
            process.send(QUESTION)
            arrived += received(conn, len(QUESTION))
        process.close_stdin()
        arrived += received(conn)
        conn.close()
        return outcome_of(process, flow(QUESTION * 20, arrived))


# -- stderr


def with_a_stderr_that_fails(tool: Netcat, folder: Path, kind: str) -> Outcome:
    """A connection breaks, of which a line must be written to a stderr that takes none."""
    with contextlib.ExitStack() as stack:
        if kind == "/dev/full":
            stderr = stack.enter_context(open("/dev/full", "wb", 0))
        else:
            reading, writing = os.pipe()
            reader = stack.enter_context(os.fdopen(reading, "rb"))
            stderr = stack.enter_context(os.fdopen(writing, "wb", 0))
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, bytes(1 << 12))
            os.set_blocking(writing, True)
            if kind == "a pipe without a reader":
                reader.close()
        data = payload(SIZE)
        stdin = stack.enter_context(file_of(folder, data))
        process, conn = stack.enter_context(met(tool, Use(), stdin=stdin, stderr=stderr))
        arrived = received(conn, SIZE // 4)
        conn.close()
        return outcome_of(process, flow(data, arrived))._replace(err="(stderr takes nothing)")


ROLES = ("client", "listener")

STDOUTS: list[tuple[str, Callable[..., Outcome], dict[str, object], Law]] = [
    ("/dev/full", into_a_full_file, {"kind": "/dev/full"}, REPORTED),
    ("a full file system", into_a_full_file, {"kind": "tmpfs"}, REPORTED),
    ("a slow reader", into_a_pipe, {}, WHOLE),
    ("a slow reader of a non-blocking pipe", into_a_pipe, {"blocking": False}, WHOLE),
    ("a pipe that is shared", into_a_shared_pipe, {}, WHOLE),
    ("a reader that leaves", into_a_pipe, {"closed_after": 100_000}, REPORTED),
]

CASES = [
    *(
        Case(f"Stdout of a {role}", name, scene, {"role": role, **facts}, law)
        for role in ROLES
        for name, scene, facts, law in STDOUTS
    ),
    *(_closed(role, fds) for role in ROLES for size in range(4) for fds in itertools.combinations(range(3), size)),
    Case("Stdin of a client", "a directory", from_a_directory, {}, FAILS),
    *(
        Case(f"Stdin of a {role}", name, scene, {"role": role})
        for role in ROLES
        for name, scene in [
            ("a growing file", from_a_growing_file),
            ("a terminal", from_a_terminal),
            ("/dev/null", from_nothing),
            ("a slow pipe", from_a_pipe_in_pieces),
        ]
    ),
    *(
        Case("Stderr of a client", kind, with_a_stderr_that_fails, {"kind": kind}, Law((1,), "reported"))
        for kind in ("/dev/full", "a full pipe", "a pipe without a reader")
    ),
]
