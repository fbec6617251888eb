"""Connecting to the best address of a name, and the address that a connection comes from.

The sockets are real and on loopback. Only the resolver is played (`names`), so that a name has the addresses that a
test wants, and time is virtual where a test measures it.
"""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from doubles import Clock, a_context
from harness import free_port
from hypothesis import given
from hypothesis import strategies as st
from loopback import (
    BOTH,
    DATAGRAM,
    FOUR,
    LOCALHOST,
    SIX,
    STREAM,
    Names,
    beside_a_black_hole,
    black_hole,
    dialled,
    failure,
    peer,
    port_of,
    reported,
    server,
    whole,
    without_ipv6,
)

import pync.net.attempt
import pync.net.bind
import pync.net.happy_eyeballs
from pync import system
from pync.config import Config, SocketOptions
from pync.errors import AddressError, BindError, ConnectError, TimedOut
from pync.events import Connected, ConnectFailed
from pync.loop.kernel import Loop
from pync.net.attempt import new_socket
from pync.net.dial import dial
from pync.net.happy_eyeballs import race, take_turns

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pync.events import Event


@given(st.lists(st.tuples(st.sampled_from([FOUR, SIX]), st.integers())))
def test_the_families_take_turns(found: list[tuple[int, int]]) -> None:
    order = take_turns(found)
    for family in (FOUR, SIX):
        assert [item for item in order if item[0] == family] == [item for item in found if item[0] == family]
    assert order[:1] == found[:1]
    paired = 2 * min(sum(item[0] == family for item in found) for family in (FOUR, SIX))
    assert all(order[number][0] != order[number + 1][0] for number in range(paired - 1))


