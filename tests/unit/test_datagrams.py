"""What is special to datagrams: whose they are, whom there is room for, and what a peer's end leaves behind."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from conformance import LARGEST, Bench, human, same, turns
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints import Source, datagram_server, segments
from pync.endpoints.datagram_server import DatagramPeer, DatagramServer
from pync.endpoints.datagrams import DatagramSocket, remove_own_path
from pync.errors import PeerLost
from pync.events import Denied
from pync.loop.tasks import Condition
from pync.relay.flow import Flow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path
    from typing import Any

    from pync.events import Event
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work


@contextmanager
def udp(count: int) -> Iterator[list[socket.socket]]:
    """So many bound UDP sockets."""
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


async def test_a_unix_sender_without_a_name_is_heard(real_loop: Bench, tmp_path: Path) -> None:
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
        remove_own_path(far)  # somebody did so already


# -- Many datagrams at a time ------------------------------------------------------------------------------------

OFFLOAD = (segments.SEGMENT, segments.GRO)
SIZES = st.sampled_from([0, 1, 64, 1400, 9000, LARGEST])
RUNS = st.lists(st.tuples(SIZES, st.integers(1, 70)), max_size=6)


class OldKernel(socket.socket):
    """Knows nothing of segmentation offload."""

    def setsockopt(self, *args: Any) -> None:
        if args[0] == socket.IPPROTO_UDP and args[1] in OFFLOAD:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        super().setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        if args[0] == socket.IPPROTO_UDP and args[1] in OFFLOAD:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return super().getsockopt(*args)


class NoWay(socket.socket):
    """Knows of it, but the way to the peer does not allow it."""

    asked = 0

    def sendmsg(self, *args: Any) -> int:
        self.asked += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))


EVERY_KERNEL = pytest.mark.parametrize("kind", [socket.socket, OldKernel, NoWay])


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
    """What is there already."""
    data = await loop.within(1.0, reading)
    assert data is not None
    return data


def runs(shape: list[tuple[int, int]]) -> list[list[bytes]]:
    """Runs of datagrams of one size, each with a number where there is room; so much as two sockets can hold."""
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
    said = runs(shape)
    with pair(real_loop, kind) as (endpoint, far):
        for run in said:
            sent_in_pieces(far, run)
        got = [await at_once(real_loop, endpoint.read()) for run in said for _ in run]
        same(got, sum(said, []), whole=True)


@EVERY_KERNEL
@given(shape=RUNS)
async def test_reading_all_of_it_reads_the_same_bytes(
    real_loop: Bench, kind: type[socket.socket], shape: list[tuple[int, int]]
) -> None:
    said = runs(shape)
    with pair(real_loop, kind) as (endpoint, far):
        got: list[bytes] = []
        for at, run in enumerate(said):
            sent_in_pieces(far, run)
            if at % 2:
                got.append(await at_once(real_loop, endpoint.read_all()))
        while sum(map(len, got)) < sum(map(len, sum(said, []))):
            got.append(await at_once(real_loop, endpoint.read_all()))
        same(got, sum(said, []))


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


async def test_reading_all_keeps_strangers_out_and_tells_a_refusal_last(real_loop: Bench) -> None:
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
            await endpoint.write(b"nobody hears this")
            assert await endpoint.read_all() == b"last words"
            with pytest.raises(PeerLost, match="Connection refused$"):
                await endpoint.read_all()


class Stack(Source):
    """A source that has all its datagrams at hand."""

    def __init__(self, datagrams: list[bytes]) -> None:
        self.left = datagrams[::-1]

    async def read(self) -> bytes | None:
        return self.more()

    def more(self) -> bytes | None:
        return self.left.pop() if self.left else None

    def unread(self) -> int:
        return sum(map(len, self.left))


@EVERY_KERNEL
@given(shape=RUNS)
async def test_what_is_sent_together_arrives_as_it_was_cut(
    real_loop: Bench, kind: type[socket.socket], shape: list[tuple[int, int]]
) -> None:
    said = [data for run in runs(shape) for data in run if data]
    with pair(real_loop, kind) as (endpoint, far):
        burst = segments.Burst(Stack(said), endpoint)
        flow = Flow(real_loop, burst, burst)
        await flow.run()
        assert flow.moved == sum(map(len, said)) and flow.unsent() == 0
        same([far.recv(1 << 17) for _ in said], said, whole=True)
        with pytest.raises(BlockingIOError):
            far.recv(1)


async def test_a_way_that_allows_no_pieces_is_asked_once(real_loop: Bench) -> None:
    with pair(real_loop, NoWay) as (endpoint, far):
        burst = segments.Burst(Stack([b"one"] * 100), endpoint)
        await Flow(real_loop, burst, burst).run()
        assert [far.recv(10) for _ in range(100)] == [b"one"] * 100
        assert endpoint.sock.asked == 1  # type: ignore[attr-defined]


async def test_what_was_read_and_not_sent_when_the_peer_is_lost_is_counted(real_loop: Bench) -> None:
    with pair(real_loop) as (endpoint, far):
        burst = segments.Burst(Stack([b"1234"] * 100), endpoint)
        flow = Flow(real_loop, burst, burst)
        far.close()
        with pytest.raises(PeerLost, match="Connection refused$"):
            await flow.run()
        assert flow.moved == 4 * segments.BATCH and flow.unsent() == 4 * (100 - segments.BATCH)


# -- Many peers --------------------------------------------------------------------------------------------------


class Office:
    """A mailroom with what it has reported and whom it has welcomed."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop = loop
        self.sock = sock
        self.reports: list[Event] = []
        self.peers: list[DatagramPeer] = []
        self.asked: list[DatagramPeer] = []
        self.open = True
        self.room = DatagramServer(loop, self.reports.append, self._welcome)

    def _welcome(self, peer: DatagramPeer) -> bool:
        self.asked.append(peer)
        if self.open:
            self.peers.append(peer)
        return self.open

    async def sent(self, sock: socket.socket, *datagrams: bytes) -> None:
        """Have them sent and sorted."""
        for data in datagrams:
            sock.sendto(data, self.sock.getsockname())
            await turns(self.loop, 3)


