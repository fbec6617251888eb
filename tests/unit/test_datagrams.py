"""What is special to datagrams: whose they are, for which peers there is room, and what a peer's end leaves behind."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from conformance import LARGEST, Bench, human, same, turns
from doubles import raised
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints import Source, datagram_server, segments
from pync.endpoints.datagram_server import Crowd, DatagramPeer, DatagramServer
from pync.endpoints.datagrams import DatagramSocket, remove_own_path
from pync.endpoints.mailbox import DATAGRAM_OVERHEAD, Mailbox, cost
from pync.errors import PeerLost
from pync.listener_events import Denied
from pync.loop.tasks import Condition
from pync.relay.flow import Flow
from pync.system import sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from typing import Any

    from doubles import Clock

    from pync.events import Event
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work


@contextmanager
def udp(count: int) -> Iterator[list[socket.socket]]:
    """Bound UDP sockets, `count` of them."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield sockets


def unix(path: Path | str | None = None) -> socket.socket:
    """A unix datagram socket, with a name or without."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if path:
        sock.bind(str(path))
    sock.setblocking(False)
    return sock


# -- One peer ----------------------------------------------------------------------------------------------------


async def test_what_strangers_send_or_had_sent_is_left_out(real_loop: Bench) -> None:
    with udp(3) as (near, far, stranger):
        stranger.sendto(b"sent before", near.getsockname())
        far.sendto(b"one", near.getsockname())
        near.connect(far.getsockname())
        stranger.sendto(b"sent after", near.getsockname())
        far.sendto(b"two", near.getsockname())
        with closing(DatagramSocket(real_loop, near, far.getsockname())) as endpoint:
            assert [await endpoint.read(), await endpoint.read()] == [b"one", b"two"]


async def test_what_was_received_already_comes_first(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        near.connect(far.getsockname())
        far.sendto(b"three", near.getsockname())
        with closing(DatagramSocket(real_loop, near, far.getsockname(), [b"one", b""])) as endpoint:
            assert [await endpoint.read() for _ in range(3)] == [b"one", b"", b"three"]


async def test_a_datagram_of_a_unix_sender_without_a_name_is_received(real_loop: Bench, tmp_path: Path) -> None:
    with unix() as far, closing(DatagramSocket(real_loop, unix(tmp_path / "near"), None)) as endpoint:
        far.sendto(b"one", str(tmp_path / "near"))
        assert await endpoint.read() == b"one"
        assert str(endpoint.address) == "a unix socket without a name"


async def test_a_unix_datagram_may_be_larger_than_any_of_udp(real_loop: Bench, tmp_path: Path) -> None:
    data = PAYLOAD(150_000)
    with unix(tmp_path / "far") as far:
        near = unix(tmp_path / "near")
        near.connect(str(tmp_path / "far"))
        with closing(DatagramSocket(real_loop, near, str(tmp_path / "far"))) as endpoint:
            far.sendto(data, str(tmp_path / "near"))
            same([await endpoint.read() or b""], [data])
            assert await endpoint.write(data) == len(data)
            same([far.recv(1 << 20)], [data])


async def test_what_is_too_long_is_an_error_that_names_the_peer(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        near.connect(far.getsockname())
        with closing(DatagramSocket(real_loop, near, far.getsockname())) as endpoint:
            with pytest.raises(PeerLost) as raised:
                await endpoint.write(bytes(LARGEST + 1))
            assert str(raised.value) == f"datagrams to {endpoint.address}: Message too long"
            human(raised.value)


async def test_closing_removes_the_path_of_our_own_end_and_nothing_else(real_loop: Bench, tmp_path: Path) -> None:
    with unix(tmp_path / "far") as far:
        near = unix(tmp_path / "near")
        endpoint = DatagramSocket(real_loop, near, far.getsockname())
        endpoint.close()
        assert os.listdir(tmp_path) == ["far"]
        endpoint.close()
        with unix() as unnamed, unix("\0pync-test-of-datagrams") as abstract, udp(1) as (named,):
            for sock in (unnamed, abstract, named):
                remove_own_path(sock)
        (tmp_path / "far").unlink()
        remove_own_path(far)  # it is removed already


# -- Many datagrams at a time ------------------------------------------------------------------------------------

OFFLOAD = (sockets.SEGMENT, sockets.JOINED)
SIZES = st.sampled_from([0, 1, 64, 1400, 9000, LARGEST])
RUNS = st.lists(st.tuples(SIZES, st.integers(1, 70)), max_size=6)


class OldKernel(socket.socket):
    """A socket of a kernel that has no segmentation offload."""

    def setsockopt(self, *args: Any) -> None:
        if args[0] == socket.IPPROTO_UDP and args[1] in OFFLOAD:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        super().setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        if args[0] == socket.IPPROTO_UDP and args[1] in OFFLOAD:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return super().getsockopt(*args)


class NoRoute(socket.socket):
    """A socket of a kernel that has it, with a route to the peer that does not allow it."""

    asked = 0

    def sendmsg(self, *args: Any) -> int:
        self.asked += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))


EVERY_KERNEL = pytest.mark.parametrize("kind", [socket.socket, OldKernel, NoRoute])


@contextmanager
def pair(loop: Loop, kind: type[socket.socket] = socket.socket) -> Iterator[tuple[DatagramSocket, socket.socket]]:
    """An endpoint, and the socket that is its peer."""
    with udp(1) as (far,):
        near = kind(socket.AF_INET, socket.SOCK_DGRAM)
        near.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        with closing(DatagramSocket(loop, near, far.getsockname())) as endpoint:
            yield endpoint, far


async def at_once(loop: Loop, reading: Work[bytes | None]) -> bytes:
    """What can be read without waiting for the peer."""
    data = await loop.within(1.0, reading)
    assert data is not None
    return data


def runs(shape: list[tuple[int, int]]) -> list[list[bytes]]:
    """Runs of datagrams of one size, each numbered by its bytes; as many as two sockets can hold."""
    made, room = [], 100_000
    for size, count in shape:
        run = [bytes([at % 251]) * size for at in range(min(count, max(1, room // (size + 1200))))]
        room -= (size + 1200) * len(run)
        if room < 0:
            break
        made.append(run)
    return made


def sent_in_pieces(sock: socket.socket, run: list[bytes]) -> None:
    """Send them as the kernel sends one piece, if there is more than one in it."""
    if len(run) > 1 and run[0] and len(run) * len(run[0]) <= LARGEST and len(run) <= 64:
        segments.send_segments(sock, b"".join(run), len(run[0]))
    else:
        for data in run:
            sock.send(data)


@EVERY_KERNEL
@given(shape=RUNS)
async def test_each_read_is_one_datagram_however_they_came(
    real_loop: Bench, kind: type[socket.socket], shape: list[tuple[int, int]]
) -> None:
    sent = runs(shape)
    with pair(real_loop, kind) as (endpoint, far):
        for run in sent:
            sent_in_pieces(far, run)
        got = [await at_once(real_loop, endpoint.read()) for run in sent for _ in run]
        same(got, sum(sent, []), whole=True)


@EVERY_KERNEL
@given(shape=RUNS)
async def test_reading_all_of_it_reads_the_same_bytes(
    real_loop: Bench, kind: type[socket.socket], shape: list[tuple[int, int]]
) -> None:
    sent = runs(shape)
    with pair(real_loop, kind) as (endpoint, far):
        got: list[bytes] = []
        for at, run in enumerate(sent):
            sent_in_pieces(far, run)
            if at % 2:
                got.append(await at_once(real_loop, endpoint.read_all()))
        while sum(map(len, got)) < sum(map(len, sum(sent, []))):
            got.append(await at_once(real_loop, endpoint.read_all()))
        same(got, sum(sent, []))


async def test_the_last_of_a_piece_may_be_shorter(real_loop: Bench) -> None:
    with pair(real_loop) as (endpoint, far):
        segments.send_segments(far, b"oneonetwotwoend"[:14], 3)
        assert [await endpoint.read() for _ in range(5)] == [b"one", b"one", b"two", b"two", b"en"]


async def test_what_comes_in_many_pieces_is_received_by_few_calls(real_loop: Bench) -> None:
    with pair(real_loop) as (endpoint, far):
        for _ in range(10):
            segments.send_segments(far, bytes(64 * 64), 64)
        before = real_loop.selector.polls
        assert [await endpoint.read() for _ in range(640)] == [bytes(64)] * 640
        assert real_loop.selector.polls - before < 5


async def test_reading_all_keeps_strangers_out_and_raises_a_refusal_last(real_loop: Bench) -> None:
    with udp(3) as (near, far, stranger):
        stranger.sendto(b"FORGED", near.getsockname())
        far.sendto(b"one", near.getsockname())
        near.connect(far.getsockname())
        with closing(DatagramSocket(real_loop, near, far.getsockname())) as endpoint:
            assert await endpoint.read_all() == b"one"
            stranger.sendto(b"FORGED", near.getsockname())
            far.sendto(b"last ", near.getsockname())
            far.sendto(b"words", near.getsockname())
            far.close()
            await endpoint.write(b"refused")
            assert await endpoint.read_all() == b"last words"
            with pytest.raises(PeerLost, match="Connection refused$"):
                await endpoint.read_all()


class Stack(Source):
    """A source that has all its datagrams at hand."""

    def __init__(self, datagrams: list[bytes]) -> None:
        self.left = datagrams[::-1]

    async def read(self) -> bytes | None:
        return self.read_nowait()

    def read_nowait(self) -> bytes | None:
        return self.left.pop() if self.left else None

    def unread(self) -> int:
        return sum(map(len, self.left))


@EVERY_KERNEL
@given(shape=RUNS)
async def test_what_is_sent_together_arrives_as_it_was_cut(
    real_loop: Bench, kind: type[socket.socket], shape: list[tuple[int, int]]
) -> None:
    sent = [data for run in runs(shape) for data in run if data]
    with pair(real_loop, kind) as (endpoint, far):
        burst = segments.Burst(Stack(sent), endpoint)
        flow = Flow(real_loop, burst, burst)
        await flow.run()
        assert flow.moved == sum(map(len, sent)) and flow.unsent() == 0
        same([far.recv(1 << 17) for _ in sent], sent, whole=True)
        with pytest.raises(BlockingIOError):
            far.recv(1)


async def test_a_route_that_allows_no_segments_is_tried_once(real_loop: Bench) -> None:
    with pair(real_loop, NoRoute) as (endpoint, far):
        burst = segments.Burst(Stack([b"one"] * 100), endpoint)
        await Flow(real_loop, burst, burst).run()
        assert [far.recv(10) for _ in range(100)] == [b"one"] * 100
        assert endpoint.sock.asked == 1  # type: ignore[attr-defined]


async def test_what_was_read_and_not_sent_when_the_peer_refuses_is_counted(real_loop: Bench) -> None:
    with pair(real_loop) as (endpoint, far):
        burst = segments.Burst(Stack([b"1234"] * 100), endpoint)
        flow = Flow(real_loop, burst, burst)
        far.close()
        with pytest.raises(PeerLost, match="Connection refused$"):
            await flow.run()
        assert flow.moved == 4 * segments.BATCH and flow.unsent() == 4 * (100 - segments.BATCH)


# -- Many peers --------------------------------------------------------------------------------------------------


class Served:
    """A server of datagrams: what it has reported, the peers it asked about, and those that were welcome."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop = loop
        self.sock = sock
        self.reports: list[Event] = []
        self.peers: list[DatagramPeer] = []
        self.asked: list[DatagramPeer] = []
        self.open = True
        self.server = DatagramServer(loop, self.reports.append, self._welcome, raised)

    def _welcome(self, peer: DatagramPeer) -> bool:
        self.asked.append(peer)
        if self.open:
            self.peers.append(peer)
        return self.open

    async def send(self, sock: socket.socket, *datagrams: bytes) -> None:
        """Send datagrams to the server, and let it sort them."""
        for data in datagrams:
            sock.sendto(data, self.sock.getsockname())
            await turns(self.loop, 3)


