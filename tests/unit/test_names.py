"""The names of addresses in events: they are looked up in a thread, and a look-up that fails costs no event."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from doubles import a_context
from harness import DEADLINE

from pync.behaviour import Behaviour
from pync.events import Address
from pync.listener_events import NamedAddress
from pync.net.names import named

if TYPE_CHECKING:
    from pync.loop.kernel import Loop

NAME = ("192.0.2.7", 5)


async def test_an_address_is_reported_as_it_is_unless_names_are_wanted(real_loop: Loop) -> None:
    for behaviour in None, Behaviour():
        assert await named(a_context(real_loop, behaviour=behaviour), NAME) == Address(host="192.0.2.7", port=5)


async def test_a_path_has_no_name(real_loop: Loop) -> None:
    behaviour = Behaviour(name_of=lambda host: pytest.fail("looked up"))
    assert await named(a_context(real_loop, behaviour=behaviour), "/path") == Address(host="/path")


async def test_the_loop_runs_while_a_name_is_looked_up(real_loop: Loop) -> None:
    asked, answered = threading.Event(), threading.Event()

    def name_of(host: str) -> str:
        asked.set()
        assert answered.wait(DEADLINE)
        return f"name of {host}"

    async def answer() -> None:
        while not asked.is_set():
            await real_loop.sleep(0.001)
        answered.set()

    task = real_loop.spawn(answer())
    found = await named(a_context(real_loop, behaviour=Behaviour(name_of=name_of)), NAME)
    assert found == NamedAddress(host="192.0.2.7", port=5, name="name of 192.0.2.7")
    assert task.done


async def test_the_failure_of_a_look_up_is_in_the_place_of_the_name(real_loop: Loop) -> None:
    failure = OSError(-3, "Temporary failure in name resolution")

    def name_of(host: str) -> str:
        raise failure

    found = await named(a_context(real_loop, behaviour=Behaviour(name_of=name_of)), NAME)
    assert isinstance(found, NamedAddress)
    assert found.name is failure
