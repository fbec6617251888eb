"""The group of a program: which other processes are found in it, and when they have let go of a socket."""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from conformance import Bench, descriptors, join, turns, unix_pair

from pync.endpoints import process_group
from pync.endpoints.process_group import is_inhabited, released
from pync.loop.tasks import Condition
from pync.system import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# The first process of the group ends. The other one has what is its stdin, and its stdout ends as this one does.
LEAVES = "exec 3<&0; { exec 0<&3 3<&- >/dev/null; echo $BASHPID >&2; exec sleep 60; } & exec 3<&- 0</dev/null; exit 0"


OLD = 3600.0  # seconds since a program was started


class Group:
    """A program that has ended and is not reaped, and a process of its group that goes on."""

    def __init__(self, stdin: int, script: str) -> None:
        reading, writing = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, writing, 2)]
        self.program = os.posix_spawn(
            "/bin/bash", ["bash", "-c", script], os.environ, file_actions=actions, setpgroup=0
        )
        os.close(writing)
        os.waitid(os.P_PID, self.program, os.WEXITED | os.WNOWAIT)
        with os.fdopen(reading) as lines:
            line = lines.readline()
        self.other = int(line) if line else 0

    def close(self) -> None:
        """End all of it."""
        os.killpg(self.program, signal.SIGKILL)
        os.waitpid(self.program, 0)


@contextmanager
def group(stdin: int = 0, script: str = LEAVES) -> Iterator[Group]:
    made = Group(stdin, script)
    try:
        yield made
    finally:
        made.close()


def refuse(code: int) -> Any:
    def call(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


def test_a_program_that_has_ended_does_not_inhabit_its_group() -> None:
    with group(script="exit 3") as alone:
        assert not is_inhabited(alone.program)


def test_a_process_that_a_program_has_left_inhabits_its_group_until_it_ends() -> None:
    with group() as left:
        assert is_inhabited(left.program)
        os.kill(left.other, signal.SIGKILL)
        is_true(lambda: not is_inhabited(left.program), "it has ended")


def test_a_process_that_has_ended_and_that_no_parent_reaps_does_not_inhabit_the_group() -> None:
    with group() as left:
        zombie = os.posix_spawn("/bin/true", ["true"], {}, setpgroup=left.program)
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
        os.kill(left.other, signal.SIGKILL)
        is_true(lambda: not is_inhabited(left.program), "the other one has ended")
        os.waitpid(zombie, 0)


@pytest.mark.parametrize(("code", "inhabited"), [(errno.EMFILE, True), (errno.ENOENT, False)])
def test_without_a_descriptor_a_group_may_be_inhabited_and_without_proc_it_is_not(
    code: int, inhabited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", refuse(code))
    assert is_inhabited(os.getpid()) is inhabited


async def test_a_socket_is_released_when_its_last_holder_in_the_group_has_ended(real_loop: Bench) -> None:
    near, far = unix_pair()
    before = descriptors()
    with group(near.fileno()) as left:
        waiting = real_loop.spawn(released(real_loop, left.program, near.fileno(), OLD), Condition())
        await turns(real_loop, 5)
        assert not waiting.done
        begun = real_loop.clock()
        os.kill(left.other, signal.SIGKILL)
        await join(real_loop, waiting)
        assert real_loop.clock() - begun < process_group.LONGEST_LOOK
    assert descriptors() == before
    near.close()
    far.close()


async def test_a_socket_is_released_when_its_holder_closes_it_and_lives_on(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "LONGEST_LOOK", 0.1)
    near, far = unix_pair()
    holds_until_it_reads = (
        "exec 3<&0; { exec 0<&3 3<&-; echo $BASHPID >&2; read; exec </dev/null 2>&-; exec sleep 60; } &"
        "exec 3<&- 0</dev/null; exit"
    )
    with group(near.fileno(), holds_until_it_reads) as left:
        waiting = real_loop.spawn(released(real_loop, left.program, near.fileno(), OLD), Condition())
        await turns(real_loop, 5)
        assert not waiting.done
        far.send(b"\n")
        await join(real_loop, waiting)
        assert is_inhabited(left.program)
    near.close()
    far.close()


async def test_a_process_without_the_socket_keeps_no_session(real_loop: Bench) -> None:
    near, far = unix_pair()
    with group() as left:
        await released(real_loop, left.program, near.fileno(), OLD)
        assert is_inhabited(left.program)
    near.close()
    far.close()


async def test_what_a_young_program_has_left_is_found_among_the_latest_numbers(real_loop: Bench) -> None:
    near, far = unix_pair()
    with group(near.fileno()) as left:
        waiting = real_loop.spawn(released(real_loop, left.program, near.fileno(), 0.0), Condition())
        await turns(real_loop, 5)
        assert not waiting.done
        os.kill(left.other, signal.SIGKILL)
        await join(real_loop, waiting)
    near.close()
    far.close()


async def test_for_a_young_program_that_has_left_nothing_proc_is_not_listed(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = unix_pair()
    with group(script="exit") as alone, monkeypatch.context() as patch:
        patch.setattr(process_group, "FEW", 1 << 22)  # the other tests start processes, too
        patch.setattr(os, "listdir", lambda *_: pytest.fail("it was listed"))
        await released(real_loop, alone.program, near.fileno(), 0.0)
    near.close()
    far.close()


@pytest.mark.parametrize("call", ["listdir", "pidfd_open"])
async def test_a_shortage_of_descriptors_is_waited_for(
    real_loop: Bench, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = unix_pair()
    with group(near.fileno()) as left:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse(errno.EMFILE))
            waiting = real_loop.spawn(released(real_loop, left.program, near.fileno(), OLD), Condition())
            await real_loop.sleep(2 * process_group.SHORTEST_LOOK)
            assert not waiting.done
        os.kill(left.other, signal.SIGKILL)
        await join(real_loop, waiting)
    near.close()
    far.close()


async def test_a_lasting_shortage_of_descriptors_does_not_keep_a_session_that_has_some(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "SHORTAGE_LIMIT", 0.1)
    near, far = unix_pair()
    with group(near.fileno()) as left, monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse(errno.EMFILE))
        await released(real_loop, left.program, near.fileno(), OLD)
    near.close()
    far.close()


async def test_a_process_that_cannot_be_looked_into_does_not_count(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.listdir
    near, far = unix_pair()
    with group(near.fileno()) as left:

        def listdir(path: str) -> list[str]:
            if path == f"/proc/{left.other}/fd":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return really(path)

        monkeypatch.setattr(os, "listdir", listdir)
        await released(real_loop, left.program, near.fileno(), OLD)
    near.close()
    far.close()


def test_a_socket_has_the_name_that_its_holders_show() -> None:
    one, other = socket.socketpair()
    with one, other:
        name = f"socket:[{os.fstat(one.fileno()).st_ino}]"
        assert processes.has(os.getpid(), name)
    assert not processes.has(os.getpid(), name)
