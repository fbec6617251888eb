"""Threads for what cannot be interrupted: few at a time, each piece of work at its turn, none for a task that left."""

from __future__ import annotations

import _thread
import errno
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from conformance import join, turns
from doubles import play, together
from harness import DEADLINE

from pync.loop.tasks import Condition
from pync.loop.threads import MOST, Threads, in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance import Bench

    from pync.loop.kernel import Loop


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = _thread._count()
    yield
    is_true(lambda: _thread._count() <= before, "no thread is left")


class Stuck:
    """Work that ends when the test allows it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = 0

    def __call__(self) -> str:
        self.begun += 1
        assert self.go.wait(DEADLINE)
        return "done"


async def test_each_task_gets_the_result_of_its_own_work(real_loop: Bench) -> None:
    numbers = range(5 * MOST)
    results = await together(real_loop, *(in_thread(real_loop, partial(pow, number, 2)) for number in numbers))
    assert results == [number**2 for number in numbers]


async def test_a_failure_is_raised_in_the_task_that_asked(real_loop: Bench) -> None:
    def fail() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        await in_thread(real_loop, fail)
    assert await in_thread(real_loop, lambda: 3) == 3


async def test_a_thousand_pieces_of_work_take_a_few_threads(real_loop: Bench) -> None:
    stuck, before = Stuck(), _thread._count()
    tasks = [real_loop.spawn(in_thread(real_loop, stuck), Condition()) for _ in range(1000)]
    await turns(real_loop, 3)
    is_true(lambda: stuck.begun == MOST, "as many have begun as there are threads")
    assert _thread._count() == before + MOST
    stuck.go.set()
    assert [await join(real_loop, task) for task in tasks] == ["done"] * 1000


async def test_work_whose_task_has_gone_is_never_begun(real_loop: Bench) -> None:
    stuck = Stuck()
    tasks = [real_loop.spawn(in_thread(real_loop, stuck), Condition()) for _ in range(MOST)]
    left = [real_loop.spawn(in_thread(real_loop, stuck), Condition()) for _ in range(100)]
    await turns(real_loop, 3)
    await real_loop.cancel_and_wait(*left)
    stuck.go.set()
    for task in tasks:
        await join(real_loop, task)
    assert stuck.begun == MOST


async def test_without_a_thread_the_task_fails_and_a_later_one_succeeds(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        with pytest.raises(OSError, match="temporarily unavailable") as failed:
            await in_thread(real_loop, lambda: 1)
        assert failed.value.errno == errno.EAGAIN
    assert await in_thread(real_loop, lambda: 1) == 1


async def test_while_no_more_threads_can_be_started_those_that_run_do_the_work(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    stuck = Stuck()
    first = real_loop.spawn(in_thread(real_loop, stuck), Condition())
    await turns(real_loop, 3)
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    second = real_loop.spawn(in_thread(real_loop, lambda: 2), Condition())
    await turns(real_loop, 3)
    stuck.go.set()
    assert await join(real_loop, second) == 2
    assert await join(real_loop, first) == "done"


def test_a_thread_that_outlives_its_loop_writes_to_no_descriptor() -> None:
    stuck = Stuck()

    async def leave(loop: Loop) -> Threads:
        loop.spawn(in_thread(loop, stuck), Condition())
        await turns(loop, 3)
        return loop.shared(Threads)

    threads = play(leave)
    assert threads._pipe == ()
    stuck.go.set()