@asynccontextmanager
async def serving(loop: Loop, sock: socket.socket) -> AsyncIterator[Served]:
    """A server that receives from this socket."""
    opened = Served(loop, sock)
    receiving = loop.spawn(opened.server.receive(sock), Condition())
    await turns(loop, 1)
    try:
        yield opened
        assert not receiving.done
    finally:
        await loop.cancel_and_wait(receiving)
        for peer in opened.peers:
            peer.close()
        loop.forget(sock.fileno())


async def test_each_peer_gets_its_own_datagrams_and_is_answered(real_loop: Bench) -> None:
    with udp(3) as (near, one, other):
        async with serving(real_loop, near) as served:
            await served.send(one, b"1a")
            await served.send(other, b"2a", b"2b")
            await served.send(one, b"1b")
            first, second = served.peers
            assert [await first.read(), await first.read()] == [b"1a", b"1b"]
            assert [await second.read(), await second.read()] == [b"2a", b"2b"]
            for peer, sock in ((first, one), (second, other)):
                await peer.write(b"to %d" % (peer.address.port or 0))
                assert sock.recv(100) == b"to %d" % sock.getsockname()[1]
            assert served.reports == []


async def test_pieces_of_two_peers_are_sorted_datagram_by_datagram(real_loop: Bench) -> None:
    with udp(3) as (near, one, other):
        async with serving(real_loop, near) as served:
            one.connect(near.getsockname())
            other.connect(near.getsockname())
            for _ in range(3):
                segments.send_segments(one, b"1a1b1", 2)
                segments.send_segments(other, b"22aa22b", 4)
            other.send(b"end")
            await turns(real_loop, 5)
            first, second = served.peers
            assert [await first.read() for _ in range(9)] == [b"1a", b"1b", b"1"] * 3
            assert await second.read() == b"22aa"
            assert await second.read_all() == b"22b" + b"22aa22b" * 2 + b"end"
            assert second.box.size == 0 and not second.box.pieces


