"""Bridges between two connections: the rules one by one on a clock that jumps, then whole bridges of sockets.

The model of a bridge: each side receives the beginning of what the other one sent, and reads an end-of-file only after
all of it.
"""

from __future__ import annotations

import random
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import Bench, FarSocket, bench, descriptors, join, same, tcp_pair, turns, unix_pair
from doubles import END, Clock, MemorySink, MemorySource, Stuck, a_context, play
from expectations import expect
from harness import PAYLOAD
from hypothesis import given, settings
from hypothesis import strategies as st

from pync.config import Ending
from pync.endpoints import LINGER
from pync.endpoints.streams import Stream, StreamSocket
from pync.errors import PeerLost, PyncError, TimedOut
from pync.events import Address
from pync.limits import raise_limit
from pync.loop.tasks import Condition
from pync.relay import zerocopy
from pync.relay.bridge import Bridge, Exchange
from pync.relay.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from doubles import Given, Taken

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

FAR = PeerLost("connection to far", "Connection reset by peer")
NEAR = PeerLost("connection to near", "Connection reset by peer")
CUT = PeerLost("connection to far", "The end is missing")
FOREVER: Sequence[Given] = ()  # nothing comes, and no end either


# -- The rules, one by one -----------------------------------------------------------------------------------------


class MemoryStream(Stream):
    """A connection whose two halves are scripted. Moments are seconds since the start."""

    __slots__ = ("aborted", "address", "closing", "improper", "loop", "sink", "source", "waiting")
    sock = socket.socket()  # not connected: the kernel holds nothing for a peer of it

    def __init__(
        self,
        loop: Loop,
        sends: Sequence[Given],
        takes: Sequence[Taken] = (),
        closes: Sequence[Given] = FOREVER,
        improper: PeerLost | None = None,
        waiting: float = 0,
    ) -> None:
        """`closes` is the script of the connection's end; `waiting`: seconds until it has acknowledged everything."""
        self.loop = loop
        self.address = Address(host="peer")
        self.source = MemorySource(loop, *sends)
        self.sink = MemorySink(loop, *takes)
        self.closing = MemorySource(loop, *closes)
        self.improper = improper
        self.waiting = waiting
        self.aborted: float | None = None  # when

    async def read(self) -> bytes | None:
        return await self.source.read()

    async def write(self, data: Bytes) -> int:
        return await self.sink.write(data)

    async def send_eof(self) -> None:
        await self.sink.send_eof()

    async def wait_closed(self) -> None:
        await self.closing.read()

    def check_clean_end(self) -> None:
        if self.improper:
            raise self.improper

    def unacknowledged(self) -> int:
        return 1 if self.loop.clock() < 1000 + self.waiting else 0

    def abort(self) -> None:
        assert self.aborted is None, "aborted twice"
        self.aborted = self.loop.clock() - 1000

    @property
    def received(self) -> bytes:
        return self.sink.data

    @property
    def ends(self) -> list[float]:
        """When it got an end-of-file."""
        return [moment - 1000 for moment in self.sink.ends]


class Outcome:
    """What came of a bridge."""

    def __init__(self) -> None:
        self.seconds: float | None = None  # when it ended; None: it goes on for ever
        self.error: BaseException | None = None
        self.far: MemoryStream
        self.near: MemoryStream

    @property
    def message(self) -> str:
        return str(self.error)


Side = dict[str, object]


def side(*sends: Given, **how: object) -> Side:
    """What a side sends, and how it is otherwise."""
    return {"sends": sends, **how}