@asynccontextmanager
async def office(loop: Loop, sock: socket.socket) -> AsyncIterator[Office]:
    """One that receives."""
    opened = Office(loop, sock)
    receiving = loop.spawn(opened.room.receive(sock), Condition())
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
        async with office(real_loop, near) as mail:
            await mail.sent(one, b"1a")
            await mail.sent(other, b"2a", b"2b")
            await mail.sent(one, b"1b")
            first, second = mail.peers
            assert [await first.read(), await first.read()] == [b"1a", b"1b"]
            assert [await second.read(), await second.read()] == [b"2a", b"2b"]
            for peer, sock in ((first, one), (second, other)):
                await peer.write(b"to %d" % (peer.address.port or 0))
                assert sock.recv(100) == b"to %d" % sock.getsockname()[1]
            assert mail.reports == []


async def test_pieces_of_two_peers_are_sorted_datagram_by_datagram(real_loop: Bench) -> None:
    with udp(3) as (near, one, other):
        async with office(real_loop, near) as mail:
            one.connect(near.getsockname())
            other.connect(near.getsockname())
            for _ in range(3):
                segments.send_segments(one, b"1a1b1", 2)
                segments.send_segments(other, b"22aa22b", 4)
            other.send(b"end")
            await turns(real_loop, 5)
            first, second = mail.peers
            assert [await first.read() for _ in range(9)] == [b"1a", b"1b", b"1"] * 3
            assert await second.read() == b"22aa"
            assert await second.read_all() == b"22b" + b"22aa22b" * 2 + b"end"
            assert second.size == 0 and not second.queue


async def test_a_burst_keeps_its_order(real_loop: Bench) -> None:
    words = [b"%d" % number for number in range(3 * segments.BATCH)]
    with udp(2) as (near, far):
        async with office(real_loop, near) as mail:
            for word in words:
                far.sendto(word, near.getsockname())
            await mail.sent(far, b"and more")
            peer = mail.peers[0]
            assert [await peer.read() for _ in range(len(words) + 1)] == [*words, b"and more"]


class Busy(socket.socket):
    """Takes nothing at the first try."""

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
        async with office(real_loop, near) as mail:
            await mail.sent(far, b"one")
            assert await mail.peers[0].write(b"answer") == 6
            assert near.refused and far.recv(100) == b"answer"


