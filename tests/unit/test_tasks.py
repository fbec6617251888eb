"""Tasks: being cancelled, waiting for several of them, and what the failure of one does to the others."""

from __future__ import annotations

import gc
import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from conformance import descriptors
from coroutines import after, fail, forever, value
from doubles import Clock, pipe, play, together
from hypothesis import given
from hypothesis import strategies as st

from pync.loop.kernel import Loop
from pync.loop.tasks import Cancelled, Condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.loop.tasks import Work


# Cancelling


async def test_a_cancelled_task_gets_it_where_it_waits_and_cleans_up(loop: Loop) -> None:
    steps: list[str] = []

    async def work(loop: Loop) -> None:
        try:
            steps.append("began")
            await forever(loop)
            steps.append("never")
        except Cancelled:
            steps.append("cancelled")
            raise
        finally:
            await loop.sleep(5)
            steps.append("cleaned up")

    task = loop.spawn(work(loop), Condition())
    await loop.sleep(1)
    await loop.cancel_and_wait(task)
    assert task.done
    with pytest.raises(Cancelled):
        task.result()
    steps.append("dismissed")
    assert steps == ["began", "cancelled", "cleaned up", "dismissed"]


async def test_a_task_cancelled_while_it_is_queued_does_not_go_on(loop: Loop) -> None:
    steps: list[object] = []

    async def work(loop: Loop, signal: Condition) -> None:
        try:
            steps.append(await loop.wait(signal))
        finally:
            steps.append("cleaned up")

    signal = Condition()
    task = loop.spawn(work(loop, signal), Condition())
    await loop.sleep(0)
    signal.notify()  # from here on it is queued to go on
    await loop.cancel_and_wait(task)
    assert steps == ["cleaned up"]


@pytest.mark.filterwarnings("error")
def test_a_task_cancelled_before_its_first_step_never_begins() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("began")

    async def main(loop: Loop) -> None:
        task = loop.spawn(work(), Condition())
        await loop.cancel_and_wait(task)
        assert task.done

    play(main)
    gc.collect()
    assert steps == []


async def test_a_task_that_is_done_cannot_be_cancelled(loop: Loop) -> None:
    task = loop.spawn(value(7), Condition())
    await loop.sleep(0)
    task.cancel()
    await loop.cancel_and_wait(task)
    assert task.result() == 7


async def test_a_task_is_cancelled_with_the_exception_it_is_given(loop: Loop) -> None:
    task = loop.spawn(forever(loop), Condition())
    await loop.sleep(0)
    task.cancel(KeyError("mine"))
    while not task.done:
        await loop.wait(task.ended)
    with pytest.raises(KeyError, match="mine"):
        task.result()


async def test_a_task_that_cancels_itself_is_stopped_at_its_next_wait(loop: Loop, clock: Clock) -> None:
    steps: list[str] = []

    async def work() -> None:
        task.cancel()
        steps.append("still here")
        await loop.sleep(1000)
        steps.append("never")

    task = loop.spawn(work(), Condition())
    while not task.done:
        await loop.wait(task.ended)
    assert steps == ["still here"]
    assert clock.now == 1000


def test_being_cancelled_is_not_an_exception_that_something_swallows_by_accident() -> None:
    assert not issubclass(Cancelled, Exception)


async def test_a_cancelled_wait_for_a_descriptor_leaves_its_place_free(loop: Loop) -> None:
    with pipe() as (reading, writing):
        task = loop.spawn(loop.readable(reading), Condition())
        await loop.sleep(0)
        await loop.cancel_and_wait(task)
        os.write(writing, b"x")
        assert await loop.readable(reading) is True


# together, first, within


async def test_together_returns_all_results_in_order_whoever_ends_first(loop: Loop, clock: Clock) -> None:
    assert await together(loop, after(loop, 3, 1), after(loop, 1, 2), value(3)) == [1, 2, 3]
    assert clock.now == 1003


async def test_together_of_nothing_is_nothing(loop: Loop) -> None:
    assert (
        await together(
            loop,
        )
        == []
    )