def bridged(far: Side, near: Side, ending: Ending = Ending()) -> Outcome:  # noqa: B008 (frozen)
    """Run a bridge to its end."""
    outcome, clock = Outcome(), Clock()

    async def main(loop: Loop) -> None:
        outcome.far = MemoryStream(loop, **far)  # type: ignore[arg-type]
        outcome.near = MemoryStream(loop, **near)  # type: ignore[arg-type]
        sending, receiving = Flow(loop, outcome.near, outcome.far), Flow(loop, outcome.far, outcome.near)
        await Bridge(a_context(loop, ending=ending), outcome.far, outcome.near, sending, receiving).run()

    try:
        play(main, clock)
        outcome.seconds = clock.now - 1000
    except Stuck:
        pass
    except PyncError as error:
        outcome.seconds, outcome.error = clock.now - 1000, error
    return outcome


def test_each_end_is_passed_on_once_after_all_bytes_and_the_other_direction_goes_on() -> None:
    outcome = bridged(far=side(b"question", 1.0, END), near=side(3.0, b"answer", 2.0, b"more", END))
    expect(outcome.far, received=b"answermore", ends=[5], aborted=None)
    expect(outcome.near, received=b"question", ends=[1], aborted=None)
    expect(outcome, seconds=5, error=None)


def test_the_side_that_answers_may_end_first() -> None:
    outcome = bridged(far=side(2.0, b"late", 1.0, END), near=side(b"banner", END))
    expect(outcome.far, received=b"banner", ends=[0], aborted=None)
    expect(outcome.near, received=b"late", ends=[3], aborted=None)
    expect(outcome, seconds=3, error=None)


def test_an_end_waits_until_all_is_taken() -> None:
    outcome = bridged(far=side(b"abc", END), near=side(END, takes=[1, 5.0, 1, 5.0]))
    expect(outcome.far, received=b"", ends=[0])
    expect(outcome.near, received=b"abc", ends=[10])
    expect(outcome, seconds=10)


def test_a_bridge_goes_on_for_ever_unless_both_sides_end() -> None:
    assert bridged(side(b"a"), side(b"b")).seconds is None
    assert bridged(side(b"a", END), side(b"b")).seconds is None


@pytest.mark.parametrize("reset", [FAR, NEAR], ids=["far", "near"])
def test_what_breaks_on_one_side_breaks_on_the_other(reset: PeerLost) -> None:
    one, other = side(b"half of it", 1.0, reset), side(2.0, b"never", END)
    outcome = bridged(far=one, near=other) if reset is FAR else bridged(far=other, near=one)
    broken, healthy = (outcome.far, outcome.near) if reset is FAR else (outcome.near, outcome.far)
    expect(broken, received=b"", ends=[], aborted=1)
    expect(healthy, received=b"half of it", ends=[], aborted=1)
    expect(outcome, seconds=1, message=str(reset))


def test_what_a_side_sent_before_its_reset_is_delivered_first() -> None:
    outcome = bridged(far=side(b"abc", FAR), near=side(takes=[1, 5.0, 1, 5.0]))
    expect(outcome.far, received=b"", aborted=10)
    expect(outcome.near, received=b"abc", aborted=10)


def test_what_a_side_sends_is_passed_on_even_after_it_has_stopped_reading() -> None:
    outcome = bridged(far=side(b"x", 0.25, b"y", 0.25, FAR, takes=[FAR]), near=side(b"data"))
    expect(outcome.far, received=b"", ends=[], aborted=0.5)
    expect(outcome.near, received=b"xy", ends=[], aborted=0.5)
    expect(outcome, seconds=0.5)


def test_the_end_of_a_side_that_has_stopped_reading_is_not_passed_on_as_one() -> None:
    outcome = bridged(far=side(b"x", 0.25, END, takes=[FAR]), near=side(b"data"))
    expect(outcome.far, received=b"", ends=[], aborted=0.25)
    expect(outcome.near, received=b"x", ends=[], aborted=0.25)
    expect(outcome, seconds=0.25)


def test_both_sides_may_break_at_once() -> None:
    outcome = bridged(far=side(b"x", takes=[0.25, FAR]), near=side(b"y", takes=[0.25, NEAR]))
    assert isinstance(outcome.error, PeerLost) and outcome.error.unsent == 1
    expect(outcome.far, aborted=0.25)
    expect(outcome.near, aborted=0.25)
    expect(outcome, seconds=0.25)


