"""Addresses of groups, and the wait for the answers of their members."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from doubles import END, Clock, MemorySink, MemorySource, a_context, play

from pync.config import Ending
from pync.endpoints.groups import GroupSocket, is_multicast
from pync.endpoints.stdio import Stdio
from pync.relay.flow import Flow
from pync.relay.rules import Conversation

if TYPE_CHECKING:
    from typing import Any

    from conformance import Bench
    from doubles import Given

    from pync.loop.kernel import Loop


@pytest.mark.parametrize("host", ["224.0.0.1", "239.255.255.255", "ff02::1", "ff02::1%eth0", "ff15::9"])
def test_a_group_is_known_by_its_address(host: str) -> None:
    assert is_multicast((host, 1))


@pytest.mark.parametrize(
    "name",
    [("223.255.255.255", 1), ("240.0.0.1", 1), ("255.255.255.255", 1), ("fe80::1", 1), (2, 1), "/path", b"\0x", ""],
)
def test_other_addresses_are_no_groups(name: Any) -> None:
    assert not is_multicast(name if name != (2, 1) else ("2", 1))


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


async def test_what_any_member_sends_is_read_and_the_group_is_written_to(real_loop: Bench) -> None:
    near = bound()
    with bound() as group, bound() as member, closing(GroupSocket(real_loop, near, group.getsockname())) as endpoint:
        assert await endpoint.write(b"question") == 8
        assert group.recvfrom(100) == (b"question", near.getsockname())
        member.sendto(b"one", near.getsockname())
        group.sendto(b"two", near.getsockname())
        assert [await endpoint.read(), await endpoint.read()] == [b"one", b"two"]
        for word in (b"three ", b"four"):
            member.sendto(word, near.getsockname())
        assert await endpoint.read_all() == b"three four"


@pytest.mark.parametrize(
    ("script", "received", "seconds"),
    [
        ([], b"", 3),
        ([1.0, b"a"], b"a", 4),
        ([1.0, b"a", 2.5, b"b", 2.75, b"c", 3.25, b"late"], b"abc", 6.25 + 3),
    ],
)
def test_a_client_of_a_group_leaves_when_no_member_has_answered_for_its_wait(
    script: list[Given], received: bytes, seconds: float
) -> None:
    clock = Clock()
    sink: list[MemorySink] = []

    async def main(loop: Loop) -> None:
        ending = Ending(answer_wait=3.0, idle_timeout=3.0)
        context = a_context(loop, mode="connect", ending=ending, datagram=True)
        near = bound()
        with closing(GroupSocket(loop, near, ("239.1.2.3", 9))) as peer:
            sink.append(MemorySink(loop))
            source = MemorySource(loop, b"ask", END)
            sending, receiving = Flow(loop, source, MemorySink(loop)), Flow(loop, MemorySource(loop, *script), sink[0])
            await Conversation(context, peer, Stdio(source, sink[0]), sending, receiving).run()

    play(main, clock)
    assert (sink[0].data, clock.now - 1000) == (received, seconds)