async def test_a_burst_keeps_its_order(real_loop: Bench) -> None:
    numbers = [b"%d" % number for number in range(3 * segments.BATCH)]
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            for word in numbers:
                far.sendto(word, near.getsockname())
            await served.send(far, b"and more")
            peer = served.peers[0]
            assert [await peer.read() for _ in range(len(numbers) + 1)] == [*numbers, b"and more"]


class Busy(socket.socket):
    """A socket that takes nothing at the first try."""

    refused = False

    def sendto(self, *args: Any) -> int:
        if not self.refused:
            self.refused = True
            raise BlockingIOError
        return super().sendto(*args)


async def test_a_socket_that_takes_nothing_is_waited_for(real_loop: Bench) -> None:
    with udp(1) as (far,), Busy(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.bind(("127.0.0.1", 0))
        near.setblocking(False)
        async with serving(real_loop, near) as served:
            await served.send(far, b"one")
            assert await served.peers[0].write(b"answer") == 6
            assert near.refused and far.recv(100) == b"answer"


async def test_a_peer_that_is_not_welcome_is_asked_about_again(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            served.open = False
            await served.send(far, b"one", b"two")
            assert len(served.asked) == 2 and not served.server.sessions
            served.open = True
            await served.send(far, b"three")
            assert await served.peers[0].read() == b"three"


@pytest.mark.parametrize(("size", "fit"), [(1000, 10), (0, 166)])
async def test_a_full_queue_drops_what_comes_and_reports_it(
    real_loop: Bench, size: int, fit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_server, "PEER_BYTES", 10 * 1064)
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            await served.send(far, bytes(size))
            peer = served.peers[0]
            while not served.reports:
                await served.send(far, bytes(size))
            assert served.reports == [Denied(peer=peer.address, why="its queue is full, a datagram was dropped")]
            waiting = len(peer.box.first) + len(peer.box.pieces)
            assert waiting == fit
            assert [await peer.read() for _ in range(waiting)] == [bytes(size)] * waiting
            await served.send(far, b"there is room again")
            assert await peer.read() == b"there is room again"


async def test_too_many_peers_end_the_session_that_is_silent_for_longest(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_server, "PEERS", 2)
    with udp(4) as (near, one, other, third):
        async with serving(real_loop, near) as served:
            await served.send(one, b"1a")
            await served.send(other, b"2a")
            await served.send(one, b"1b")
            await served.send(third, b"3a")
            first, second, last = served.peers
            assert [peer.closed for peer in served.peers] == [False, True, False]
            assert [await second.read(), await second.read()] == [b"2a", None]  # what it had received it keeps
            assert [await first.read(), await first.read(), await last.read()] == [b"1a", b"1b", b"3a"]
            assert len(served.server.sessions) == 2


async def test_a_read_ends_when_its_session_is_closed(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            await served.send(far, b"one")
            peer = served.peers[0]
            await peer.read()
            reading = real_loop.spawn(peer.read(), Condition())
            await turns(real_loop, 3)
            peer.close()
            await turns(real_loop, 3)
            assert reading.done and reading.result() is None


async def test_after_a_session_the_same_peer_begins_a_new_one_that_the_old_cannot_end(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            await served.send(far, b"one")
            served.peers[0].close()
            await served.send(far, b"two")
            served.peers[0].close()  # once more, as the end of a session may
            await served.send(far, b"three")
            assert len(served.peers) == 2
            assert [await served.peers[1].read(), await served.peers[1].read()] == [b"two", b"three"]


async def test_an_error_that_one_peer_caused_ends_no_session(real_loop: Bench) -> None:
    with udp(3) as (near, far, leaving):
        near.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR, ip(7): errors come on unconnected sockets, too
        async with serving(real_loop, near) as served:
            await served.send(leaving, b"before it closes")
            leaving.close()
            await served.peers[0].write(b"refused")
            await turns(real_loop, 5)
            await served.send(far, b"one")
            assert await served.peers[1].read() == b"one"


async def test_an_answer_that_is_too_long_is_an_error_of_that_peer(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            await served.send(far, b"one")
            with pytest.raises(PeerLost, match=r"^datagrams to 127\.0\.0\.1:\d+: Message too long$"):
                await served.peers[0].write(bytes(LARGEST + 1))


async def test_a_unix_peer_without_a_name_is_received_from_but_cannot_be_answered(
    real_loop: Bench, tmp_path: Path
) -> None:
    with unix(tmp_path / "near") as near, unix() as far:
        async with serving(real_loop, near) as served:
            await served.send(far, b"one")
            assert await served.peers[0].read() == b"one"
            with pytest.raises(PeerLost, match="^datagrams to a unix socket without a name: it cannot be answered$"):
                await served.peers[0].write(b"an answer")


async def test_peers_that_wait_for_room_at_the_same_time_all_get_it(real_loop: Bench, tmp_path: Path) -> None:
    with unix(tmp_path / "near") as near, unix(tmp_path / "1") as one, unix(tmp_path / "2") as other:
        async with serving(real_loop, near) as served:
            arrived: dict[socket.socket, list[bytes]] = {one: [], other: []}
            for sock in arrived:
                await served.send(sock, b"one")
            numbers = [b"%d" % number for number in range(500)]
            tasks = [real_loop.spawn(write_all(peer, numbers), Condition()) for peer in served.peers]
            await turns(real_loop, 20)
            assert not any(task.done for task in tasks)
            while sum(map(len, arrived.values())) < 2 * len(numbers):
                for sock, got in arrived.items():
                    got += received(sock)
                await turns(real_loop, 1)
            assert list(arrived.values()) == [numbers, numbers]
            await turns(real_loop, 3)
            assert all(task.done and task.error is None for task in tasks)


async def write_all(peer: DatagramPeer, datagrams: list[bytes]) -> None:
    for data in datagrams:
        await peer.write(data)


def received(sock: socket.socket) -> list[bytes]:
    """The datagrams that have come."""
    datagrams: list[bytes] = []
    while True:
        try:
            datagrams.append(sock.recv(100))
        except BlockingIOError:
            return datagrams


# -- How many, and for how long ----------------------------------------------------------------------------------

PIECES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=8)


@given(pieces=PIECES, taken=st.lists(st.booleans(), max_size=30))
async def test_a_mailbox_gives_what_was_put_into_it_however_it_is_taken(
    loop: Loop, pieces: list[tuple[int, int]], taken: list[bool]
) -> None:
    box, put, got = Mailbox(loop), [], b""
    for number, (size, length) in enumerate(pieces):
        piece = bytes([number]) * length
        box.put(piece, size or length, cost(piece, size or length))
        put += segments.cut(piece, size or length)
    count = 0
    for one in taken:
        if not (box.first or box.pieces):
            break
        if one:
            data = box.take()
            assert data == put[count]
            got, count = got + data, count + 1
        else:
            got, count = got + box.take_all(), len(put)
    assert got == b"".join(put[:count])
    assert box.size == sum(len(data) + DATAGRAM_OVERHEAD for data in put[count:])


async def test_peers_that_read_nothing_leave_the_others_their_share(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_server, "ALL_BYTES", 20_000)
    with udp(4) as (near, one, other, third):
        async with serving(real_loop, near) as served:
            for sock in (one, other):
                await served.send(sock, *[bytes(1000)] * 30)
            assert served.server.waiting <= 2 * 20_000
            dropped = len(served.reports)
            await served.send(third, b"here, too")
            assert len(served.reports) == dropped
            assert await served.peers[2].read() == b"here, too"
            for peer in served.peers:
                peer.close()
            assert served.server.waiting == 0


async def test_a_peer_without_traffic_is_dismissed_after_its_time(loop: Loop, clock: Clock) -> None:
    server = DatagramServer(loop, lambda event: None, lambda peer: True, raised)
    dismissed: list[tuple[float, int | None]] = []
    with udp(1) as (near,):
        watching = loop.spawn(
            server.dismiss_silent(80.0, lambda peer: dismissed.append((clock.now - 1000, peer.address.port))),
            Condition(),
        )
        for port in (1, 2, 3):
            server._sort((near, ("127.0.0.1", port), b""), b"hello", 5, loop.clock())
        await loop.sleep(55.0)
        server._sort((near, ("127.0.0.1", 2), b""), b"again", 5, loop.clock())
        await server.sessions[near, ("127.0.0.1", 3), b""].write(b"an answer")
        await loop.sleep(1000.0)
        await loop.cancel_and_wait(watching)
    assert dismissed == [(80.0, 1), (140.0, 3), (140.0, 2)] or dismissed == [(80.0, 1), (140.0, 2), (140.0, 3)]
    assert not server.sessions


async def test_of_a_crowd_a_peer_that_cannot_be_sent_to_leaves_and_the_others_get_everything(
    real_loop: Bench, tmp_path: Path
) -> None:
    failed: list[str] = []
    crowd = Crowd(real_loop, lambda peer, error: failed.append(str(error)))
    with unix(tmp_path / "near") as near, unix(tmp_path / "1") as one, unix(tmp_path / "2") as two, unix() as nameless:
        server = DatagramServer(real_loop, lambda event: None, lambda peer: True, raised, crowd=crowd)
        receiving = real_loop.spawn(server.receive(near), Condition())
        for sock in (one, nameless, two):
            sock.sendto(b"hello", str(tmp_path / "near"))
        await turns(real_loop, 5)
        assert await crowd.read() == b"hello"
        assert await crowd.read_all() == b"hellohello"
        assert await crowd.write(b"news") == 4
        assert [one.recv(10), two.recv(10)] == [b"news", b"news"]
        assert failed == ["datagrams to a unix socket without a name: it cannot be answered"]
        assert len(crowd.peers) == 2
        await real_loop.cancel_and_wait(receiving)
        real_loop.forget(near.fileno())


async def test_what_waits_for_the_end_of_a_session_goes_on_when_its_peer_has_to_go(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with serving(real_loop, near) as served:
            await served.send(far, b"one")
            waiting = real_loop.spawn(served.peers[0].wait_closed(), Condition())
            await served.send(far, b"two")
            assert not waiting.done
            served.peers[0].dismiss()
            await turns(real_loop, 3)
            assert waiting.done


async def test_what_goes_wrong_with_one_peer_ends_neither_the_server_nor_the_others(real_loop: Bench) -> None:
    failures: list[Exception] = []
    served: list[DatagramPeer] = []

    def welcome(peer: DatagramPeer) -> bool:
        if not failures:
            raise LookupError("odd")
        served.append(peer)
        return True

    server = DatagramServer(real_loop, lambda event: None, welcome, lambda peer, error: failures.append(error))
    with udp(3) as (sock, first, second):
        receiving = real_loop.spawn(server.receive(sock), Condition())
        for number, peer in enumerate((first, second)):
            peer.sendto(b"hello", sock.getsockname())
            while len(failures) + len(served) <= number:
                await real_loop.sleep(0)
        await real_loop.cancel_and_wait(receiving)
        real_loop.forget(sock.fileno())
        assert [type(error) for error in failures] == [LookupError]
        assert await served[0].read() == b"hello"