def test_a_side_that_neither_reads_nor_sends_is_given_up_after_half_a_second() -> None:
    outcome = bridged(far=side(takes=[FAR]), near=side(b"data"))
    assert isinstance(outcome.error, PeerLost) and outcome.error.unsent == 4
    expect(outcome.far, aborted=0.5)
    expect(outcome.near, aborted=0.5)
    expect(outcome, seconds=0.5)


def test_the_other_side_is_given_time_to_take_what_it_was_sent() -> None:
    assert bridged(far=side(b"x", FAR), near=side(waiting=1)).near.aborted == pytest.approx(1, abs=0.5)
    late = bridged(far=side(b"x", FAR), near=side(waiting=100)).near.aborted
    assert late is not None and LINGER <= late <= 2 * LINGER
    # The side that has reset its connection takes nothing any more.
    outcome = bridged(far=side(b"x", FAR, waiting=100), near=side())
    expect(outcome.far, aborted=0)
    expect(outcome.near, aborted=0)


@pytest.mark.parametrize("answer", [(), (b"answer", END)], ids=["while the other goes on", "after the other's end"])
def test_an_end_that_is_not_clean_is_not_passed_on_as_an_end(answer: Sequence[Given]) -> None:
    outcome = bridged(far=side(b"half of it", 1.0, END, improper=CUT), near=side(*answer))
    expect(outcome.far, aborted=1)
    expect(outcome.near, received=b"half of it", ends=[], aborted=1)
    expect(outcome, seconds=1, message=str(CUT))


def test_a_reset_by_a_side_that_has_ended_is_noticed_while_nothing_is_sent() -> None:
    outcome = bridged(far=side(b"question", END, closes=[4.0, FAR]), near=side())
    expect(outcome.far, ends=[], aborted=4)
    expect(outcome.near, ends=[0], aborted=4)
    expect(outcome, seconds=4, message=str(FAR))
    outcome = bridged(far=side(), near=side(b"banner", END, closes=[4.0, NEAR]))
    expect(outcome.far, ends=[0], aborted=4)
    expect(outcome.near, ends=[], aborted=4)
    expect(outcome, seconds=4, message=str(NEAR))


def test_a_side_that_has_ended_and_closes_cleanly_ends_the_bridge_without_an_error() -> None:
    outcome = bridged(far=side(b"sent", END, closes=[4.0, END]), near=side(waiting=4.5))
    expect(outcome.far, ends=[])
    expect(outcome.near, ends=[0], aborted=pytest.approx(4.5, abs=0.2))
    expect(outcome, error=None)


def test_a_side_that_only_ends_after_the_other_was_closed_has_ended_well() -> None:
    outcome = bridged(far=side(b"sent", END, closes=[4.0, END]), near=side(4.25, END))
    expect(outcome.far, aborted=None)
    expect(outcome.near, aborted=None)
    expect(outcome, seconds=4.25, error=None)


def test_the_error_counts_what_the_broken_side_did_not_get() -> None:
    outcome = bridged(far=side(1.0, FAR), near=side(b"abcdef", takes=[1000.0]), ending=Ending())
    assert isinstance(outcome.error, PeerLost) and outcome.error.unsent == 0
    outcome = bridged(far=side(b"ignored", 1.0, FAR, takes=[2, 1000.0]), near=side(b"abcdef"))
    assert isinstance(outcome.error, PeerLost) and outcome.error.unsent == 4
    outcome = bridged(far=side(b"abcdef", takes=[]), near=side(b"ignored", 1.0, NEAR, takes=[2, 1000.0]))
    assert isinstance(outcome.error, PeerLost) and outcome.error.unsent == 4


