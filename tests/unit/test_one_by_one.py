"""Connecting by a `Behaviour`: addresses in order, probes of UDP, and the own end of a connection.

The sockets are real and on loopback, the resolver is played (`names`), and time is virtual where a test measures it.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from doubles import Clock, a_context
from harness import DEADLINE, free_port
from loopback import DATAGRAM, Names, black_hole, dialled, failure, peer, port_of, reported, server, without_ipv6

import pync.net.one_by_one
from pync.behaviour import Behaviour, DatagramProbes
from pync.connections.outgoing import open_connection
from pync.endpoints.datagrams import DatagramSocket
from pync.errors import AddressError, BindError, ConnectError, PortRefused, PyncError, TimedOut
from pync.events import Address, Connected, ConnectFailed
from pync.listener_events import BindRetried, Listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from pync.config import Config
    from pync.events import Event
    from pync.loop.kernel import Loop

IN_ORDER = Behaviour(addresses="in order")
PROBES = DatagramProbes(payload=b"X", at_once=2, later=3, interval=1.0)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A socket that receives datagrams."""
    with socket.socket(socket.AF_INET, DATAGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE)
        yield sock


async def test_the_addresses_are_tried_in_the_resolvers_order(loop: Loop, names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "127.0.0.3", "::1", "127.0.0.1", "127.0.0.4"]
    with server() as listener:
        sock, events = await dialled(loop, peer("many.test", port_of(listener), behaviour=IN_ORDER))
        sock.close()
    tried = [(ConnectFailed, host) for host in ("127.0.0.2", "127.0.0.3", "::1")]
    assert reported(events) == [*tried, (Connected, "127.0.0.1")]


async def test_the_first_address_may_be_the_only_one_that_is_tried(loop: Loop, names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "127.0.0.1"]
    with server() as listener:
        error = await failure(loop, peer("many.test", port_of(listener), behaviour=Behaviour(addresses="first")))
    assert isinstance(error, ConnectError)
    assert error.why == "Connection refused"


