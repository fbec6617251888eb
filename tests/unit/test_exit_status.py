"""Waiting for the end of a child process: it costs no descriptor."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from conformance import descriptors, join
from doubles import pipe, together

from pync.endpoints.children import exit_status
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from conformance import Bench


def spawn(script: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], {})


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
async def test_the_end_of_a_child_is_waited_for_and_its_status_returned(
    real_loop: Bench, script: str, status: int
) -> None:
    before = descriptors()
    pid = spawn(script)
    assert await exit_status(real_loop, pid) == status
    assert os.waitpid(pid, os.WNOHANG)[0] == pid, "it was left to be reaped"
    assert descriptors() == before


async def test_children_that_end_together_are_all_noticed(real_loop: Bench) -> None:
    children = [spawn(f"exit {status}") for status in range(8)]
    assert await together(real_loop, *(exit_status(real_loop, child) for child in children)) == list(range(8))


async def test_a_child_that_goes_on_is_waited_for(real_loop: Bench) -> None:
    with pipe() as (reading, writing):
        os.set_blocking(reading, True)
        os.set_inheritable(reading, True)
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        child = os.posix_spawn("/bin/sh", ["sh", "-c", "read line; exit $line"], {}, file_actions=actions)
        waiting = real_loop.spawn(exit_status(real_loop, child), Condition())
        await real_loop.sleep(0)
        assert not waiting.done
        os.write(writing, b"7\n")
        assert await join(real_loop, waiting) == 7


async def test_a_cancelled_wait_for_a_child_keeps_no_descriptor_and_can_be_repeated(real_loop: Bench) -> None:
    before = descriptors()
    child = spawn("kill -STOP $$")
    waiting = real_loop.spawn(exit_status(real_loop, child), Condition())
    await real_loop.sleep(0)
    await real_loop.cancel_and_wait(waiting)
    os.kill(child, signal.SIGKILL)
    assert await exit_status(real_loop, child) == -signal.SIGKILL
    assert descriptors() == before