async def test_who_is_not_welcome_is_asked_about_again(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with office(real_loop, near) as mail:
            mail.open = False
            await mail.sent(far, b"one", b"two")
            assert len(mail.asked) == 2 and not mail.room.sessions
            mail.open = True
            await mail.sent(far, b"three")
            assert await mail.peers[0].read() == b"three"


@pytest.mark.parametrize(("size", "fit"), [(1000, 10), (0, 167)])
async def test_a_full_queue_drops_what_comes_and_says_so(
    real_loop: Bench, size: int, fit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_server, "QUEUE", 10 * 1064)
    with udp(2) as (near, far):
        async with office(real_loop, near) as mail:
            await mail.sent(far, bytes(size))
            peer = mail.peers[0]
            while not mail.reports:
                await mail.sent(far, bytes(size))
            assert mail.reports == [Denied(peer=peer.address, why="its queue is full, a datagram was dropped")]
            waiting = len(peer.queue)
            assert waiting == fit
            assert [await peer.read() for _ in range(waiting)] == [bytes(size)] * waiting
            await mail.sent(far, b"there is room again")
            assert await peer.read() == b"there is room again"


async def test_too_many_peers_end_the_session_that_is_silent_for_longest(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_server, "PEERS", 2)
    with udp(4) as (near, one, other, third):
        async with office(real_loop, near) as mail:
            await mail.sent(one, b"1a")
            await mail.sent(other, b"2a")
            await mail.sent(one, b"1b")
            await mail.sent(third, b"3a")
            first, second, last = mail.peers
            assert [peer.closed for peer in mail.peers] == [False, True, False]
            assert [await second.read(), await second.read()] == [b"2a", None]  # what it had it keeps
            assert [await first.read(), await first.read(), await last.read()] == [b"1a", b"1b", b"3a"]
            assert len(mail.room.sessions) == 2


async def test_who_waits_for_a_datagram_learns_that_its_session_is_closed(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with office(real_loop, near) as mail:
            await mail.sent(far, b"one")
            peer = mail.peers[0]
            await peer.read()
            reading = real_loop.spawn(peer.read(), Condition())
            await turns(real_loop, 3)
            peer.close()
            await turns(real_loop, 3)
            assert reading.done and reading.result() is None


async def test_after_a_session_the_same_peer_begins_a_new_one_that_the_old_cannot_end(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with office(real_loop, near) as mail:
            await mail.sent(far, b"one")
            mail.peers[0].close()
            await mail.sent(far, b"two")
            mail.peers[0].close()  # again, as whoever ends a session may
            await mail.sent(far, b"three")
            assert len(mail.peers) == 2
            assert [await mail.peers[1].read(), await mail.peers[1].read()] == [b"two", b"three"]


async def test_an_error_that_one_peer_caused_ends_nobodys_session(real_loop: Bench) -> None:
    with udp(3) as (near, far, gone):
        near.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR, ip(7): errors come on unconnected sockets, too
        async with office(real_loop, near) as mail:
            await mail.sent(gone, b"before it goes")
            gone.close()
            await mail.peers[0].write(b"nobody hears this")
            await turns(real_loop, 5)
            await mail.sent(far, b"one")
            assert await mail.peers[1].read() == b"one"


async def test_an_answer_that_is_too_long_is_an_error_of_that_peer(real_loop: Bench) -> None:
    with udp(2) as (near, far):
        async with office(real_loop, near) as mail:
            await mail.sent(far, b"one")
            with pytest.raises(PeerLost, match=r"^datagrams to 127\.0\.0\.1:\d+: Message too long$"):
                await mail.peers[0].write(bytes(LARGEST + 1))


async def test_a_unix_peer_without_a_name_is_heard_but_cannot_be_answered(real_loop: Bench, tmp_path: Path) -> None:
    with unix(tmp_path / "near") as near, unix() as far:
        async with office(real_loop, near) as mail:
            await mail.sent(far, b"one")
            assert await mail.peers[0].read() == b"one"
            with pytest.raises(PeerLost, match="^datagrams to a unix socket without a name: it cannot be answered$"):
                await mail.peers[0].write(b"an answer")


async def test_peers_that_wait_for_room_at_the_same_time_all_get_it(real_loop: Bench, tmp_path: Path) -> None:
    with unix(tmp_path / "near") as near, unix(tmp_path / "1") as one, unix(tmp_path / "2") as other:
        async with office(real_loop, near) as mail:
            heard: dict[socket.socket, list[bytes]] = {one: [], other: []}
            for sock in heard:
                await mail.sent(sock, b"one")
            words = [b"%d" % number for number in range(500)]
            tasks = [real_loop.spawn(say(peer.write, words), Condition()) for peer in mail.peers]
            await turns(real_loop, 20)
            assert not any(task.done for task in tasks)
            while sum(map(len, heard.values())) < 2 * len(words):
                for sock, got in heard.items():
                    got += received(sock)
                await turns(real_loop, 1)
            assert list(heard.values()) == [words, words]
            await turns(real_loop, 3)
            assert all(task.done and task.error is None for task in tasks)


async def say(write: Callable[[bytes], object], words: list[bytes]) -> None:
    for word in words:
        await write(word)  # type: ignore[misc]


def received(sock: socket.socket) -> list[bytes]:
    """What has come."""
    words: list[bytes] = []
    while True:
        try:
            words.append(sock.recv(100))
        except BlockingIOError:
            return words