def test_an_idle_bridge_is_broken_on_both_sides() -> None:
    outcome = bridged(far=side(b"a", 1.0, b"b"), near=side(3.0, b"c"), ending=Ending(idle_timeout=8))
    assert isinstance(outcome.error, TimedOut)
    assert outcome.seconds is not None and 11 <= outcome.seconds <= 12
    expect(outcome.far, aborted=outcome.seconds)
    expect(outcome.near, aborted=outcome.seconds)


async def test_a_bridge_that_is_not_wanted_any_more_is_broken_on_both_sides(loop: Loop) -> None:
    far, near = MemoryStream(loop, [b"half"]), MemoryStream(loop, [])
    bridge = Bridge(a_context(loop), far, near, Flow(loop, near, far), Flow(loop, far, near))
    running = loop.spawn(bridge.run(), Condition())
    await loop.sleep(3)
    await loop.cancel_and_wait(running)
    expect(far, aborted=3)
    expect(near, received=b"half", aborted=3)


async def test_datagrams_are_exchanged_until_one_session_is_over(loop: Loop) -> None:
    far, near = MemoryStream(loop, [b"a", b"", 1.0, b"b"]), MemoryStream(loop, [2.0, b"", b"c", END])
    await Exchange(a_context(loop), Flow(loop, near, far), Flow(loop, far, near)).run()
    assert near.sink.taken == [b"a", b"", b"b"]
    assert far.sink.taken == [b"", b"c"]
    assert not near.ends and not far.ends


# -- Whole bridges of sockets --------------------------------------------------------------------------------------

BYTES = PAYLOAD(3_000_000)
PAIRS: dict[str, Callable[[], tuple[socket.socket, socket.socket]]] = {"tcp": tcp_pair, "unix": unix_pair}
copied_too = pytest.mark.parametrize("copied", [False, True], ids=["moved by the kernel", "copied"])
LEAVE = "leave"


@contextmanager
def moved(*, copied: bool) -> Iterator[None]:
    """With the kernel's help, or without."""
    with pytest.MonkeyPatch.context() as patch:
        if copied:
            patch.setattr(zerocopy, "mover_between", lambda *_: None)
        yield


class Peer:
    """The peer at one side: it plays its script, takes what comes, and may leave in the middle of it."""

    def __init__(self, loop: Loop, sock: socket.socket, script: Sequence[int | str | None], *, slow: bool) -> None:
        """In the script, a number is bytes to send; END half-closes; LEAVE is a reset, where there is such a thing."""
        self.loop = loop
        self.remote = FarSocket(loop, sock)
        self.script = script
        self.slow = slow
        self.sent = 0
        self.taken = bytearray()
        self.ended = False  # it has half-closed
        self.left = False
        self.got_end = False
        self.got_reset = False
        self.receiving: Task

    async def live(self) -> None:
        """Play the script, and take all that comes."""
        self.receiving = self.loop.spawn(self._receive(), Condition())
        try:
            await self._play()
            await join(self.loop, self.receiving) if not self.left else None
        finally:
            await self.loop.cancel_and_wait(self.receiving)
            self.remote.close()

    async def _play(self) -> None:
        for item in self.script:
            try:
                if item == LEAVE:
                    await self.loop.cancel_and_wait(self.receiving)
                    self.left = True
                    return self.remote.leave()
                if item is END:
                    self.remote.hang_up()
                    self.ended = True
                elif isinstance(item, int):
                    await self._send(item)
            except OSError:  # a reset is reported once, by the call that comes first
                self.got_reset = True
                return None
            await turns(self.loop, 2)
        return None

    async def _send(self, size: int) -> None:
        rest = memoryview(BYTES)[self.sent : self.sent + size]
        while rest and not self.receiving.done:
            try:
                count = self.remote.sock.send(rest)
            except BlockingIOError:
                await self.loop.writable(self.remote.sock.fileno(), self.loop.clock() + 0.05)
                continue
            self.sent += count
            rest = rest[count:]

    async def _receive(self) -> None:
        while True:
            await self.loop.readable(self.remote.sock.fileno())
            try:
                data = self.remote.sock.recv(5000 if self.slow else 1 << 18)
            except OSError:
                self.got_reset = True
                return
            if not data:
                self.got_end = True
                return
            self.taken += data