async def test_the_first_failure_cancels_the_rest_and_is_raised_when_they_have_cleaned_up(
    loop: Loop, clock: Clock
) -> None:
    cleaned: list[float] = []

    async def slow(loop: Loop) -> None:
        try:
            await forever(loop)
        finally:
            await loop.sleep(10)
            cleaned.append(loop.clock())

    with pytest.raises(KeyError, match="first"):
        await together(loop, slow(loop), after(loop, 1, error=KeyError("first")), slow(loop), value(1))
    assert cleaned == [1011, 1011]
    assert clock.now == 1011


async def test_of_two_failures_at_the_same_moment_one_is_raised(loop: Loop) -> None:
    with pytest.raises(KeyError):
        await together(loop, fail(KeyError(1)), fail(KeyError(2)))


@pytest.mark.parametrize("way", ["together", "first", "within"])
async def test_a_task_that_is_cancelled_while_it_waits_for_others_cancels_them_and_waits_for_them(
    loop: Loop, way: str
) -> None:
    cleaned: list[int] = []

    async def slow(loop: Loop, number: int) -> None:
        try:
            await forever(loop)
        finally:
            await loop.sleep(10)
            cleaned.append(number)

    works: dict[str, Callable[[], Work[object]]] = {
        "together": lambda: together(loop, slow(loop, 1), slow(loop, 2)),
        "first": lambda: loop.first(slow(loop, 1), slow(loop, 2)),
        "within": lambda: together(loop, loop.within(100, slow(loop, 1)), loop.within(None, slow(loop, 2))),
    }
    task = loop.spawn(works[way](), Condition())
    await loop.sleep(1)
    await loop.cancel_and_wait(task)
    assert sorted(cleaned) == [1, 2]


async def test_first_is_whichever_ends_first_and_the_others_are_cancelled_and_waited_for(
    loop: Loop, clock: Clock
) -> None:
    cleaned: list[float] = []

    async def slow(loop: Loop) -> None:
        try:
            await loop.sleep(100)
        finally:
            await loop.sleep(10)
            cleaned.append(loop.clock())

    assert await loop.first(slow(loop), after(loop, 1, 5), slow(loop)) == 5
    assert cleaned == [1011, 1011]


async def test_first_raises_the_failure_that_comes_first(loop: Loop) -> None:
    with pytest.raises(KeyError):
        await loop.first(after(loop, 2, 5), after(loop, 1, error=KeyError()))


async def test_within_is_the_result_of_what_ends_in_time(loop: Loop) -> None:
    assert await loop.within(2, after(loop, 1, 5)) == 5
    assert await loop.within(None, after(loop, 1000, 6)) == 6