async def test_every_address_is_tried(loop: Loop, clock: Clock, names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"]
    with server() as listener:
        sock, events = await dialled(loop, peer("many.test", port_of(listener)))
        with sock, listener.accept()[0]:
            assert sock.getpeername() == listener.getsockname()
    order = ["127.0.0.2", "::1", "127.0.0.3"]
    assert reported(events) == [*((ConnectFailed, host) for host in order), (Connected, "127.0.0.1")]
    assert clock.now == 1000, "none waited for another"


async def test_an_address_that_is_passed_over_still_takes_its_familys_turn(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def attempt(_: object, family: int, name: str, own: object) -> tuple[str, str]:
        tried.append(name)
        raise OSError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(pync.net.happy_eyeballs, "attempt", attempt)
    found: list[tuple[int, Any]] = [(SIX, "first"), (SIX, "second"), (FOUR, "third")]
    with pytest.raises(OSError, match="refused"):
        await race(a_context(loop, peer("h", 1)), found, None, ["first"])
    assert tried == ["third", "second"]


async def test_of_a_host_and_a_source_without_addresses_the_host_is_reported(real_loop: Loop) -> None:
    error = await failure(real_loop, peer("host", 80, source_host="source", numeric=True))
    assert error.what == "host host"


@pytest.mark.usefixtures("no_leak")
async def test_when_none_answers_each_is_reported_and_the_last_is_why(real_loop: Loop, names: Names) -> None:
    names["many.test"] = ["127.0.0.1", "::1", "127.0.0.2"]
    events: list[Event] = []
    with free_port() as port, pytest.raises(ConnectError) as caught:
        await dial(a_context(real_loop, peer("many.test", port), events.append), port)
    assert str(caught.value) == f"connect to many.test port {port} (tcp) failed: Connection refused"
    assert reported(events) == [(ConnectFailed, host) for host in ("127.0.0.1", "::1", "127.0.0.2")]


@pytest.mark.usefixtures("no_leak")
async def test_the_next_attempt_begins_a_quarter_of_a_second_later_and_the_loser_is_closed(
    loop: Loop, clock: Clock, names: Names
) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    with beside_a_black_hole("::1") as listener:
        open_before = len(os.listdir("/proc/self/fd"))
        sock, events = await dialled(loop, peer("both.test", port_of(listener)))
        with sock, listener.accept()[0]:
            assert len(os.listdir("/proc/self/fd")) <= open_before + 2
            assert sock.family == SIX
    assert clock.now == 1000.25
    assert reported(events) == [(Connected, "::1")]


async def test_a_failure_begins_the_next_attempt_at_once(loop: Loop, clock: Clock, names: Names) -> None:
    names["three.test"] = ["127.0.0.1", "::1", "127.0.0.2"]
    with beside_a_black_hole("127.0.0.2") as listener:
        sock, events = await dialled(loop, peer("three.test", port_of(listener)))
        with sock:
            assert sock.getpeername()[0] == "127.0.0.2"
    # The second waits for the first. It is refused, and the third does not wait for it.
    assert clock.now == 1000.25
    assert reported(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.2")]


async def test_an_attempt_that_was_overtaken_may_still_win(real_loop: Loop, names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    events: list[Event] = []

    def report(event: Event) -> None:
        events.append(event)
        if isinstance(event, ConnectFailed):  # the second attempt has failed: make room for the first
            crowded.accept()[0].close()

    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as crowded,
        socket.create_connection(crowded.getsockname()),
    ):
        port = port_of(crowded)
        sock, _ = await dial(a_context(real_loop, peer("both.test", port), report), port)
        with whole(sock) as connected:
            assert connected.getpeername() == crowded.getsockname()
    assert reported(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.1")]


@pytest.mark.usefixtures("no_leak")
async def test_of_two_connections_made_in_one_moment_one_is_closed(
    loop: Loop, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    made: list[socket.socket] = []

    async def attempt(_: object, family: int, name: Any, own: Any) -> tuple[socket.socket, Any]:
        await loop.sleep(0.5 if family == FOUR else 0.25)  # the second attempt begins a quarter of a second later
        made.append(socket.socket(family))
        return made[-1], name

    monkeypatch.setattr(pync.net.happy_eyeballs, "attempt", attempt)
    sock, events = await dialled(loop, peer("both.test", 80))
    with sock:
        assert [other.fileno() for other in made] == [-1, -1], "one is closed, and the other has become `sock`"
    assert reported(events) == [(Connected, "127.0.0.1")]


@pytest.mark.usefixtures("no_leak")
async def test_a_limit_is_for_all_addresses_together(loop: Loop, clock: Clock, names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    with black_hole("0.0.0.0") as port:
        error = await failure(loop, peer("both.test", port, connect_timeout=2.0))
    assert isinstance(error, TimedOut)
    assert str(error) == f"connect to both.test port {port} (tcp): timed out"
    assert clock.now == 1002


async def test_a_system_without_a_family_uses_the_other(
    real_loop: Loop, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    without_ipv6(monkeypatch)
    with server() as listener:
        sock, events = await dialled(real_loop, peer("both.test", port_of(listener)))
        sock.close()
    assert reported(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.1")]
    with pytest.raises(ConnectError, match="Address family not supported by protocol"):
        await dialled(real_loop, peer("::1", 80))


async def test_a_lack_of_descriptors_is_no_lack_of_an_address(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]

    def refusing(*_: Any) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    events: list[Event] = []
    monkeypatch.setattr(pync.net.attempt, "socket", SimpleNamespace(**{**vars(system.socket), "socket": refusing}))
    with pytest.raises(ConnectError, match="^open a socket: Too many open files$"):
        await dial(a_context(loop, peer("both.test", 80), events.append), 80)
    assert events == []


@BOTH
async def test_the_source_is_ours_to_choose(real_loop: Loop, family: int) -> None:
    host = LOCALHOST[family]
    with free_port() as own:
        pass
    with server(host) as listener:
        facts = {"source_host": host, "source_port": own}
        sock, _ = await dialled(real_loop, peer(host, port_of(listener), **facts))
        with sock, listener.accept()[0] as conn:
            assert conn.getpeername()[:2] == (host, own)


async def test_the_source_may_be_a_name_with_an_address_in_each_family(real_loop: Loop, names: Names) -> None:
    names["own.test"] = ["::1", "127.0.0.9", "127.0.0.8"]
    for host in LOCALHOST.values():
        with server(host) as listener:
            sock, _ = await dialled(real_loop, peer(host, port_of(listener), source_host="own.test"))
            with sock:
                assert sock.getsockname()[0] == {"::1": "::1", "127.0.0.1": "127.0.0.9"}[host]


async def test_an_address_of_the_sources_other_family_is_passed_over(real_loop: Loop, names: Names) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    with server() as listener:
        sock, events = await dialled(real_loop, peer("both.test", port_of(listener), source_host="127.0.0.7"))
        with sock:
            assert sock.getsockname()[0] == "127.0.0.7"
    assert reported(events) == [(ConnectFailed, "::1"), (Connected, "127.0.0.1")]
    with free_port() as port:
        error = await failure(real_loop, peer("::1", port, source_host="127.0.0.7"))
        assert "the source address is of the other family" in str(error)


@pytest.mark.usefixtures("no_leak")
async def test_a_source_that_cannot_be_had_is_fatal(real_loop: Loop, names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    with server() as listener, server() as taken:
        error = await failure(real_loop, peer("both.test", port_of(listener), source_port=port_of(taken)))
        assert isinstance(error, BindError)
        assert str(error) == f"bind to 0.0.0.0:{port_of(taken)}: Address already in use"
        error = await failure(real_loop, peer("127.0.0.1", port_of(listener), source_host="192.0.2.1"))
        assert str(error) == "bind to 192.0.2.1:0: Cannot assign requested address"


async def test_a_source_without_an_address_is_an_error(real_loop: Loop, names: Names) -> None:
    names["six.test"] = ["::1"]
    error = await failure(real_loop, peer("127.0.0.1", 80, source_host="six.test", family="ipv4"))
    assert isinstance(error, AddressError)
    assert str(error) == "host six.test: no address"


@pytest.mark.parametrize("second", ["::1", "127.0.0.2"])
async def test_two_attempts_can_share_one_source_port(loop: Loop, names: Names, second: str) -> None:
    names["both.test"] = ["127.0.0.1", second]
    with free_port() as own:
        pass
    with beside_a_black_hole(second) as listener:
        sock, _ = await dialled(loop, peer("both.test", port_of(listener), source_port=own))
        with sock:
            assert sock.getpeername()[0] == second
            assert port_of(sock) == own


async def test_a_source_port_can_be_used_again_at_once(real_loop: Loop) -> None:
    with free_port() as own:
        pass
    for _ in range(2):
        with server() as listener:
            sock, _ = await dialled(real_loop, peer("127.0.0.1", port_of(listener), source_port=own))
            sock.close()  # the end that closes first is the one that the system keeps for a while
            with listener.accept()[0] as conn:
                assert conn.recv(1) == b""


@pytest.mark.usefixtures("no_leak")
@pytest.mark.parametrize("datagram", [False, True])
@BOTH
async def test_meeting_oneself_is_being_refused(real_loop: Loop, family: int, datagram: bool) -> None:
    with free_port(DATAGRAM if datagram else STREAM) as own:
        pass
    host = LOCALHOST[family]
    error = await failure(real_loop, peer(host, own, source_host=host, source_port=own, datagram=datagram))
    assert error.why == "Connection refused"


async def test_a_connection_that_breaks_at_once_was_a_connection(
    real_loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(socket.socket):
        def getpeername(self) -> Any:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    def broken(family: int, config: Config) -> socket.socket:
        return Broken(fileno=new_socket(family, config).detach())

    monkeypatch.setattr(pync.net.attempt, "new_socket", broken)
    with server() as listener:
        sock, events = await dialled(real_loop, peer("127.0.0.1", port_of(listener)))
        sock.close()
    assert reported(events) == [(Connected, "127.0.0.1")]


async def test_a_datagram_socket_is_connected_and_sends_nothing(real_loop: Loop) -> None:
    with socket.socket(FOUR, DATAGRAM) as other:
        other.bind(("127.0.0.1", 0))
        sock, events = await dialled(real_loop, peer("127.0.0.1", port_of(other), datagram=True))
        with sock:
            assert sock.getpeername() == other.getsockname()
            assert events[-1] == Connected(host="127.0.0.1", address=events[-1].address, transport="udp")  # type: ignore[attr-defined]
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(1)


async def test_a_unix_client_waits_for_a_place_in_the_backlog(loop: Loop, clock: Clock, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(path)
        listener.listen(0)
        other.connect(path)
        error = await failure(loop, peer(path, family="unix", connect_timeout=1.0))
        assert str(error) == f"connect to {path}: timed out"
        assert clock.now == pytest.approx(1001)
        listener.accept()[0].close()
        sock, events = await dialled(loop, peer(path, family="unix"))
        sock.close()
        assert reported(events) == [(Connected, path)]


async def test_a_unix_datagram_client_has_an_end_of_its_own(real_loop: Loop, tmp_path: Path) -> None:
    path, own = str(tmp_path / "s"), str(tmp_path / "own")
    with socket.socket(socket.AF_UNIX, DATAGRAM) as other:
        other.bind(path)
        for source, expected in (None, bytes), (own, str):
            sock, _ = await dialled(real_loop, peer(path, family="unix", datagram=True, source_host=source))
            with sock:
                assert isinstance(sock.getsockname(), expected)
    assert isinstance(await failure(real_loop, peer(path, family="unix", datagram=True, source_host=own)), BindError)
    os.unlink(own)
    os.unlink(path)
    assert isinstance(await failure(real_loop, peer(path, family="unix", datagram=True, source_host=own)), ConnectError)
    assert os.listdir(tmp_path) == []


async def test_an_option_that_is_refused_ends_the_race(real_loop: Loop, names: Names) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    error = await failure(real_loop, peer("both.test", 80, socket=SocketOptions(ttl=0)))
    assert isinstance(error, ConnectError)
    assert str(error) == "set the TTL to 0: Invalid argument"