async def test_an_address_whose_family_this_system_lacks_is_passed_over_in_silence(
    loop: Loop, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names["both.test"] = ["::1", "127.0.0.1"]
    without_ipv6(monkeypatch)
    with server() as listener:
        sock, events = await dialled(loop, peer("both.test", port_of(listener), behaviour=IN_ORDER))
        sock.close()
    assert reported(events) == [(Connected, "127.0.0.1")]


async def test_a_race_stays_a_race_and_has_one_limit(loop: Loop, clock: Clock, names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "127.0.0.3"]
    with black_hole("0.0.0.0") as port:
        context = a_context(loop, peer("many.test", port, connect_timeout=2.0, behaviour=Behaviour()))
        with pytest.raises(TimedOut):
            await open_connection(context, port)
    assert clock.now == 1002


async def test_each_address_has_the_limit_for_itself(loop: Loop, clock: Clock, names: Names) -> None:
    names["many.test"] = ["127.0.0.2", "127.0.0.3"]
    events: list[Event] = []
    with black_hole("0.0.0.0") as port:
        config = peer("many.test", port, connect_timeout=2.0, behaviour=IN_ORDER)
        with pytest.raises(TimedOut, match="timed out"):
            await open_connection(a_context(loop, config, events.append), port)
    assert clock.now == 1004
    assert [event.timed_out for event in events if isinstance(event, ConnectFailed)] == [True, True]


async def test_a_connection_is_not_tuned(loop: Loop) -> None:
    with server() as listener:
        sock, _ = await dialled(loop, peer(port=port_of(listener), behaviour=IN_ORDER))
        with sock:
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- Our own end


@pytest.mark.needs("reuseport")
@pytest.mark.parametrize(("behaviour", "reuses"), [(IN_ORDER, 0), (Behaviour(reuse_port=True), 1)])
async def test_our_own_port_is_shared_with_none_or_with_all(loop: Loop, behaviour: Behaviour, reuses: int) -> None:
    with server() as listener:
        config = peer(port=port_of(listener), source_host="127.0.0.1", source_port=0, behaviour=behaviour)
        sock, _ = await dialled(loop, config)
        with sock:
            for option in socket.SO_REUSEADDR, socket.SO_REUSEPORT:
                assert sock.getsockopt(socket.SOL_SOCKET, option) == reuses


async def test_our_own_address_has_to_be_of_the_family_of_the_peers(loop: Loop) -> None:
    with server() as listener:
        error = await failure(loop, peer(port=port_of(listener), source_host="::1", behaviour=IN_ORDER))
    assert isinstance(error, AddressError)
    assert error.facts["host"] == "::1"


async def test_a_name_of_our_own_has_an_address_for_each_family(loop: Loop, names: Names) -> None:
    names["own.test"] = ["::1", "127.0.0.1"]
    names["both.test"] = ["::1", "127.0.0.1"]
    with server() as listener:
        config = peer("both.test", port_of(listener), source_host="own.test", behaviour=IN_ORDER)
        sock, _ = await dialled(loop, config)
        with sock:
            assert sock.getsockname()[0] == "127.0.0.1"


async def test_a_port_in_use_is_tried_again_after_pauses(loop: Loop, clock: Clock) -> None:
    events: list[Event] = []
    with server() as listener, server() as taken:
        behaviour = Behaviour(addresses="first", bind_tries=4)
        config = peer(port=port_of(listener), source_port=port_of(taken), source_host="127.0.0.1", behaviour=behaviour)
        with pytest.raises(BindError) as caught:
            await open_connection(a_context(loop, config, events.append), port_of(listener))
        address = Address(host="127.0.0.1", port=port_of(taken))
    assert clock.now == 1008
    assert caught.value.facts["address"] == address
    assert events == [BindRetried(address=address, why="Address already in use", pause=2.0)] * 4


# -- Probes


def probing(port: int, probes: DatagramProbes = PROBES) -> Config:
    return peer(port=port, datagram=True, behaviour=Behaviour(addresses="in order", probes=probes))


async def test_probes_are_sent_before_the_port_is_reported(loop: Loop, clock: Clock, receiver: socket.socket) -> None:
    sock, events = await dialled(loop, probing(port_of(receiver)))
    sock.close()
    assert clock.now == 1003
    assert [receiver.recv(10) for _ in range(5)] == [b"X"] * 5
    assert reported(events) == [(Connected, "127.0.0.1")]
    receiver.settimeout(0)
    with pytest.raises(BlockingIOError):
        receiver.recv(10)


@pytest.mark.parametrize("at_once", [2, 1])
async def test_a_port_that_refuses_a_probe_is_closed(loop: Loop, clock: Clock, no_leak: None, at_once: int) -> None:
    events: list[Event] = []
    with free_port(DATAGRAM) as port:
        config = probing(port, PROBES.but(at_once=at_once))
        with pytest.raises(PortRefused, match=f"probe 127.0.0.1:{port}: Connection refused"):
            await open_connection(a_context(loop, config, events.append), port)
    assert clock.now == 1000 + (at_once == 1)
    assert reported(events) == [(ConnectFailed, "127.0.0.1")]


async def test_there_may_be_no_probe(loop: Loop, receiver: socket.socket) -> None:
    sock, _ = await dialled(loop, probing(port_of(receiver), PROBES.but(at_once=0, later=0)))
    sock.close()
    receiver.settimeout(0)
    with pytest.raises(BlockingIOError):
        receiver.recv(10)


async def test_a_connection_by_tcp_may_measure_the_time_for_a_refusal(
    loop: Loop, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server() as listener:
        monkeypatch.setattr(pync.net.one_by_one, "CLOSED_PORT", port_of(listener))
        sock, _ = await dialled(loop, probing(port_of(receiver), PROBES.but(at_once=1, later=1, interval=None)))
        sock.close()
        with listener.accept()[0] as asked:
            assert asked.recv(1) == b""
    assert [receiver.recv(10) for _ in range(2)] == [b"X"] * 2


# -- Unix datagrams


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that receives unix datagrams."""
    with socket.socket(socket.AF_UNIX, DATAGRAM) as sock:
        sock.bind(str(tmp_path / "mailbox"))
        sock.settimeout(DEADLINE)
        yield sock


def to_path(path: object, **facts: Any) -> Config:
    return peer(str(path), family="unix", datagram=True, **facts)


async def connected_to(loop: Loop, config: Config) -> tuple[DatagramSocket, list[Event]]:
    events: list[Event] = []
    client = await open_connection(a_context(loop, config, events.append), None)
    assert isinstance(client, DatagramSocket)
    return client, events


async def test_our_own_end_is_in_a_directory_that_only_we_may_enter(loop: Loop, mailbox: socket.socket) -> None:
    client, events = await connected_to(loop, to_path(mailbox.getsockname(), behaviour=Behaviour(temporary_path=True)))
    own = client.sock.getsockname()
    directory = os.path.dirname(own)
    assert events[0] == Listening(address=Address(host=own), transport="unix")
    assert os.path.dirname(directory) == "/tmp"
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    client.close()
    assert not os.path.exists(directory)


async def test_a_client_that_cannot_connect_leaves_no_directory(loop: Loop, tmp_path: Path, no_leak: None) -> None:
    events: list[Event] = []
    config = to_path(tmp_path / "nothing", behaviour=Behaviour(temporary_path=True))
    with pytest.raises(ConnectError, match="No such file"):
        await open_connection(a_context(loop, config, events.append), None)
    (own,) = events
    assert isinstance(own, Listening)
    assert not os.path.exists(os.path.dirname(own.address.host))


@pytest.mark.parametrize("leaves", [True, False])
async def test_our_named_end_may_be_left_behind_and_is_taken_over(
    loop: Loop, mailbox: socket.socket, tmp_path: Path, no_leak: None, leaves: bool
) -> None:
    own = tmp_path / "own"
    config = to_path(
        mailbox.getsockname(), source_host=str(own), behaviour=Behaviour(temporary_path=True, leaves_paths=leaves)
    )
    for _ in range(2):
        client, _ = await connected_to(loop, config)
        client.sock.send(b"hello")
        assert mailbox.recvfrom(10) == (b"hello", str(own))
        client.close()
        assert own.exists() == leaves


async def test_our_named_end_replaces_no_file_and_no_living_socket(
    loop: Loop, mailbox: socket.socket, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for path in str(file), mailbox.getsockname():
        config = to_path(mailbox.getsockname(), source_host=path, behaviour=Behaviour(leaves_paths=True))
        with pytest.raises(BindError, match="Address already in use") as caught:
            await connected_to(loop, config)
        assert caught.value.facts["address"] == Address(host=path)
    assert file.read_text() == "precious"


@pytest.mark.needs("linux")
async def test_our_end_may_have_an_abstract_name_or_none(loop: Loop, mailbox: socket.socket) -> None:
    path = mailbox.getsockname()
    name = f"@pync-{os.getpid()}"
    client, _ = await connected_to(loop, to_path(path, source_host=name, behaviour=Behaviour(leaves_paths=True)))
    client.sock.send(b"hello")
    assert mailbox.recvfrom(10)[1] == b"\0" + name[1:].encode()
    client.close()
    client, events = await connected_to(loop, to_path(path, behaviour=Behaviour()))
    client.close()
    assert [type(event) for event in events] == [Connected]


async def test_a_path_of_a_stream_is_connected_to(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "stream")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = await open_connection(a_context(loop, peer(path, family="unix", behaviour=IN_ORDER)), None)
        client.close()
    error: PyncError = await failure(loop, peer(path, family="unix", behaviour=IN_ORDER))
    assert error.why == "Connection refused"