class Scene(NamedTuple):
    """What happens on a bridge."""

    over: tuple[str, str]  # what the client's and the target's connection is
    scripts: tuple[list[int | str | None], list[int | str | None]]
    slow: tuple[bool, bool]


class Played(NamedTuple):
    """Both peers as they were at the end, and what the bridge raised."""

    client: Peer
    target: Peer
    error: PyncError | None


def endpoint(loop: Loop, sock: socket.socket, name: str) -> StreamSocket:
    return StreamSocket(loop, sock, Address(host=name))


def play_scene(scene: Scene) -> Played:
    async def main(loop: Bench) -> Played:
        (one, client), (other, target) = (PAIRS[over]() for over in scene.over)
        far, near = endpoint(loop, one, "far"), endpoint(loop, other, "near")
        peers = [Peer(loop, *facts, slow=slow) for *facts, slow in zip((client, target), scene.scripts, scene.slow)]  # type: ignore[arg-type]  # noqa: B905
        living = [loop.spawn(peer.live(), Condition()) for peer in peers]
        error = None
        try:
            await Bridge(a_context(loop), far, near, Flow(loop, near, far), Flow(loop, far, near)).run()
        except PyncError as raised:
            error = raised
        far.close()
        near.close()
        for task in living:
            await join(loop, task)
        return Played(peers[0], peers[1], error)

    return bench(main)


def keeps_to_the_model(scene: Scene, played: Played) -> None:
    """What has to come of it, however the bytes are moved."""
    client, target, error = played
    sides = list(zip(scene.over, (client, target), strict=True))
    for (over, taker), (other, sender) in (sides, sides[::-1]):
        same([bytes(taker.taken)], [BYTES[: len(taker.taken)]])
        assert len(taker.taken) <= sender.sent
        if taker.left:
            continue
        assert taker.got_end or taker.got_reset, "it learns of the end one way or the other"
        if not taker.got_reset and over == "tcp":  # a unix socket knows no other end
            assert sender.ended or (sender.left and other == "unix"), "an end-of-file is passed on, never made up"
            assert len(taker.taken) == sender.sent, "after all that was sent"
    if not (client.left or target.left):
        assert error is None
        assert client.got_end and target.got_end
        assert len(client.taken) == target.sent
        assert len(target.taken) == client.sent
    elif error:
        assert isinstance(error, PeerLost)


SIZES = st.integers(1, 9) | st.integers(1, 400_000)
SCRIPTS = st.builds(
    lambda sizes, ending: [*sizes, *ending],
    st.lists(SIZES, max_size=5),
    st.sampled_from([[END], [END], [END], [LEAVE], [END, LEAVE]]),
)


@settings(max_examples=60)
@given(st.data())
def test_a_bridge_passes_on_every_byte_in_order_and_each_end_after_them(data: st.DataObject) -> None:
    scene = Scene(
        data.draw(st.tuples(st.sampled_from(sorted(PAIRS)), st.sampled_from(sorted(PAIRS))), "over"),
        data.draw(st.tuples(SCRIPTS, SCRIPTS), "scripts"),
        data.draw(st.tuples(st.booleans(), st.booleans()), "slow"),
    )
    for copied in (False, True):
        with moved(copied=copied):
            keeps_to_the_model(scene, play_scene(scene))


