"""Names and addresses: when a name server is asked, and that a silent one holds nothing up."""

from __future__ import annotations

import _thread
import os
import re
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from doubles import a_context
from harness import DEADLINE
from loopback import FOUR, Names, failure, peer

from pync import system
from pync.errors import AddressError, Interrupted, TimedOut
from pync.loop.kernel import Loop
from pync.net.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pync.config import Family


async def look_up(loop: Loop, host: str | None, family: Family = "any", *, numeric: bool = False) -> list[str]:
    """The addresses of a host."""
    found = await resolve(a_context(loop, numeric=numeric), host, 80, family)
    assert all(name[1] == 80 for _, name in found)
    return [name[0] for _, name in found]


async def test_an_address_is_answered_without_a_thread(real_loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", None)
    assert await look_up(real_loop, "127.0.0.1") == ["127.0.0.1"]
    assert await look_up(real_loop, "::1", numeric=True) == ["::1"]
    assert await look_up(real_loop, "127.1") == ["127.0.0.1"]


async def test_no_host_is_any_address_of_each_family(real_loop: Loop) -> None:
    assert sorted(await look_up(real_loop, None)) == ["0.0.0.0", "::"]
    assert await look_up(real_loop, None, "ipv4") == ["0.0.0.0"]
    assert await look_up(real_loop, None, "ipv6") == ["::"]


async def test_a_names_addresses_come_in_the_resolvers_order_and_none_twice(real_loop: Loop, names: Names) -> None:
    names["many.test"] = ["::2", "127.0.0.3", "::2", "127.0.0.1", "127.0.0.3"]
    assert await look_up(real_loop, "many.test") == ["::2", "127.0.0.3", "127.0.0.1"]
    assert await look_up(real_loop, "many.test", "ipv4") == ["127.0.0.3", "127.0.0.1"]
    assert await look_up(real_loop, "many.test", "ipv6") == ["::2"]


async def test_no_name_server_is_asked_where_numbers_are_wanted(real_loop: Loop) -> None:
    assert await look_up(real_loop, "localhost", "ipv4") == ["127.0.0.1"]
    with pytest.raises(AddressError, match="^host localhost: Name or service not known$"):
        await look_up(real_loop, "localhost", numeric=True)


@pytest.mark.parametrize(("host", "family"), [("::1", "ipv4"), ("127.0.0.1", "ipv6")])
async def test_an_address_of_the_other_family_is_refused(real_loop: Loop, host: str, family: Family) -> None:
    with pytest.raises(AddressError, match=f"^host {host}: Address family for hostname not supported$"):
        await look_up(real_loop, host, family)


@pytest.mark.parametrize(
    "host", ["x..y", "x" * 64 + ".invalid", "ü" * 70, "ü..y", "\udcff", "a\0b", "[::1]", "::1%nowhere"]
)
async def test_what_cannot_be_a_name_is_an_error_for_people(real_loop: Loop, host: str) -> None:
    with pytest.raises(AddressError) as caught:
        await look_up(real_loop, host)
    assert caught.value.what == f"host {host}"
    assert re.fullmatch("[A-Z][a-zA-Z ]+|not a valid name", caught.value.why)


@pytest.mark.usefixtures("no_leak")
async def test_a_silent_name_server_does_not_hold_up_the_loop(real_loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, real = threading.Event(), system.socket.getaddrinfo

    def slow(host: object, *query: Any) -> Any:
        if query[4:] and query[4] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        assert answer.wait(DEADLINE)
        return real("127.0.0.1", *query)

    monkeypatch.setattr(system.socket, "getaddrinfo", slow)

    async def tick() -> None:
        for _ in range(20):
            await real_loop.sleep(0)
        answer.set()  # which happens only if the other tasks run meanwhile

    real_loop.spawn(tick())
    found = await resolve(a_context(real_loop), "slow.test", 80, "ipv4")
    assert found == [(FOUR, ("127.0.0.1", 80))]


def ended_threads(before: int) -> None:
    """Wait until the resolver's threads have returned."""
    until = time.monotonic() + DEADLINE
    while _thread._count() > before:
        assert time.monotonic() < until, "a thread is left"


@pytest.fixture
def stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that does not answer until the test is over. Then no thread and no descriptor may be left."""
    answer, before = threading.Event(), _thread._count()
    descriptors = len(os.listdir("/proc/self/fd"))

    def stuck(host: object, *query: Any) -> Any:
        if query[4:] and query[4] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        assert answer.wait(DEADLINE)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(system.socket, "getaddrinfo", stuck)
    yield
    answer.set()
    ended_threads(before)
    is_true(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, "no descriptor is left")


@pytest.mark.usefixtures("stuck_resolver")
def test_a_time_limit_holds_while_a_name_server_is_silent() -> None:
    loop = Loop()
    begun = loop.clock()
    error = loop.run(failure(loop, peer("stuck.test", 80, connect_timeout=0.05)))
    assert isinstance(error, TimedOut)
    assert str(error) == "connect to stuck.test port 80 (tcp): timed out"
    assert loop.clock() - begun < DEADLINE / 2


@pytest.mark.usefixtures("stuck_resolver")
def test_a_signal_ends_the_wait_for_a_name_server() -> None:
    async def main(loop: Loop) -> None:
        async def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGINT)

        loop.spawn(interrupt())
        await look_up(loop, "stuck.test")

    loop = Loop()
    with pytest.raises(Interrupted):
        loop.run(main(loop))
