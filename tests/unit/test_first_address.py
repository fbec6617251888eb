"""Binding by a `Behaviour`: the first address alone, both families on one socket, shared ports, and paths."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from doubles import Clock, a_context
from loopback import Names, bound, ends, listener, port_of, server

from pync.behaviour import Behaviour
from pync.errors import BindError
from pync.events import Address
from pync.listener_events import BindRetried
from pync.net.bind import bind

if TYPE_CHECKING:
    from pathlib import Path

    from pync.events import Event
    from pync.loop.kernel import Loop

FIRST = Behaviour(first_address=True)
DATAGRAMS = pytest.mark.parametrize("datagram", [False, True], ids=["tcp", "udp"])


@DATAGRAMS
async def test_the_first_address_that_can_be_bound_is_the_only_one(loop: Loop, names: Names, datagram: bool) -> None:
    names["many.test"] = ["192.0.2.7", "127.0.0.2", "::1"]
    async with bound(loop, listener("many.test", datagram=datagram, behaviour=FIRST)) as here:
        assert [host for host, _ in ends(here)] == ["127.0.0.2"]


async def test_the_last_address_gives_the_reason_if_none_can_be_bound(loop: Loop, names: Names) -> None:
    names["many.test"] = ["127.0.0.1", "192.0.2.7"]
    with server() as taken:
        port = port_of(taken)
        with pytest.raises(BindError, match="Cannot assign requested address") as caught:
            await bind(a_context(loop, listener("many.test", port, behaviour=FIRST)))
    assert caught.value.facts["address"] == Address(host="192.0.2.7", port=port)


@DATAGRAMS
async def test_a_socket_of_both_families_is_asked_for(loop: Loop, datagram: bool) -> None:
    config = listener(family="ipv6", datagram=datagram, behaviour=FIRST.but(dual_stack=True))
    async with bound(loop, config) as here:
        (sock,) = here.sockets
        assert not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    async with bound(loop, listener(family="ipv6", datagram=datagram, behaviour=FIRST)) as here:
        assert here.sockets[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


@pytest.mark.needs("reuseport")
@DATAGRAMS
async def test_a_shared_port_can_be_bound_twice(loop: Loop, datagram: bool) -> None:
    config = listener("127.0.0.1", datagram=datagram, behaviour=FIRST.but(reuse_port=True))
    async with bound(loop, config) as here, bound(loop, config.but(ports=(ends(here)[0][1],))) as again:
        assert ends(here) == ends(again)
        with pytest.raises(BindError, match="Address already in use"):
            await bind(a_context(loop, config.but(ports=(ends(here)[0][1],), behaviour=FIRST)))


async def test_the_backlog_is_as_long_as_asked_for(loop: Loop) -> None:
    async with bound(loop, listener("127.0.0.1", behaviour=FIRST.but(backlog=1))) as here:
        clients = [socket.socket() for _ in range(3)]
        try:
            for client in clients:
                client.settimeout(0.2)
            for client in clients[:2]:  # the kernel takes one more than the backlog
                client.connect(ends(here)[0])
            with pytest.raises(TimeoutError):
                clients[2].connect(ends(here)[0])
        finally:
            for client in clients:
                client.close()


async def test_a_port_in_use_is_tried_again_after_pauses(loop: Loop, clock: Clock) -> None:
    events: list[Event] = []
    with server() as taken:
        config = listener("127.0.0.1", port_of(taken), behaviour=FIRST.but(bind_tries=4))
        with pytest.raises(BindError, match="Address already in use"):
            await bind(a_context(loop, config, events.append))
        address = Address(host="127.0.0.1", port=port_of(taken))
    assert clock.now == 1008
    assert events == [BindRetried(address=address, why="Address already in use", pause=2.0)] * 4


async def test_a_port_that_becomes_free_meanwhile_is_bound(loop: Loop, clock: Clock) -> None:
    with server() as taken:
        config = listener("127.0.0.1", port_of(taken), behaviour=FIRST.but(bind_tries=4))
        here = await bind(a_context(loop, config, lambda event: taken.close()))
    here.close()
    assert clock.now == 1002


async def test_another_failure_than_a_port_in_use_is_final(loop: Loop, clock: Clock) -> None:
    events: list[Event] = []
    config = listener("192.0.2.7", behaviour=FIRST.but(bind_tries=4))
    with pytest.raises(BindError, match="Cannot assign requested address"):
        await bind(a_context(loop, config, events.append))
    assert (clock.now, events) == (1000, [])


@DATAGRAMS
async def test_a_path_may_be_left_behind_and_is_taken_over(
    loop: Loop, tmp_path: Path, no_leak: None, datagram: bool
) -> None:
    path = tmp_path / "path"
    config = listener(str(path), family="unix", datagram=datagram, behaviour=Behaviour(leaves_paths=True))
    for _ in range(2):
        (await bind(a_context(loop, config))).close()
        assert path.is_socket()
    (await bind(a_context(loop, config.but(behaviour=Behaviour())))).close()
    assert not path.exists()


async def test_an_empty_path_is_no_path(loop: Loop) -> None:
    with pytest.raises(BindError, match="Invalid argument"):
        await bind(a_context(loop, listener("", family="unix")))
