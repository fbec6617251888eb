"""Getting sockets: names and addresses, connecting to the best of them, binding all of them, and their options.

The sockets are real and on loopback. Only the resolver is played, so that a name has the addresses a test wants, and
time where it would pass without anything happening: a `Clock` jumps over it, so how long something took is exact.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import re
import signal
import socket
import stat
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from doubles import Clock, play
from harness import DEADLINE, PYNC, free_port, require, run
from hypothesis import given
from hypothesis import strategies as st

import pync.net.bind
import pync.net.dial
import pync.net.options
from pync import system
from pync.config import Config, SocketOptions
from pync.errors import AddressError, BindError, ConnectError, Interrupted, PyncError, TimedOut
from pync.events import Connected, ConnectFailed
from pync.loop.kernel import Loop
from pync.net.bind import Bound, bind
from pync.net.dial import dial, take_turns
from pync.net.options import new_socket, tune
from pync.net.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, TypeVar

    from pync.config import Family
    from pync.events import Event
    from pync.loop.tasks import Work

    T = TypeVar("T")
    Names = dict[str, list[str]]

ANY_FAMILY, FOUR, SIX = socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
LOCALHOST: dict[int, str] = {FOUR: "127.0.0.1", SIX: "::1"}
BOTH = pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])


def now(main: Callable[[Loop], Work[T]]) -> T:
    """Run `main(loop)` in real time."""
    loop = Loop()
    return loop.run(main(loop))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The addresses of names, for a test to fill: known at once, without a thread that would not see time jump."""
    table: Names = {}
    real = system.socket.getaddrinfo

    def getaddrinfo(host: str | bytes | None, port: int, family: int = 0, kind: int = 0, *rest: int) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in table:
            return real(host, port, family, kind, *rest)
        found = [item for one in table[name] for item in real(one, port, 0, kind)]
        return [item for item in found if family in (ANY_FAMILY, item[0])]

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    return table


@pytest.fixture
def no_leak() -> Iterator[None]:
    """No descriptor is left open."""
    before = os.listdir("/proc/self/fd")
    yield
    assert sorted(os.listdir("/proc/self/fd")) == sorted(before)


