"""Reading access rules again holds up no other task, and no SIGHUP is missed."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from doubles import a_context

from pync.config import Access
from pync.context import Context
from pync.errors import InputError, Interrupted
from pync.listener_events import RulesKept, RulesRead
from pync.loop.kernel import Loop
from pync.loop.tasks import Condition
from pync.net import access_again
from pync.net.access import Rules, load_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pync.events import Event


@pytest.fixture(autouse=True)
def _caught() -> Iterator[None]:
    """SIGHUP is not ignored, as it is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def rules() -> Rules:
    return load_rules(Access(), lambda _: [])


class Reading:
    """A loop in which rules are read again; what was read and reported."""

    def __init__(self, load: Callable[[], Rules]) -> None:
        self.loop = Loop()
        self.used: list[Rules] = []
        self.events: list[Event] = []
        self.changed = Condition()
        made = a_context(self.loop, mode="listen")
        context = Context(self.loop, made.config, self._report, lambda _: True)
        self.work = access_again.read_again(context, (), load, self.used.append)

    def _report(self, event: Event) -> None:
        self.events.append(event)
        self.changed.notify()

    async def after(self, events: int) -> None:
        while len(self.events) < events:
            assert await self.loop.wait(self.changed, self.loop.clock() + 10)

    def run(self, body: Callable[[], object]) -> None:
        async def main() -> None:
            self.loop.spawn(self.work)
            await body()  # type: ignore[misc]

        self.loop.run(main())


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


def test_other_tasks_run_while_rules_are_read_and_a_hangup_meanwhile_is_not_missed() -> None:
    go_on, loads = threading.Semaphore(0), []

    def load() -> Rules:
        loads.append(1)
        assert go_on.acquire(timeout=10)
        return rules()

    reading = Reading(load)

    async def body() -> None:
        hang_up()
        while not loads:
            await reading.loop.sleep(0)
        hang_up()  # the files may have changed after they were read
        for _ in range(20):
            await reading.loop.sleep(0.001)
        assert (reading.used, loads) == ([], [1])
        go_on.release()
        go_on.release()
        await reading.after(2)

    reading.run(body)
    assert len(reading.used) == len(loads) == 2
    assert reading.events == [RulesRead(), RulesRead()]


def test_a_failure_is_reported_and_the_next_hangup_is_a_new_attempt() -> None:
    denied = InputError("hosts", "Permission denied")
    failures = [denied]

    def load() -> Rules:
        for failure in failures:
            raise failure
        return rules()

    reading = Reading(load)

    async def body() -> None:
        hang_up()
        await reading.after(1)
        failures.clear()
        hang_up()
        await reading.after(2)

    reading.run(body)
    assert reading.events == [RulesKept(error=denied), RulesRead()]
    assert len(reading.used) == 1


def test_a_bug_is_not_caught() -> None:
    def load() -> Rules:
        raise KeyError

    reading = Reading(load)

    async def body() -> None:
        hang_up()
        await reading.loop.wait(Condition())

    with pytest.raises(KeyError):
        reading.run(body)


def test_the_hangup_of_a_terminal_that_has_closed_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    has = [False, True]
    monkeypatch.setattr(access_again, "_has_terminal", has.pop)
    reading = Reading(rules)

    async def body() -> None:
        hang_up()
        await reading.loop.wait(Condition())

    with pytest.raises(Interrupted) as caught:
        reading.run(body)
    assert caught.value.signum == signal.SIGHUP
    assert (has, reading.used) == ([], [])
