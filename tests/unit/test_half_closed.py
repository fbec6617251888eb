"""Clients that may have closed their sockets: they go when their place is needed, the first first, and no others do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from doubles import StubPeer
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints.client_queues import Queue, Queues
from pync.endpoints.half_closed import HalfClosed, probe

if TYPE_CHECKING:
    from pync.loop.kernel import Loop

MOST = 4


class Member(Queue):
    """A client of a server, which it leaves when it is cut off."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(server.queues, peer := StubPeer(server.loop))
        peer.sock = server.sock
        self.server = server
        self.number = number

    def stalled(self, why: str) -> None:
        assert why == "it has half-closed, and its place is needed"
        del self.server.clients[self]


class Server:
    """Clients that come, half-close, leave and receive."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sock = socket.socket()
        self.queues = Queues(loop)
        self.clients: dict[Member, None] = {}
        self.half_closed = HalfClosed(self.clients, MOST)

    def come(self, number: int) -> None:
        self.clients[Member(self, number)] = None
        self.half_closed.make_room()

    def leave(self, member: Member) -> None:
        del self.clients[member]
        self.half_closed.discard(member)


@given(st.lists(st.tuples(st.sampled_from(["come", "half-close", "leave", "send"]), st.integers(0, 2 * MOST))))
async def test_a_full_server_has_no_client_that_half_closed_and_was_sent_nothing_since(
    loop: Loop, steps: list[tuple[str, int]]
) -> None:
    server = Server(loop)
    expected: dict[int, bool] = {}  # whether each client has half-closed and was sent nothing since
    with server.sock:
        for number, (step, which) in enumerate(steps):
            members = [*server.clients]
            member = members[which % len(members)] if members else None
            if step == "come" and len(members) < MOST:
                server.come(number)
                expected[number] = False
            elif step == "half-close" and member and not expected[member.number]:
                del expected[member.number]
                expected[member.number] = True  # the last one of them
                server.half_closed.add(member)
            elif step == "leave" and member:
                server.leave(member)
                del expected[member.number]
            elif step == "send":
                server.half_closed.sent_to_all()
                expected = dict.fromkeys(expected, False)
            while len(expected) >= MOST and any(expected.values()):
                del expected[next(number for number, silent in expected.items() if silent)]
            assert {member.number for member in server.clients} == {*expected}


async def test_a_client_that_has_left_before_its_end_is_noticed_is_ignored(loop: Loop) -> None:
    server = Server(loop)
    with server.sock:
        server.half_closed.add(Member(server, 1))
    assert not server.half_closed.silent


def test_only_a_connection_over_the_network_is_probed() -> None:
    ends = socket.socketpair()
    for end in ends:
        with end:
            probe(end, 5)
    with socket.socket() as sock:
        probe(sock, 5)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