async def test_within_raises_timeout_error_when_the_time_has_passed(loop: Loop, clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        await loop.within(2, after(loop, 3, 5))
    assert clock.now == 1002


async def test_what_ends_at_the_last_moment_is_in_time(loop: Loop) -> None:
    assert await loop.within(2, after(loop, 2, 5)) == 5


async def test_cancel_and_wait_waits_for_a_clean_up_even_if_that_fails(loop: Loop) -> None:
    async def stubborn(loop: Loop) -> None:
        try:
            await forever(loop)
        finally:
            await loop.sleep(1)
            raise KeyError("in the clean-up")

    task = loop.spawn(stubborn(loop), Condition())
    await loop.sleep(0)
    await loop.cancel_and_wait(task)
    assert isinstance(task.error, KeyError)


async def test_tasks_that_keep_each_other_awake_do_not_keep_the_others_waiting(loop: Loop) -> None:
    async def echo(loop: Loop, this: Condition, that: Condition) -> None:
        while True:
            await loop.wait(this)
            that.notify()

    ping, pong = Condition(), Condition()
    loop.spawn(echo(loop, ping, pong))
    loop.spawn(echo(loop, pong, ping))
    await loop.sleep(0)
    ping.notify()
    with pipe() as (reading, writing):
        os.write(writing, b"x")
        assert await loop.readable(reading) is True


# 6. The failure of a task that no other task waits for fails the whole run.


def test_a_failing_task_that_is_not_waited_for_fails_the_run_and_all_clean_up() -> None:
    cleaned: list[str] = []

    async def session(loop: Loop, name: str) -> None:
        try:
            await forever(loop)
        finally:
            await loop.sleep(2)
            cleaned.append(name)

    async def main(loop: Loop) -> None:
        try:
            loop.spawn(session(loop, "not owned"))
            loop.spawn(session(loop, "owned by main"), Condition())
            loop.spawn(after(loop, 1, error=KeyError("background")))
            await forever(loop)
        finally:
            cleaned.append("main")

    with pytest.raises(KeyError, match="background"):
        play(main)
    assert sorted(cleaned) == ["main", "not owned", "owned by main"]


def test_all_clean_up_even_when_the_clean_up_of_some_fails() -> None:
    cleaned: list[int] = []

    async def session(loop: Loop, number: int) -> None:
        try:
            await forever(loop)
        finally:
            cleaned.append(number)
            await loop.sleep(number)
            raise KeyError(number)

    async def main(loop: Loop) -> None:
        for number in range(5):
            loop.spawn(session(loop, number))
        await loop.sleep(1)

    before = descriptors()
    with pytest.raises(KeyError, match="0"):
        play(main)
    assert cleaned == [0, 1, 2, 3, 4]
    assert descriptors() == before


def test_the_first_failure_is_the_one_that_is_raised() -> None:
    async def session(loop: Loop) -> None:
        try:
            await forever(loop)
        finally:
            raise KeyError("because of it")

    async def main(loop: Loop) -> None:
        loop.spawn(session(loop))
        await loop.sleep(1)
        raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        play(main)


async def test_a_failure_that_is_waited_for_does_not_fail_the_run(loop: Loop) -> None:
    task = loop.spawn(fail(KeyError()), Condition())
    await loop.sleep(1)
    assert isinstance(task.error, KeyError)


async def test_a_task_that_was_cancelled_does_not_fail_the_run(loop: Loop) -> None:
    task = loop.spawn(forever(loop))
    await loop.sleep(0)
    await loop.cancel_and_wait(task)
    await loop.sleep(1)  # a failure would end the run of this test
    assert isinstance(task.error, Cancelled)


def test_at_the_end_no_task_is_left() -> None:
    cleaned: list[int] = []

    async def work(loop: Loop, number: int) -> None:
        try:
            await forever(loop)
        finally:
            await loop.sleep(number)
            cleaned.append(number)

    async def main(loop: Loop) -> int:
        for number in (3, 1, 2):
            loop.spawn(work(loop, number))
        await loop.sleep(0)
        return 9

    assert play(main) == 9
    assert cleaned == [1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 5)), max_size=8))
def test_whenever_tasks_are_cancelled_each_that_began_cleans_up_once(
    plan: list[tuple[int, int, int]],
) -> None:
    """The plan of each task: seconds that it sleeps, seconds that it cleans up, and when it is cancelled, twice."""
    began: list[int] = []
    cleaned: list[int] = []

    async def work(loop: Loop, number: int, seconds: int, clean_up: int) -> None:
        began.append(number)
        try:
            await loop.sleep(seconds)
        finally:
            with suppress(Cancelled):
                await loop.sleep(clean_up)
            cleaned.append(number)

    async def main(loop: Loop) -> None:
        tasks = [loop.spawn(work(loop, number, *item[:2]), Condition()) for number, item in enumerate(plan)]
        for moment in range(6):
            for task, (_, _, cancelled) in zip(tasks, plan, strict=True):
                if moment in (cancelled, cancelled + 1):
                    task.cancel()
            await loop.sleep(1)

    play(main)
    assert sorted(began) == sorted(cleaned) == [number for number in range(len(plan)) if number in began]


class Held:
    """What a task has."""


@pytest.mark.parametrize("kind", [LookupError, Cancelled])
def test_a_task_that_has_failed_is_in_no_cycle_which_only_the_collector_would_end(kind: type[BaseException]) -> None:
    async def fail_holding(loop: Loop) -> None:
        held = Held()
        refs.append(weakref.ref(held))
        await loop.sleep(0)
        raise kind("odd")

    async def main(loop: Loop) -> None:
        with suppress(kind):
            await loop.first(fail_holding(loop), loop.sleep(1))

    refs: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        play(main)
        assert refs[0]() is None
    finally:
        gc.enable()