@copied_too
@pytest.mark.parametrize("over", PAIRS)
async def test_what_has_arrived_before_a_reset_is_delivered_before_the_reset(
    real_loop: Bench, over: str, copied: bool
) -> None:
    with moved(copied=copied):
        (one, client), (other, target) = PAIRS[over](), tcp_pair()
        far, near = endpoint(real_loop, one, "far"), endpoint(real_loop, other, "near")
        client.setblocking(False)
        sent = client.send(BYTES)
        await real_loop.sleep(0.05)
        one.send(b"unread")  # a unix socket is reset only if something is left unread
        bridge = Bridge(a_context(real_loop), far, near, Flow(real_loop, near, far), Flow(real_loop, far, near))
        FarSocket(real_loop, client).leave()
        running = real_loop.spawn(bridge.run(), Condition())
        peer = Peer(real_loop, target, [], slow=False)
        await peer.live()
        same([bytes(peer.taken)], [BYTES[: len(peer.taken)]])
        assert peer.got_reset and not peer.got_end
        assert 0 < len(peer.taken) <= sent and (over == "tcp" or len(peer.taken) == sent)
        with pytest.raises(PeerLost, match="connection to far: Connection reset by peer"):
            await join(real_loop, running)


@copied_too
@pytest.mark.parametrize("over", PAIRS)
async def test_a_target_that_does_not_read_stops_the_client_and_costs_nothing(
    real_loop: Bench, over: str, copied: bool
) -> None:
    with moved(copied=copied):
        (one, client), (other, target) = PAIRS[over](), PAIRS[over]()
        far, near = endpoint(real_loop, one, "far"), endpoint(real_loop, other, "near")
        receiving = Flow(real_loop, far, near)
        running = real_loop.spawn(
            Bridge(a_context(real_loop), far, near, Flow(real_loop, near, far), receiving).run(), Condition()
        )
        remote = FarSocket(real_loop, client)
        giving = real_loop.spawn(remote.give(50 * BYTES), Condition())
        arrived = -1
        while arrived != receiving.moved:
            arrived = receiving.moved
            await real_loop.sleep(0.03)
        assert not giving.done and arrived < 5_000_000
        assert receiving.unsent() < 10 * len(BYTES), "a pipe of 1 MiB counts pages, and a page may stand for many"
        polls = real_loop.selector.polls
        await real_loop.sleep(0.05)
        assert real_loop.selector.polls - polls < 10, "the loop spins"
        assert await answered(real_loop, target, remote), "the other direction goes on"
        await real_loop.cancel_and_wait(giving, running)
        FarSocket(real_loop, target).close()
        remote.close()


async def answered(loop: Loop, target: socket.socket, remote: FarSocket) -> bool:
    """Whether what the target sends reaches the client."""
    target.send(b"answer")
    return await remote.take() == b"answer"


async def test_a_thousand_bridges_on_one_loop_keep_apart_and_hold_no_pipe(real_loop: Bench) -> None:
    count = 1000
    raise_limit()
    tasks, remotes = [], []
    for number in range(count):
        (one, client), (other, target) = unix_pair(), unix_pair()
        far, near = endpoint(real_loop, one, "far"), endpoint(real_loop, other, "near")
        bridge = Bridge(a_context(real_loop), far, near, Flow(real_loop, near, far), Flow(real_loop, far, near))
        tasks.append((real_loop.spawn(bridge.run(), Condition()), far, near))
        remotes.append((FarSocket(real_loop, client), FarSocket(real_loop, target)))
        await remotes[number][0].give(b"question %d" % number)
    before = len(descriptors())
    for number in random.sample(range(count), count):
        client_remote, target_remote = remotes[number]
        assert await target_remote.take() == b"question %d" % number
        await target_remote.give(b"answer %d" % number)
        assert await client_remote.take() == b"answer %d" % number
    assert len(descriptors()) == before
    for number, (running, far, near) in enumerate(tasks):
        for remote, other_remote in (remotes[number], remotes[number][::-1]):
            remote.hang_up()
            assert await other_remote.take() is None
        await join(real_loop, running)
        for end in (far, near, *remotes[number]):
            end.close()