@contextlib.contextmanager
def server(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    family = SIX if ":" in host else FOUR
    with socket.create_server((host, port), family=family) as sock:
        sock.settimeout(DEADLINE)
        yield sock


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port where nothing is answered: its backlog is full."""
    with (
        socket.create_server((host, port), family=SIX if ":" in host else FOUR, backlog=0) as sock,
        socket.create_connection(sock.getsockname()[:2]),
    ):
        yield port_of(sock)


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def peer(host: str = "127.0.0.1", port: int | None = None, **facts: Any) -> Config:
    return Config(mode="connect", host=host, ports=() if port is None else (port,), **facts)


def whole(sock: socket.socket) -> socket.socket:
    """A socket as the standard module has it, with what that adds in Python (`pync/system.py`)."""
    return socket.socket(fileno=sock.detach())


def dialled(config: Config, clock: Clock | None = None) -> tuple[socket.socket, list[Event]]:
    """The socket that `dial` gives, and what it reported."""
    events: list[Event] = []

    async def main(loop: Loop) -> socket.socket:
        sock, _ = await dial(loop, config, config.ports[0] if config.ports else None, events.append)
        return sock

    return whole(play(main, clock) if clock else now(main)), events


def failure(config: Config, clock: Clock | None = None) -> PyncError:
    with pytest.raises(PyncError) as caught:
        dialled(config, clock)
    return caught.value


def told(events: list[Event]) -> list[tuple[type[Event], str]]:
    """What was reported, with the address it was about."""
    return [(type(event), event.address.host) for event in events if isinstance(event, (Connected, ConnectFailed))]


# -- Names -----------------------------------------------------------------------------------------------------------


def look_up(host: str | None, family: Family = "any", *, numeric: bool = False) -> list[str]:
    async def main(loop: Loop) -> list[str]:
        found = await resolve(loop, host, 80, family, datagram=False, numeric=numeric)
        assert all(name[1] == 80 for _, name in found)
        return [name[0] for _, name in found]

    return now(main)


def test_an_address_is_answered_without_asking_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", None)
    assert look_up("127.0.0.1") == ["127.0.0.1"]
    assert look_up("::1", numeric=True) == ["::1"]
    assert look_up("127.1") == ["127.0.0.1"]


def test_no_host_is_any_address_of_each_family() -> None:
    assert sorted(look_up(None)) == ["0.0.0.0", "::"]
    assert look_up(None, "ipv4") == ["0.0.0.0"]
    assert look_up(None, "ipv6") == ["::"]


def test_a_names_addresses_come_in_the_resolvers_order_and_none_twice(names: Names) -> None:
    names["many.test"] = ["::2", "127.0.0.3", "::2", "127.0.0.1", "127.0.0.3"]
    assert look_up("many.test") == ["::2", "127.0.0.3", "127.0.0.1"]
    assert look_up("many.test", "ipv4") == ["127.0.0.3", "127.0.0.1"]
    assert look_up("many.test", "ipv6") == ["::2"]


def test_no_name_server_is_asked_where_numbers_are_wanted() -> None:
    assert look_up("localhost", "ipv4") == ["127.0.0.1"]
    with pytest.raises(AddressError, match="^host localhost: Name or service not known$"):
        look_up("localhost", numeric=True)


@pytest.mark.parametrize(("host", "family"), [("::1", "ipv4"), ("127.0.0.1", "ipv6")])
def test_an_address_of_the_other_family_is_refused(host: str, family: Family) -> None:
    with pytest.raises(AddressError, match=f"^host {host}: Address family for hostname not supported$"):
        look_up(host, family)


@pytest.mark.parametrize(
    "host", ["x..y", "x" * 64 + ".invalid", "ü" * 70, "ü..y", "\udcff", "a\0b", "[::1]", "::1%nowhere"]
)
def test_what_cannot_be_a_name_is_an_error_for_people(host: str) -> None:
    with pytest.raises(AddressError) as caught:
        look_up(host)
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
        answer.set()  # only if the others go on meanwhile

    real_loop.spawn(tick())
    assert await resolve(real_loop, "slow.test", 80, "ipv4", datagram=False, numeric=False) == [
        (FOUR, ("127.0.0.1", 80))
    ]


def ended_threads(before: int) -> None:
    """Wait until the resolver's threads have returned."""
    until = time.monotonic() + DEADLINE
    while _thread._count() > before:
        assert time.monotonic() < until, "a thread is left"


@pytest.fixture
def stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that does not answer until the test is over; then no thread and no descriptor is left."""
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
    begun = time.monotonic()
    error = failure(peer("stuck.test", 80, connect_timeout=0.05))
    assert isinstance(error, TimedOut)
    assert str(error) == "connect to stuck.test port 80 (tcp): timed out"
    assert time.monotonic() - begun < DEADLINE / 2


@pytest.mark.usefixtures("stuck_resolver")
def test_a_signal_ends_the_wait_for_a_name_server() -> None:
    async def main(loop: Loop) -> None:
        async def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGINT)

        loop.spawn(interrupt())
        await resolve(loop, "stuck.test", 80, "any", datagram=False, numeric=False)

    with pytest.raises(Interrupted):
        now(main)


# -- Connecting ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([FOUR, SIX]), st.integers())))
def test_the_families_take_turns(found: list[tuple[int, int]]) -> None:
    order = take_turns(found)
    for family in (FOUR, SIX):
        assert [item for item in order if item[0] == family] == [item for item in found if item[0] == family]
    assert order[:1] == found[:1]
    paired = 2 * min(sum(item[0] == family for item in found) for family in (FOUR, SIX))
    assert all(order[number][0] != order[number + 1][0] for number in range(paired - 1))


def test_every_address_is_tried(names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"]
    with server() as listener:
        clock = Clock()
        sock, events = dialled(peer("many.test", port_of(listener)), clock)
        with sock, listener.accept()[0]:
            assert sock.getpeername() == listener.getsockname()
    order = ["127.0.0.2", "::1", "127.0.0.3"]
    assert told(events) == [*((ConnectFailed, host) for host in order), (Connected, "127.0.0.1")]
    assert clock.now == 1000  # none waited for another


@pytest.mark.usefixtures("no_leak")
def test_when_none_answers_each_is_told_and_the_last_is_why(names: Names) -> None:
    names["many.test"] = ["127.0.0.1", "::1", "127.0.0.2"]
    events: list[Event] = []
    with free_port() as port:
        config = peer("many.test", port)

        async def main(loop: Loop) -> Any:
            return await dial(loop, config, port, events.append)

        with pytest.raises(ConnectError) as caught:
            now(main)
    assert str(caught.value) == f"connect to many.test port {port} (tcp) failed: Connection refused"
    assert told(events) == [(ConnectFailed, host) for host in ("127.0.0.1", "::1", "127.0.0.2")]


@pytest.mark.usefixtures("no_leak")
def test_the_next_attempt_begins_a_quarter_of_a_second_later_and_the_loser_is_closed(names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    with server("::1") as listener, black_hole("127.0.0.1", port_of(listener)) as port:
        clock, open_before = Clock(), len(os.listdir("/proc/self/fd"))
        sock, events = dialled(peer("both.test", port), clock)
        with sock, listener.accept()[0]:
            assert len(os.listdir("/proc/self/fd")) <= open_before + 2
            assert sock.family == SIX
    assert clock.now == 1000.25
    assert told(events) == [(Connected, "::1")]


def test_a_failure_begins_the_next_attempt_at_once(names: Names) -> None:
    names["three.test"] = ["127.0.0.1", "::1", "127.0.0.2"]
    with server("127.0.0.2") as listener, black_hole("127.0.0.1", port_of(listener)) as port:
        clock = Clock()
        sock, events = dialled(peer("three.test", port), clock)
        with sock:
            assert sock.getpeername()[0] == "127.0.0.2"
    assert clock.now == 1000.25  # for the first; the second refuses, and the third does not wait for it
    assert told(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.2")]


async def test_an_attempt_that_was_overtaken_may_still_win(real_loop: Loop, names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    events: list[Event] = []

    def report(event: Event) -> None:
        events.append(event)
        if isinstance(event, ConnectFailed):  # the second has failed: now there is room for the first
            crowded.accept()[0].close()

    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as crowded,
        socket.create_connection(crowded.getsockname()),
    ):
        port = port_of(crowded)
        sock, _ = await dial(real_loop, peer("both.test", port), port, report)
        with whole(sock) as connected:
            assert connected.getpeername() == crowded.getsockname()
    assert told(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.1")]


@pytest.mark.usefixtures("no_leak")
def test_of_two_connections_made_in_one_moment_one_is_closed(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    made: list[socket.socket] = []

    async def attempt(loop: Loop, config: Config, family: int, name: Any, own: Any) -> tuple[socket.socket, Any]:
        await loop.sleep(0.5 if family == FOUR else 0.25)  # the second begins a quarter of a second later
        made.append(socket.socket(family))
        return made[-1], name

    monkeypatch.setattr(pync.net.dial, "attempt", attempt)
    sock, events = dialled(peer("both.test", 80), Clock())
    with sock:
        assert [other.fileno() for other in made] == [-1, -1], "one is closed, and one has become `sock`"
    assert told(events) == [(Connected, "127.0.0.1")]


@pytest.mark.usefixtures("no_leak")
def test_a_limit_is_for_all_addresses_together(names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    with black_hole("0.0.0.0") as port:
        clock = Clock()
        error = failure(peer("both.test", port, connect_timeout=2.0), clock)
    assert isinstance(error, TimedOut)
    assert str(error) == f"connect to both.test port {port} (tcp): timed out"
    assert clock.now == 1002


def test_a_system_without_a_family_uses_the_other(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    without_ipv6(monkeypatch)
    with server() as listener:
        sock, events = dialled(peer("both.test", port_of(listener)))
        sock.close()
    assert told(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.1")]
    with pytest.raises(ConnectError, match="Address family not supported by protocol"):
        dialled(peer("::1", 80))


def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets of IPv6 be refused as a kernel does that was built or booted without it."""
    real = system.socket.socket

    def refusing(family: int = -1, kind: int = -1, *rest: Any, **more: Any) -> socket.socket:
        if family == SIX:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, kind, *rest, **more)

    monkeypatch.setattr(pync.net.options, "socket", SimpleNamespace(**{**vars(system.socket), "socket": refusing}))


