"""Signals arrive between two steps, as bytes on a descriptor, and everything is afterwards as it was before."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING

import pytest
from doubles import pipe, play, together

from pync.endpoints.children import exit_status
from pync.errors import Interrupted, OutputError
from pync.loop import os_signals
from pync.loop.kernel import Loop
from pync.loop.os_signals import STOPPING
from pync.loop.tasks import Cancelled, Condition

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Each test begins with the default dispositions, and nothing of it stays."""
    before = {signum: signal.getsignal(signum) for signum in (*STOPPING, signal.SIGCHLD)}
    for signum in before:
        signal.signal(signum, signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def dispositions() -> dict[int, object]:
    return {signum: signal.getsignal(signum) for signum in signal.valid_signals()}


def wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


async def forever(loop: Loop) -> None:
    await loop.wait(Condition())


every_stop = pytest.mark.parametrize("signum", STOPPING, ids=lambda signum: signal.Signals(signum).name)


@every_stop
def test_a_stopping_signal_ends_the_run_with_interrupted(signum: signal.Signals) -> None:
    async def main(loop: Loop) -> None:
        os.kill(os.getpid(), signum)
        await forever(loop)

    with pytest.raises(Interrupted) as caught:
        play(main)
    assert caught.value.signum == signum


@every_stop
def test_a_signal_strikes_between_two_steps_and_every_task_cleans_up(signum: signal.Signals) -> None:
    steps: list[str] = []

    async def session(loop: Loop) -> None:
        try:
            await forever(loop)
        except Cancelled:
            await loop.sleep(1)
            steps.append("session over")
            raise

    async def main(loop: Loop) -> None:
        loop.spawn(session(loop))
        await loop.sleep(0)
        try:
            os.kill(os.getpid(), signum)
            steps.append("in one piece")  # the signal has been delivered to the process by now
            await forever(loop)
        finally:
            await loop.sleep(1)
            steps.append("main over")

    with pytest.raises(Interrupted):
        play(main)
    assert steps == ["in one piece", "main over", "session over"]


def test_a_task_that_computes_is_not_torn_apart_by_a_signal_and_main_is_interrupted_at_its_wait() -> None:
    steps: list[str] = []

    async def busy(loop: Loop) -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("a step")
        await loop.sleep(0)

    async def main(loop: Loop) -> None:
        try:
            await together(loop, busy(loop), forever(loop))
        except Interrupted:
            steps.append("interrupted")
            raise

    with pytest.raises(Interrupted):
        play(main)
    assert steps == ["a step"] * 3 + ["interrupted"]


def test_a_task_that_was_interrupted_may_be_interrupted_again_in_its_clean_up() -> None:
    async def main(loop: Loop) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await forever(loop)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await forever(loop)  # a clean-up that hangs

    with pytest.raises(Interrupted) as caught:
        play(main)
    assert caught.value.signum == signal.SIGINT


@every_stop
def test_a_signal_that_was_ignored_stays_ignored(signum: signal.Signals) -> None:
    signal.signal(signum, signal.SIG_IGN)

    async def main(loop: Loop) -> object:
        during = signal.getsignal(signum)
        os.kill(os.getpid(), signum)
        await loop.sleep(1)
        return during

    assert play(main) is signal.SIG_IGN
    assert signal.getsignal(signum) is signal.SIG_IGN


def test_the_end_of_a_child_is_noticed_even_when_sigchld_was_ignored_before() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    loop = Loop()

    async def main() -> int:
        return await exit_status(loop, os.posix_spawn("/bin/sh", ["sh", "-c", "exit 4"], {}))

    assert loop.run(main()) == 4
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


async def test_sigchld_notifies_child_ended_and_stops_no_task(loop: Loop) -> None:
    os.kill(os.getpid(), signal.SIGCHLD)
    assert await loop.wait(loop.child_ended, loop.clock() + 1) is True


def finish(loop: Loop) -> None:
    """End the run without an error."""


def break_down(loop: Loop) -> None:
    raise KeyError


def interrupt(loop: Loop) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("act", [finish, break_down, interrupt])
def test_after_a_run_dispositions_wakeup_descriptor_and_descriptors_are_as_before(act: object) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    descriptors, before = os.listdir("/proc/self/fd"), dispositions()

    async def main(loop: Loop) -> None:
        assert dispositions() != before
        assert callable(act)
        act(loop)
        await loop.sleep(1)

    with pipe() as (_, ours):
        previous = signal.set_wakeup_fd(ours)
        try:
            with suppress(KeyError, Interrupted):
                play(main)
            assert wakeup_fd() == ours
        finally:
            signal.set_wakeup_fd(previous)
    assert dispositions() == before
    assert os.listdir("/proc/self/fd") == descriptors


# -- Signals that come too late for a task, or to a task that blocks -----------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os_signals, "STUCK", 0.01)


def test_a_signal_that_finds_no_room_in_the_pipe_is_not_lost(soon: None) -> None:
    async def main(loop: Loop) -> None:
        for _ in range(100_000):  # more than the pipe holds
            signal.raise_signal(signal.SIGCHLD)
        os.kill(os.getpid(), signal.SIGTERM)
        await forever(loop)

    loop = Loop()
    with pytest.raises(Interrupted) as caught:
        loop.run(main(loop))
    assert caught.value.signum == signal.SIGTERM


@every_stop
def test_a_step_that_blocks_is_interrupted(signum: signal.Signals, soon: None) -> None:
    async def main() -> None:
        with pipe() as (_, full):
            os.kill(os.getpid(), signum)
            os.write(full, bytes(1 << 20))  # as Python takes it up again after a signal, this would never end

    with pytest.raises(Interrupted) as caught:
        Loop().run(main())
    assert caught.value.signum == signum


def test_of_two_steps_that_block_each_is_interrupted(soon: None) -> None:
    async def block(full: int) -> None:
        os.write(full, bytes(1 << 20))

    async def main(loop: Loop, full: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await loop.first(block(full), block(full))

    loop = Loop()
    with pipe() as (_, full), pytest.raises(Interrupted):
        loop.run(main(loop, full))


def test_the_code_of_the_loop_is_not_interrupted_however_slow_it_is(soon: None) -> None:
    ended: list[float] = []

    def slow_clock() -> float:
        if not ended:
            ended.append(monotonic() + 0.05)
            os.kill(os.getpid(), signal.SIGTERM)
            while monotonic() < ended[0]:
                pass
            ended.append(monotonic())
        return monotonic()

    async def main(loop: Loop) -> None:
        await loop.sleep(5)

    clock = FunctionType(
        slow_clock.__code__, {**globals(), "__name__": "pync.loop.slow"}, closure=slow_clock.__closure__
    )
    loop = Loop(clock=clock)
    with pytest.raises(Interrupted):
        loop.run(main(loop))
    assert len(ended) == 2


def test_a_task_that_cleans_up_for_long_after_a_signal_is_not_interrupted_by_the_alarm(soon: None) -> None:
    async def main(loop: Loop) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await forever(loop)
        finally:
            await loop.sleep(0.05)
            steps.append("cleaned up")

    steps: list[str] = []
    loop = Loop()
    with pytest.raises(Interrupted):
        loop.run(main(loop))
    assert steps == ["cleaned up"]


@every_stop
def test_a_signal_that_comes_when_the_main_task_is_done_ends_the_run_after_the_others_have_cleaned_up(
    signum: signal.Signals, soon: None
) -> None:
    steps: list[str] = []

    async def other(loop: Loop) -> None:
        try:
            await forever(loop)
        finally:
            os.kill(os.getpid(), signum)
            await loop.sleep(0.05)
            steps.append("cleaned up")

    async def main(loop: Loop) -> None:
        loop.spawn(other(loop))
        await loop.sleep(0)

    loop = Loop()
    with pytest.raises(Interrupted) as caught:
        loop.run(main(loop))
    assert caught.value.signum == signum
    assert steps == ["cleaned up"]


def test_a_run_that_a_signal_stops_ends_by_it_also_if_it_fails_then() -> None:
    async def main(loop: Loop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise OutputError("writing stdout", "Interrupted system call")

    with pytest.raises(Interrupted):
        play(main)


def test_a_bug_is_raised_also_if_a_signal_came() -> None:
    async def main(loop: Loop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError

    with pytest.raises(KeyError):
        play(main)


def test_an_alarm_of_another_process_ends_the_run_as_it_would_without_us() -> None:
    async def main(loop: Loop) -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        await forever(loop)

    with pytest.raises(Interrupted) as caught:
        play(main)
    assert caught.value.signum == signal.SIGALRM
