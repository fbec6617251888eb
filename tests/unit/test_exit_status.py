"""Waiting for the end of a child process: with a pidfd, on a system without, and where no descriptor is left."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from conformance import descriptors
from doubles import pipe

from pync.endpoints.child import exit_status
from pync.loop.kernel import Loop
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Callable


def spawn(script: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], {})


def without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")


def without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)


def with_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(os, "pidfd_open"), "this path cannot be tested here"


every_path = pytest.mark.parametrize("path", [with_pidfd, without_pidfd, without_descriptors])


@every_path
@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -9 $$", -signal.SIGKILL),
        ("kill -TERM $$", -signal.SIGTERM),
    ],
)
def test_the_end_of_a_child_is_waited_for_and_its_status_returned(
    monkeypatch: pytest.MonkeyPatch, path: Callable[[pytest.MonkeyPatch], None], script: str, status: int
) -> None:
    path(monkeypatch)
    before = descriptors()
    loop = Loop()
    pid = spawn(script)
    assert loop.run(exit_status(loop, pid)) == status
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert descriptors() == before


@every_path
def test_children_that_end_together_are_all_reaped(
    monkeypatch: pytest.MonkeyPatch, path: Callable[[pytest.MonkeyPatch], None]
) -> None:
    path(monkeypatch)
    loop = Loop()
    children = [spawn(f"exit {status}") for status in range(8)]
    assert loop.run(loop.together(*(exit_status(loop, child) for child in children))) == list(range(8))


@every_path
def test_a_child_that_goes_on_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, path: Callable[[pytest.MonkeyPatch], None]
) -> None:
    path(monkeypatch)
    with pipe() as (reading, writing):
        os.set_blocking(reading, True)
        os.set_inheritable(reading, True)
        loop = Loop()
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        child = os.posix_spawn("/bin/sh", ["sh", "-c", "read line; exit $line"], {}, file_actions=actions)

        async def main() -> list[int]:
            return await loop.together(exit_status(loop, child), speak())

        async def speak() -> int:
            await loop.sleep(0)
            return os.write(writing, b"7\n")

        assert loop.run(main()) == [7, 2]


@every_path
def test_a_cancelled_wait_for_a_child_keeps_no_descriptor_and_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch, path: Callable[[pytest.MonkeyPatch], None]
) -> None:
    path(monkeypatch)
    before = descriptors()
    loop = Loop()
    child = spawn("kill -STOP $$")

    async def main() -> int:
        waiting = loop.spawn(exit_status(loop, child), Condition())
        await loop.sleep(0)
        await loop.cancel_and_wait(waiting)
        os.kill(child, signal.SIGKILL)
        return await exit_status(loop, child)

    assert loop.run(main()) == -signal.SIGKILL
    assert descriptors() == before