async def test_a_lack_of_descriptors_is_no_lack_of_an_address(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]

    def refusing(*_: Any) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    events: list[Event] = []
    monkeypatch.setattr(pync.net.options, "socket", SimpleNamespace(**{**vars(system.socket), "socket": refusing}))
    with pytest.raises(ConnectError, match="^open a socket: Too many open files$"):
        await dial(loop, peer("both.test", 80), 80, events.append)
    assert events == []


@BOTH
def test_the_source_is_ours_to_choose(family: int) -> None:
    host = LOCALHOST[family]
    with free_port() as own:
        pass
    with server(host) as listener:
        facts = {"source_host": host, "source_port": own}
        sock, _ = dialled(peer(host, port_of(listener), **facts))
        with sock, listener.accept()[0] as conn:
            assert conn.getpeername()[:2] == (host, own)


def test_the_source_may_be_a_name_with_an_address_in_each_family(names: Names) -> None:
    names["own.test"] = ["::1", "127.0.0.9", "127.0.0.8"]
    for host in LOCALHOST.values():
        with server(host) as listener:
            sock, _ = dialled(peer(host, port_of(listener), source_host="own.test"))
            with sock:
                assert sock.getsockname()[0] == {"::1": "::1", "127.0.0.1": "127.0.0.9"}[host]


