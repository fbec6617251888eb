"""The kernel keeps every sentence of its theory, numbered as in pync/loop/kernel.py; the sixth is in test_tasks.py."""

from __future__ import annotations

import os
import socket
import tempfile
from collections import Counter
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING

import pytest
from conformance import descriptors
from coroutines import fail, forever, value
from doubles import Clock, Stuck, pipe, play, together

from pync.loop.kernel import Loop
from pync.loop.tasks import Cancelled, Condition, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from doubles import Clock

    from pync.loop.tasks import Work


def fill(sock: socket.socket) -> None:
    """Send until the socket takes no more."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


# 1. A task runs until it waits.


def test_run_returns_what_the_main_task_returns() -> None:
    assert Loop().run(value(42)) == 42


def test_run_raises_what_the_main_task_raises() -> None:
    with pytest.raises(ValueError, match="^mine$"):
        Loop().run(fail(ValueError("mine")))


async def test_a_task_runs_until_it_waits_and_the_others_in_the_order_they_were_spawned(loop: Loop) -> None:
    steps: list[str] = []

    async def work(loop: Loop, name: str) -> None:
        steps.append(name + "1")
        steps.append(name + "2")
        await loop.sleep(0)
        steps.append(name + "3")

    await together(loop, work(loop, "a"), work(loop, "b"))
    assert steps == ["a1", "a2", "b1", "b2", "a3", "b3"]


def test_only_a_task_can_wait() -> None:
    loop = Loop()
    waiting = loop.sleep(1)
    with pytest.raises(AssertionError, match="only a task can wait"):
        waiting.send(None)
    loop.run(value(0))


# 2. A task waits for a descriptor, a condition, a moment, or whichever comes first.


async def test_a_readable_descriptor_wakes_its_reader_and_a_writable_one_its_writer(loop: Loop) -> None:
    with pipe() as (reading, writing):
        assert await loop.writable(writing)
        os.write(writing, b"x")
        assert [await loop.readable(reading), await loop.readable(reading, loop.clock() + 1)] == [True, True]


async def test_a_moment_that_comes_before_the_descriptor_answers_false(loop: Loop, clock: Clock) -> None:
    with pipe() as (reading, _):
        assert await loop.readable(reading, loop.clock() + 2.5) is False
    assert clock.now == 1002.5


async def test_a_descriptor_that_is_ready_when_the_moment_comes_is_ready(loop: Loop) -> None:
    with pipe() as (reading, writing):
        os.write(writing, b"x")
        assert await loop.readable(reading, loop.clock() - 1) is True


async def test_a_peer_that_hung_up_makes_its_descriptor_readable(loop: Loop) -> None:
    with pipe() as (reading, writing):
        os.close(writing)
        assert await loop.readable(reading) is True


async def test_a_reader_that_hung_up_makes_the_descriptor_writable(loop: Loop) -> None:
    with pipe() as (reading, writing):
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(65536))
        os.close(reading)
        assert await loop.writable(writing) is True


async def test_reader_and_writer_of_one_descriptor_are_woken_separately(loop: Loop) -> None:
    woken: list[str] = []

    async def read(loop: Loop, sock: socket.socket) -> None:
        await loop.readable(sock.fileno())
        woken.append("read")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = loop.spawn(read(loop, ours), Condition())
        assert await loop.writable(ours.fileno())
        woken.append("write")
        assert not reader.done
        theirs.send(b"x")
        await loop.wait(reader.ended)
    assert woken == ["write", "read"]


async def test_a_sleep_lasts_as_long_as_it_was_asked_to(loop: Loop, clock: Clock) -> None:
    await loop.sleep(3.5)
    assert clock.now == 1003.5


async def test_sleepers_wake_in_the_order_of_their_moments(loop: Loop) -> None:
    order: list[float] = []

    async def sleeper(loop: Loop, seconds: float) -> None:
        await loop.sleep(seconds)
        order.append(seconds)

    await together(loop, *(sleeper(loop, seconds) for seconds in (3, 1, 2, 1, 0)))
    assert order == [0, 1, 1, 2, 3]


def test_real_time_passes_on_the_clock_of_the_system() -> None:
    loop = Loop()
    start = loop.clock()
    loop.run(loop.sleep(0.02))
    assert loop.clock() - start >= 0.02


async def test_a_wait_that_ended_leaves_no_alarm_behind(loop: Loop, clock: Clock) -> None:
    async def pulse(loop: Loop, condition: Condition) -> None:
        await loop.sleep(98)
        condition.notify()

    condition = Condition()
    loop.spawn(pulse(loop, condition))
    assert await loop.wait(condition, loop.clock() + 100) is True
    assert await loop.wait(condition, loop.clock() + 5) is False, "the alarm of the first wait does not ring here"
    assert clock.now == 1103


# 2. A task can leave a step with the kernel, to be repeated at each event.


def taker(fd: int, taken: list[bytes], enough: int) -> Callable[[], bool]:
    """A step that takes a byte, and answers False once it has enough."""

    def step() -> bool:
        taken.append(os.read(fd, 1))
        return len(taken) < enough

    return step


async def test_a_step_is_repeated_at_each_event_until_it_answers_false(loop: Loop) -> None:
    taken: list[bytes] = []
    with pipe() as (reading, writing):
        os.write(writing, b"abcde")
        assert await loop.readable(reading, repeat=taker(reading, taken, 3)) is True
        assert taken == [b"a", b"b", b"c"]
        assert os.read(reading, 9) == b"de"


async def test_a_step_is_repeated_for_as_long_as_something_can_be_written(loop: Loop) -> None:
    written = 0
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        def step() -> bool:
            nonlocal written
            with suppress(BlockingIOError):
                written += ours.send(bytes(4096))
            return True

        in_time = await loop.writable(ours.fileno(), loop.clock() + 5, step)
        taken = 0
        while taken < written:
            taken += len(theirs.recv(1 << 16))
    assert written > 4096 and not in_time


async def test_a_step_waits_for_its_event(loop: Loop, clock: Clock) -> None:
    with pipe() as (reading, writing):
        task = loop.spawn(loop.readable(reading, repeat=taker(reading, [], 2)), Condition())
        for _ in range(2):
            await loop.sleep(3)
            assert not task.done
            os.write(writing, b"x")
        await loop.wait(task.ended)
        assert loop.clock() == 1006


async def test_between_two_steps_the_others_have_their_turn(loop: Loop) -> None:
    steps: list[str] = []
    with pipe() as (reading, writing):
        os.write(writing, b"abc")

        def step() -> bool:
            steps.append("step")
            os.read(reading, 1)
            return len(steps) < 6

        task = loop.spawn(loop.readable(reading, repeat=step), Condition())
        for _ in range(4):
            await loop.sleep(0)
            steps.append("turn")
        await loop.cancel_and_wait(task)
    assert steps == ["turn", "step", "turn", "step", "turn", "step", "turn"]


async def test_what_a_step_raises_is_raised_at_the_wait(loop: Loop) -> None:
    calls: list[None] = []

    def step() -> bool:
        calls.append(None)
        raise ValueError("mine")

    with pipe() as (reading, writing):
        os.write(writing, b"x")
        with pytest.raises(ValueError, match="^mine$"):
            await loop.readable(reading, repeat=step)
        await loop.sleep(0)
        await loop.sleep(0)
        assert await loop.readable(reading) is True
    assert len(calls) == 1


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("writes_last", [False, True])
async def test_the_step_of_a_cancelled_task_is_never_called_again(loop: Loop, turns: int, writes_last: bool) -> None:
    taken: list[bytes] = []
    with pipe() as (reading, writing):
        task = loop.spawn(loop.readable(reading, repeat=taker(reading, taken, 99)), Condition())
        await loop.sleep(0)
        if not writes_last:
            os.write(writing, b"abcdef")
        for _ in range(turns):
            await loop.sleep(0)
        if writes_last:
            os.write(writing, b"abcdef")  # in the same turn
        task.cancel()
        before = len(taken)
        for _ in range(3):
            await loop.sleep(0)
        assert len(taken) == before == (0 if writes_last else turns)
        assert task.done and isinstance(task.error, Cancelled)


@pytest.mark.parametrize("enough", [1, 99])
async def test_of_an_event_and_the_moment_in_one_turn_the_event_comes_first_and_the_step_once(
    loop: Loop, enough: int
) -> None:
    taken: list[bytes] = []
    with pipe() as (reading, writing):
        os.write(writing, b"abcdef")
        in_time = await loop.readable(reading, loop.clock(), taker(reading, taken, enough))
        for _ in range(3):
            await loop.sleep(0)
        assert in_time == (enough == 1)
        assert taken == [b"a"]


async def test_a_step_can_have_another_task_cancelled_whose_event_is_there_too(loop: Loop) -> None:
    calls: list[str] = []
    with pipe() as (one, into_one), pipe() as (other, into_other):
        tasks: dict[str, Task] = {}

        def step(name: str, rival: str) -> bool:
            calls.append(name)
            tasks[rival].cancel()
            return True

        tasks["a"] = loop.spawn(loop.readable(one, repeat=lambda: step("a", "b")), Condition())
        tasks["b"] = loop.spawn(loop.readable(other, repeat=lambda: step("b", "a")), Condition())
        await loop.sleep(0)
        os.write(into_one, b"x")
        os.write(into_other, b"x")
        await loop.sleep(0)
        await loop.cancel_and_wait(*tasks.values())
    assert calls in (["a"], ["b"]), "the first has cancelled the other"


async def test_a_step_that_cancels_its_own_task_is_the_last(loop: Loop) -> None:
    calls: list[Task] = []
    with pipe() as (reading, writing):
        os.write(writing, b"x")

        def step() -> bool:
            calls.append(task)
            task.cancel()
            return True

        task = loop.spawn(loop.readable(reading, repeat=step), Condition())
        for _ in range(4):
            await loop.sleep(0)
        assert len(calls) == 1 and isinstance(task.error, Cancelled)


async def test_a_task_that_waits_for_something_else_does_not_repeat_its_last_step(loop: Loop) -> None:
    taken: list[bytes] = []
    with pipe() as (reading, writing):
        os.write(writing, b"abc")
        assert await loop.readable(reading, repeat=taker(reading, taken, 1)) is True
        assert await loop.readable(reading) is True
        assert await loop.writable(writing) is True
        assert taken == [b"a"]


@pytest.mark.parametrize("second", [None, lambda: False], ids=["wait", "repeat"])
async def test_a_second_task_is_an_error_also_where_the_first_repeats(
    loop: Loop, second: Callable[[], bool] | None
) -> None:
    taken: list[bytes] = []
    with pipe() as (reading, writing):
        first = loop.spawn(loop.readable(reading, repeat=taker(reading, taken, 1)), Condition())
        await loop.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks wait for the same event"):
            await loop.readable(reading, repeat=second)
        os.write(writing, b"x")
        await loop.wait(first.ended)
        assert taken == [b"x"] and first.result() is True


async def test_repeating_registers_once_and_the_interest_is_dropped_afterwards(loop: Loop, clock: Clock) -> None:
    taken: list[bytes] = []
    with pipe() as (reading, writing):
        os.write(writing, bytes(60))
        await loop.readable(reading, repeat=taker(reading, taken, 50))
        assert clock.asked(reading) == ["register"]
        await loop.sleep(0)  # in which the event comes that no task waits for
        polls = clock.polls
        await loop.sleep(1)
        assert clock.polls - polls <= 2, "it spins"
        assert clock.asked(reading) == ["register", "unregister"]


# 3. One task waits for one (descriptor, event) at a time.


@pytest.mark.parametrize("event", ["readable", "writable"])
async def test_a_second_task_at_the_same_event_of_a_descriptor_is_an_error(loop: Loop, event: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fill(ours)
        wait = getattr(loop, event)
        first = loop.spawn(wait(ours.fileno()), Condition())
        await loop.sleep(0)
        with pytest.raises(RuntimeError, match=f"two tasks wait for the same event of descriptor {ours.fileno()}"):
            await wait(ours.fileno())
        assert not first.done, "the first task is not disturbed"
        await loop.cancel_and_wait(first)
        assert await wait(ours.fileno(), loop.clock() + 1) is False, "and after it another task may wait"


# 4. Interest in a descriptor outlives the wait.


async def test_a_steady_flow_registers_its_descriptor_once(loop: Loop, clock: Clock) -> None:
    with pipe() as (reading, writing):
        for _ in range(100):
            os.write(writing, b"x")
            assert await loop.readable(reading)
            os.read(reading, 1)
        assert clock.asked(reading) == ["register"]


async def test_interest_in_a_second_event_modifies_the_first(loop: Loop, clock: Clock) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.spawn(loop.readable(ours.fileno()))
        await loop.sleep(0)
        assert await loop.writable(ours.fileno())
        fd = ours.fileno()
    assert [call for call in clock.calls if call[1] == fd] == [
        ("register", fd, EVENT_READ),
        ("modify", fd, EVENT_READ | EVENT_WRITE),
    ]


async def test_interest_in_two_events_costs_nothing_more(loop: Loop, clock: Clock) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fill(ours)
        for _ in range(10):
            assert not await loop.readable(ours.fileno(), loop.clock() + 1)
            assert not await loop.writable(ours.fileno(), loop.clock() + 1)
        assert clock.asked(ours.fileno()) == ["register", "modify"]


async def test_interest_is_dropped_when_an_event_comes_that_no_task_waits_for(loop: Loop, clock: Clock) -> None:
    with pipe() as (reading, writing):
        os.write(writing, b"x")
        assert await loop.readable(reading)  # the byte stays unread
        before = clock.polls
        await loop.sleep(1000)
        assert clock.polls - before <= 3, "the loop spins"
        assert clock.asked(reading) == ["register", "unregister"]


async def test_dropping_one_interest_keeps_the_other(loop: Loop, clock: Clock) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = ours.fileno()
        assert await loop.writable(fd)
        assert not await loop.readable(fd, loop.clock() + 1)
        before = clock.polls
        assert not await loop.readable(fd, loop.clock() + 1000)
        assert clock.polls - before <= 3, "the loop spins"
        theirs.send(b"x")
        assert await loop.readable(fd)
        ours.recv(1)
        assert await loop.writable(fd), "and it can be watched again"
    assert [call for call in clock.calls if call[1] == fd] == [
        ("register", fd, EVENT_WRITE),
        ("modify", fd, EVENT_READ | EVENT_WRITE),
        ("modify", fd, EVENT_READ),
        ("modify", fd, EVENT_READ | EVENT_WRITE),
    ]


async def test_the_number_of_a_forgotten_descriptor_can_be_another_ones(loop: Loop, clock: Clock) -> None:
    with pipe() as (reading, writing):
        os.write(writing, b"x")
        assert await loop.readable(reading)
        loop.forget(reading)
        with pipe() as (other, other_writing):
            os.dup2(other, reading)  # the number now is the end of another, empty pipe
            assert not await loop.readable(reading, loop.clock() + 1)
            os.write(other_writing, b"y")
            assert await loop.readable(reading)
            assert os.read(reading, 1) == b"y"
        assert clock.asked(reading) == ["register", "unregister", "register"]


async def test_forgetting_a_descriptor_that_is_not_watched_changes_nothing(loop: Loop, clock: Clock) -> None:
    with pipe() as (reading, _):
        loop.forget(reading)
        assert not await loop.readable(reading, loop.clock() + 1)
        loop.forget(reading)
        loop.forget(reading)
        assert clock.asked(reading) == ["register", "unregister"]


async def test_a_waiter_whose_descriptor_was_forgotten_can_be_cancelled(loop: Loop) -> None:
    with pipe() as (reading, writing):
        waiter = loop.spawn(loop.readable(reading), Condition())
        await loop.sleep(0)
        loop.forget(reading)
        await loop.cancel_and_wait(waiter)
        os.write(writing, b"x")
        assert await loop.readable(reading), "the place is free again"


# Always ready: regular files and /dev/null


async def test_regular_files_and_the_null_device_are_always_ready(loop: Loop, clock: Clock) -> None:
    with tempfile.TemporaryFile() as file, open(os.devnull, "r+b") as null:  # noqa: SIM115
        for fd in (file.fileno(), null.fileno()):
            for wait in (loop.readable, loop.writable):
                assert await wait(fd, None) is True
                assert await wait(fd, 0) is True
    assert clock.now == 1000


async def test_what_is_always_ready_leaves_the_others_their_turn(loop: Loop) -> None:
    order: list[str] = []

    async def work(loop: Loop, fd: int, name: str) -> None:
        for _ in range(5):
            assert await loop.readable(fd)
            order.append(name)

    with open(os.devnull, "rb") as null, pipe() as (reading, writing):
        os.write(writing, b"x")
        await together(loop, work(loop, null.fileno(), "null"), work(loop, reading, "pipe"))
    assert Counter(order) == {"null": 5, "pipe": 5}
    assert "null" in order[:3] and "pipe" in order[:3], "they take turns"


async def test_waiting_for_a_number_that_is_no_descriptor_is_an_error(loop: Loop) -> None:
    with pytest.raises((OSError, ValueError)):
        await loop.readable(9999)


# 5. A condition has no memory.


async def test_notifying_wakes_all_tasks_that_wait_now(loop: Loop) -> None:
    async def notify(loop: Loop, condition: Condition) -> None:
        await loop.sleep(1)
        condition.notify()

    signal = Condition()
    loop.spawn(notify(loop, signal))
    assert await together(loop, *(loop.wait(signal) for _ in range(3))) == [True, True, True]


async def test_a_notification_is_not_remembered(loop: Loop) -> None:
    condition = Condition()
    condition.notify()
    assert await loop.wait(condition, loop.clock() + 1) is False


async def test_a_wait_that_is_over_leaves_the_condition(loop: Loop) -> None:
    condition = Condition()
    assert not await loop.wait(condition, loop.clock() + 1)
    assert not condition.waiting
    cancelled = loop.spawn(loop.wait(condition), Condition())
    await loop.sleep(0)
    await loop.cancel_and_wait(cancelled)
    assert not condition.waiting


def test_what_never_happens_is_noticed_by_the_clock_of_the_tests() -> None:
    with pytest.raises(Stuck):
        play(forever)


# The run itself


@pytest.mark.parametrize("error", [None, KeyError("failed")])
def test_a_run_leaks_no_descriptor(error: Exception | None) -> None:
    before = descriptors()
    work: Work[object] = fail(error) if error else value(1)
    with suppress(KeyError):
        Loop().run(work)
    assert descriptors() == before


def test_many_runs_can_follow_each_other() -> None:
    assert [Loop().run(value(number)) for number in range(20)] == list(range(20))