def test_an_address_of_the_sources_other_family_is_passed_over(names: Names) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    with server() as listener:
        sock, events = dialled(peer("both.test", port_of(listener), source_host="127.0.0.7"))
        with sock:
            assert sock.getsockname()[0] == "127.0.0.7"
    assert told(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.1")]
    with free_port() as port:
        assert "the source address is of the other family" in str(failure(peer("::1", port, source_host="127.0.0.7")))


@pytest.mark.usefixtures("no_leak")
def test_a_source_that_cannot_be_had_is_fatal(names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    with server() as listener, server() as taken:
        error = failure(peer("both.test", port_of(listener), source_port=port_of(taken)))
        assert isinstance(error, BindError)
        assert str(error) == f"bind to 0.0.0.0:{port_of(taken)}: Address already in use"
        error = failure(peer("127.0.0.1", port_of(listener), source_host="192.0.2.1"))
        assert str(error) == "bind to 192.0.2.1:0: Cannot assign requested address"


def test_a_source_without_an_address_is_told(names: Names) -> None:
    names["six.test"] = ["::1"]
    error = failure(peer("127.0.0.1", 80, source_host="six.test", family="ipv4"))
    assert isinstance(error, AddressError)
    assert str(error) == "host six.test: no address"


@pytest.mark.parametrize("second", ["::1", "127.0.0.2"])
def test_two_attempts_can_share_one_source_port(names: Names, second: str) -> None:
    names["both.test"] = ["127.0.0.1", second]
    with free_port() as own:
        pass
    with server(second) as listener, black_hole("127.0.0.1", port_of(listener)) as port:
        sock, _ = dialled(peer("both.test", port, source_port=own), Clock())
        with sock:
            assert (sock.getpeername()[0], port_of(sock)) == (second, own)


def test_a_source_port_can_be_used_again_at_once() -> None:
    with free_port() as own:
        pass
    for _ in range(2):
        with server() as listener:
            sock, _ = dialled(peer("127.0.0.1", port_of(listener), source_port=own))
            sock.close()  # ours is the end that waits
            with listener.accept()[0] as conn:
                assert conn.recv(1) == b""


@pytest.mark.usefixtures("no_leak")
@pytest.mark.parametrize("datagram", [False, True])
@BOTH
def test_meeting_oneself_is_being_refused(family: int, datagram: bool) -> None:
    with free_port(DATAGRAM if datagram else STREAM) as own:
        pass
    host = LOCALHOST[family]
    error = failure(peer(host, own, source_host=host, source_port=own, datagram=datagram))
    assert error.why == "Connection refused"


def test_a_connection_that_is_lost_at_once_was_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(socket.socket):
        def getpeername(self) -> Any:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    def lost(family: int, options: SocketOptions, **more: Any) -> socket.socket:
        return Lost(fileno=new_socket(family, options, **more).detach())

    monkeypatch.setattr(pync.net.dial, "new_socket", lost)
    with server() as listener:
        sock, events = dialled(peer("127.0.0.1", port_of(listener)))
        sock.close()
    assert told(events) == [(Connected, "127.0.0.1")]


def test_a_datagram_socket_is_connected_and_says_nothing() -> None:
    with socket.socket(FOUR, DATAGRAM) as other:
        other.bind(("127.0.0.1", 0))
        sock, events = dialled(peer("127.0.0.1", port_of(other), datagram=True))
        with sock:
            assert sock.getpeername() == other.getsockname()
            assert events[-1] == Connected(host="127.0.0.1", address=events[-1].address, transport="udp")  # type: ignore[attr-defined]
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(1)


def test_a_unix_client_waits_for_a_place_in_the_backlog(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(path)
        listener.listen(0)
        other.connect(path)
        clock = Clock()
        error = failure(peer(path, family="unix", connect_timeout=1.0), clock)
        assert str(error) == f"connect to {path}: timed out"
        assert clock.now == pytest.approx(1001)
        listener.accept()[0].close()
        sock, events = dialled(peer(path, family="unix"))
        sock.close()
        assert told(events) == [(Connected, path)]


def test_a_unix_datagram_client_has_an_end_of_its_own(tmp_path: Path) -> None:
    path, own = str(tmp_path / "s"), str(tmp_path / "own")
    with socket.socket(socket.AF_UNIX, DATAGRAM) as other:
        other.bind(path)
        for source, expected in (None, bytes), (own, str):
            sock, _ = dialled(peer(path, family="unix", datagram=True, source_host=source))
            with sock:
                assert isinstance(sock.getsockname(), expected)
    assert isinstance(failure(peer(path, family="unix", datagram=True, source_host=own)), BindError)
    os.unlink(own)
    os.unlink(path)
    assert isinstance(failure(peer(path, family="unix", datagram=True, source_host=own)), ConnectError)
    assert os.listdir(tmp_path) == []


def test_an_option_that_is_refused_ends_the_race(names: Names) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    error = failure(peer("both.test", 80, socket=SocketOptions(ttl=0)))
    assert isinstance(error, ConnectError)
    assert str(error) == "set the TTL to 0: Invalid argument"


# -- Binding ---------------------------------------------------------------------------------------------------------


def listener(host: str | None = None, port: int = 0, **facts: Any) -> Config:
    return Config(mode="listen", host=host, ports=(port,), **facts)


def binding(config: Config) -> Bound:
    async def main(loop: Loop) -> Bound:
        return await bind(loop, config)

    return now(main)


@contextlib.contextmanager
def bound(config: Config) -> Iterator[Bound]:
    here = binding(config)
    here.loop = Loop()  # the other one has run
    try:
        yield here
    finally:
        here.close()
        here.loop.run(nothing())


async def nothing() -> None:
    """A loop that has run has closed its selector."""


def ends(here: Bound) -> list[tuple[str, int]]:
    return [sock.getsockname()[:2] for sock in here.sockets]


@pytest.mark.parametrize("datagram", [False, True])
def test_both_families_have_one_ephemeral_port(datagram: bool) -> None:
    with bound(listener(datagram=datagram)) as here:
        (six, port), (four, other) = ends(here)
        assert (six, four) == ("::", "0.0.0.0")
        assert port == other > 0


@pytest.mark.parametrize(("family", "host"), [("ipv4", "0.0.0.0"), ("ipv6", "::")])
def test_one_family_can_be_asked_for(family: Family, host: str) -> None:
    with bound(listener(family=family)) as here:
        assert [end[0] for end in ends(here)] == [host]


def test_every_address_of_a_name_is_bound(names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "::1", "127.0.0.1"]
    with bound(listener("many.test")) as here:
        assert [host for host, _ in ends(here)] == ["::1", "127.0.0.2", "127.0.0.1"]
        assert len({port for _, port in ends(here)}) == 1


class Refusing(socket.socket):
    """A socket that cannot be bound to IPv4 as often as `times` says."""

    times = 0
    refusals = 0
    why = errno.EADDRINUSE

    def bind(self, name: Any) -> None:
        kind = type(self)
        if self.family == FOUR and kind.refusals < kind.times:
            kind.refusals += 1
            raise OSError(self.why, os.strerror(self.why))
        super().bind(name)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> type[Refusing]:
    """The class of the sockets that are bound in this test."""

    class Here(Refusing):
        pass

    def made(family: int, options: SocketOptions, **more: Any) -> socket.socket:
        return Here(fileno=new_socket(family, options, **more).detach())

    monkeypatch.setattr(pync.net.bind, "new_socket", made)
    return Here


def test_another_ephemeral_port_is_taken_where_one_is_not_free_in_both_families(refusing: type[Refusing]) -> None:
    refusing.times = 3
    with bound(listener()) as here:
        assert refusing.refusals == 3
        assert len({port for _, port in ends(here)}) == 1 and len(here.sockets) == 2


@pytest.mark.usefixtures("no_leak")
def test_the_search_for_an_ephemeral_port_has_an_end(refusing: type[Refusing]) -> None:
    refusing.times = 1000
    with pytest.raises(BindError, match="^listen on an ephemeral port: Address already in use$"):
        binding(listener())
    assert 1 < refusing.refusals < 1000


@pytest.mark.usefixtures("no_leak")
def test_a_port_that_is_taken_in_one_family_is_refused_in_both() -> None:
    with server() as taken:
        port = port_of(taken)
        with pytest.raises(BindError, match=f"^listen on 0.0.0.0:{port}: Address already in use$"):
            binding(listener(port=port))
    with server("::1") as taken:
        port = port_of(taken)
        with pytest.raises(BindError, match=rf"^listen on \[::1\]:{port}: Address already in use$"):
            binding(listener("::1", port))


def test_a_family_that_the_system_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ipv6(monkeypatch)
    with bound(listener()) as here:
        assert [host for host, _ in ends(here)] == ["0.0.0.0"]
    with pytest.raises(BindError, match=r"^listen on \[::1\]:0: Address family not supported by protocol$"):
        binding(listener("::1"))


def test_an_address_that_is_not_here_is_left_out_if_there_is_another(names: Names) -> None:
    names["half.test"] = ["192.0.2.1", "127.0.0.1"]
    with bound(listener("half.test")) as here:
        assert [host for host, _ in ends(here)] == ["127.0.0.1"]
    with pytest.raises(BindError, match="^listen on 192.0.2.1:0: Cannot assign requested address$"):
        binding(listener("192.0.2.1"))


def test_a_server_can_start_again_at_once_and_never_beside_itself() -> None:
    with bound(listener("127.0.0.1")) as here:
        (sock,), port = here.sockets, ends(here)[0][1]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        with socket.create_connection(("127.0.0.1", port)) as client:
            system.accept(sock)[0].close()  # the server's end closes first, and waits
            assert client.recv(1) == b""
        with pytest.raises(BindError):
            binding(listener("127.0.0.1", port))
    with bound(listener("127.0.0.1", port)) as here:
        assert ends(here) == [("127.0.0.1", port)]


def test_a_datagram_port_is_never_shared() -> None:
    with bound(listener("127.0.0.1", datagram=True)) as here:
        (sock,), port = here.sockets, ends(here)[0][1]
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with pytest.raises(BindError, match="Address already in use"):
            binding(listener("127.0.0.1", port, datagram=True))


@pytest.mark.usefixtures("no_leak")
def test_the_others_are_closed_when_one_is_kept() -> None:
    with bound(listener()) as here:
        first, second = here.sockets
        here.keep(second)
        assert (first.fileno(), here.sockets) == (-1, [second])
        here.close()
        here.close()  # once more changes nothing
        assert second.fileno() == -1


@pytest.mark.parametrize("datagram", [False, True])
def test_a_unix_path_is_there_until_the_end(datagram: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with bound(Config(mode="listen", host=path, family="unix", datagram=datagram)) as here:
        here.keep(here.sockets[0])
        assert stat.S_ISSOCK(os.lstat(path).st_mode)
    assert os.listdir(tmp_path) == []
    with bound(Config(mode="listen", host=path, family="unix", datagram=datagram)):
        os.unlink(path)
        (tmp_path / "s").write_text("somebody else's")
    assert (tmp_path / "s").read_text() == "somebody else's"
    with pytest.raises(BindError, match="Address already in use"):
        binding(Config(mode="listen", host=path, family="unix", datagram=datagram))


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["stream", "datagram"])
def test_a_unix_path_is_taken_over_from_a_dead_socket_only(kind: socket.SocketKind, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    config = Config(mode="listen", host=path, family="unix", datagram=kind == DATAGRAM)
    with socket.socket(socket.AF_UNIX, kind) as living:
        living.bind(path)
        if kind == STREAM:
            living.listen()
        with pytest.raises(BindError, match=f"^listen on {path}: Address already in use$"):
            binding(config)
    with bound(config) as here:  # the path is still there
        os.unlink(path)
        here.close()
    (tmp_path / "s").mkdir()
    with pytest.raises(BindError, match="Address already in use"):
        binding(config)


def test_an_abstract_name_leaves_nothing_behind(tmp_path: Path) -> None:
    name = f"@{tmp_path}"
    for _ in range(2):
        with bound(Config(mode="listen", host=name, family="unix")) as here:
            assert here.sockets[0].getsockname() == os.fsencode(f"\0{tmp_path}")
            with pytest.raises(BindError, match=f"^listen on {name}: Address already in use$"):
                binding(Config(mode="listen", host=name, family="unix"))


def test_an_option_that_is_refused_ends_the_binding() -> None:
    with pytest.raises(PyncError, match="^set the TTL to 0: Invalid argument$"):
        binding(listener("127.0.0.1", socket=SocketOptions(ttl=0)))


# -- Options ---------------------------------------------------------------------------------------------------------

SOL, IP, IPV6 = socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6
OPTIONS: list[tuple[dict[str, Any], int, tuple[int, int], int]] = [
    ({"broadcast": True}, family, (SOL, socket.SO_BROADCAST), 1) for family in (FOUR, SIX)
]
OPTIONS += [({"debug": True}, family, (SOL, socket.SO_DEBUG), 1) for family in (FOUR, SIX)]
OPTIONS += [({"keepalive": True}, family, (SOL, socket.SO_KEEPALIVE), 1) for family in (FOUR, SIX)]
OPTIONS += [({"receive_buffer": 8000}, family, (SOL, socket.SO_RCVBUF), 16000) for family in (FOUR, SIX)]
OPTIONS += [({"send_buffer": 9000}, family, (SOL, socket.SO_SNDBUF), 18000) for family in (FOUR, SIX)]
OPTIONS += [
    ({"tos": 0x28}, FOUR, (IP, socket.IP_TOS), 0x28),
    ({"tos": 0x28}, SIX, (IPV6, socket.IPV6_TCLASS), 0x28),
    ({"ttl": 7}, FOUR, (IP, socket.IP_TTL), 7),
    ({"ttl": 7}, SIX, (IPV6, socket.IPV6_UNICAST_HOPS), 7),
    ({"min_ttl": 9}, FOUR, (IP, 21), 9),  # IP_MINTTL, which Python does not name
    ({"min_ttl": 9}, SIX, (IPV6, 73), 9),  # IPV6_MINHOPCOUNT
]


@pytest.mark.parametrize(
    ("facts", "family", "option", "value"),
    [pytest.param(*case, id=f"{next(iter(case[0]))}-{case[1].name}") for case in OPTIONS],  # type: ignore[attr-defined]
)
def test_an_option_that_was_asked_for_is_set_and_no_other(
    facts: dict[str, Any], family: int, option: tuple[int, int], value: int
) -> None:
    for datagram in (False, True):
        with contextlib.closing(new_socket(family, SocketOptions(**facts), datagram=datagram)) as sock:
            assert sock.getsockopt(*option) == value
            assert not sock.getblocking()
        with contextlib.closing(new_socket(family, SocketOptions(), datagram=datagram)) as sock:
            assert sock.getsockopt(*option) != value


@pytest.mark.usefixtures("no_leak")
@pytest.mark.parametrize(
    ("family", "facts", "line"),
    [
        (FOUR, {"ttl": 0}, "set the TTL to 0: Invalid argument"),
        (FOUR, {"ttl": 256}, "set the TTL to 256: Invalid argument"),
        (SIX, {"ttl": 256}, "set the TTL to 256: Invalid argument"),
        (FOUR, {"min_ttl": 256}, "set the minimum TTL to 256: Invalid argument"),
        (SIX, {"min_ttl": 256}, "set the minimum TTL to 256: Invalid argument"),
        (SIX, {"tos": 256}, "set the type of service to 256: Invalid argument"),
    ],
)
def test_an_option_that_is_refused_is_named(family: int, facts: dict[str, Any], line: str) -> None:
    with pytest.raises(ConnectError) as caught:
        new_socket(family, SocketOptions(**facts), datagram=False)
    assert str(caught.value) == line


def test_a_tcp_conversation_is_prompt_and_notices_a_vanished_peer() -> None:
    with server() as listening, socket.create_connection(listening.getsockname()) as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(SOL, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_what_is_no_tcp_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(FOUR, DATAGRAM) as udp, socket.socket() as closed:
        for sock in (ours, udp):
            tune(sock)
            assert sock.getsockopt(SOL, socket.SO_KEEPALIVE) == 0
        closed.detach()
        tune(closed)  # gone already: no failure


# -- From the command line to the wire ---------------------------------------------------------------------------------


@BOTH
def test_source_address_and_port_are_those_the_server_sees(family: int) -> None:
    host = "127.0.0.3" if family == FOUR else "::1"
    with free_port() as own, server(LOCALHOST[family]) as listening:  # held on another address: free on this one
        argv = ["-z", "-s", host, "-p", str(own), LOCALHOST[family], str(port_of(listening))]
        assert run([*PYNC, *argv]) == (0, b"", "")
        with listening.accept()[0] as conn:
            assert conn.getpeername()[:2] == (host, own)


@pytest.mark.parametrize("options", [(), ("-z",), ("-u",)])
def test_a_source_that_cannot_be_had_is_one_line_and_nothing_is_sent(options: tuple[str, ...]) -> None:
    with socket.socket(FOUR, DATAGRAM if "-u" in options else STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        if "-u" not in options:
            listening.listen()
        result = run([*PYNC, *options, "-s", "192.0.2.1", "127.0.0.1", str(port_of(listening))], b"hello")
        assert result == (1, b"", "pync: bind to 192.0.2.1:0: Cannot assign requested address\n")
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.recv(1) if "-u" in options else listening.accept()


@BOTH
def test_type_of_service_and_time_to_live_are_those_of_the_packets(family: int) -> None:
    level, wanted, told_by = (
        (IPV6, (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT), (socket.IPV6_TCLASS, socket.IPV6_HOPLIMIT))
        if family == SIX
        else (IP, (socket.IP_RECVTOS, getattr(socket, "IP_RECVTTL", 12)), (socket.IP_TOS, socket.IP_TTL))
    )
    with socket.socket(family, DATAGRAM) as sock:
        sock.bind((LOCALHOST[family], 0))
        sock.settimeout(DEADLINE)
        for option in wanted:
            sock.setsockopt(level, option, 1)
        argv = ["-u", "--send-only", "-T", "af11", "-M", "9", LOCALHOST[family], str(port_of(sock))]
        assert run([*PYNC, *argv], b"hello").status == 0
        facts = {kind: data[0] for _, kind, data in sock.recvmsg(100, 1000)[1]}
        assert [facts[kind] for kind in told_by] == [0x28, 9]


@BOTH
def test_packets_that_came_too_far_are_not_heard(family: int) -> None:
    host = LOCALHOST[family]
    with bound(listener(host, socket=SocketOptions(min_ttl=100))) as here:
        port = str(ends(here)[0][1])
        near = run([*PYNC, "-M", "120", "-z", "-w", "10", host, port])
        far = run([*PYNC, "-M", "90", "-zv", "-w", "0.3", host, port])
    assert near.status == 0
    assert (far.status, far.err) == (1, f"pync: connect to {host} port {port} (tcp) timed out\n")


SET = {
    "-b": r"SOL_SOCKET, SO_BROADCAST, \[1\]",
    "-D": r"SOL_SOCKET, SO_DEBUG, \[1\]",
    "--tcp-keepalive": r"SOL_SOCKET, SO_KEEPALIVE, \[1\]",
    "-I 4096": r"SOL_SOCKET, SO_RCVBUF, \[4096\]",
    "-O 8192": r"SOL_SOCKET, SO_SNDBUF, \[8192\]",
    "-T lowdelay": r"SOL_IP, IP_TOS, \[16\]|SOL_IPV6, IPV6_TCLASS, \[16\]",
    "-M 64": r"SOL_IP, IP_TTL, \[64\]|SOL_IPV6, IPV6_UNICAST_HOPS, \[64\]",
    "-m 1": r"SOL_IP, IP_MINTTL, \[1\]|SOL_IPV6, IPV6_MINHOPCOUNT, \[1\]|SOL_IPV6, 0x49.*, \[1\]",
}


@BOTH
@pytest.mark.parametrize("options", [("-w", "5"), ("-l", "-w", "0.1")], ids=["connect", "listen"])
def test_each_option_is_set_before_the_socket_is_used(family: int, options: tuple[str, ...], tmp_path: Path) -> None:
    """It ends by itself: connecting is refused, and listening is on an address that is not here."""
    host = LOCALHOST[family] if "-l" not in options else "192.0.2.77" if family == FOUR else "2001:db8::77"
    words = [word for option in SET for word in option.split()]
    with free_port() as port:
        trace = ["-qq", "-e", "trace=setsockopt,bind,connect", "-o", str(tmp_path / "trace")]
        result = run([require("strace"), *trace, *PYNC, *options, *words, host, str(port)])
    assert result.status == 1
    calls = (tmp_path / "trace").read_text().splitlines()
    used = next(
        number for number, call in enumerate(calls) if re.match(r"(bind|connect)\(\d+, \{sa_family=AF_INET", call)
    )
    found = [next((n for n, call in enumerate(calls) if re.search(SET[option], call)), used) for option in SET]
    assert all(number < used for number in found), calls
