"""Two connections passed on to each other: the rules one by one on a clock that jumps, then whole bridges of sockets.

The model of a bridge: each side takes the beginning of what the other one said, and reads an end-of-file only after
all of it.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import Bench, FarSocket, bench, descriptors, join, same, tcp_pair, turns, unix_pair
from doubles import END, Clock, MemorySink, MemorySource, Stuck, play
from harness import PAYLOAD
from hypothesis import given, settings
from hypothesis import strategies as st

from pync.config import Ending
from pync.descriptors import raise_limit
from pync.endpoints.streams import LINGER, Stream, StreamSocket
from pync.errors import PeerLost, PyncError, TimedOut
from pync.events import Address
from pync.loop.tasks import Condition
from pync.relay import flow as flow_module
from pync.relay.bridge import Bridge, Exchange
from pync.relay.flow import Flow

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from doubles import Given, Taken

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

FAR = PeerLost("connection to far", "Connection reset by peer")
NEAR = PeerLost("connection to near", "Connection reset by peer")
CUT = PeerLost("connection to far", "The end is missing")
FOREVER: Sequence[Given] = ()


# -- The rules, one by one -----------------------------------------------------------------------------------------


class MemoryStream(Stream):
    """A connection whose two halves are scripted. `broken` is the moment it was aborted."""

    __slots__ = ("address", "broken", "hangup", "heard", "improper", "loop", "source", "waiting")

    def __init__(
        self,
        loop: Loop,
        said: Sequence[Given],
        room: Sequence[Taken] = (),
        gone: Sequence[Given] = FOREVER,
        improper: PeerLost | None = None,
        waiting: float = 0,
    ) -> None:
        """`gone` is the script of the connection's end; `waiting`: seconds until it has acknowledged everything."""
        self.loop = loop
        self.address = Address(host="peer")
        self.source = MemorySource(loop, *said)
        self.heard = MemorySink(loop, *room)
        self.hangup = MemorySource(loop, *gone)
        self.improper = improper
        self.waiting = waiting
        self.broken: float | None = None

    async def read(self) -> bytes | None:
        return await self.source.read()

    async def write(self, data: Bytes) -> int:
        return await self.heard.write(data)

    async def send_eof(self) -> None:
        await self.heard.send_eof()

    async def wait_closed(self) -> None:
        await self.hangup.read()

    def check_clean_end(self) -> None:
        if self.improper:
            raise self.improper

    def unacknowledged(self) -> int:
        return 1 if self.loop.clock() < 1000 + self.waiting else 0

    def abort(self) -> None:
        assert self.broken is None, "aborted twice"
        self.broken = self.loop.clock() - 1000


class Over:
    """How a bridge ended: after so many seconds (None: it goes on for ever), and with which error."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.error: BaseException | None = None
        self.far: MemoryStream
        self.near: MemoryStream

    @property
    def heard(self) -> tuple[bytes, bytes]:
        """What far and near were sent."""
        return self.far.heard.data, self.near.heard.data

    @property
    def ends(self) -> tuple[Any, Any]:
        """When far and near got an end-of-file."""
        far, near = ([moment - 1000 for moment in stream.heard.ends] for stream in (self.far, self.near))
        return far, near

    @property
    def broken(self) -> tuple[Any, Any]:
        """When far and near were aborted."""
        return self.far.broken, self.near.broken


Side = dict[str, object]


def side(*said: Given, **how: object) -> Side:
    """What a side says, and how it is otherwise."""
    return {"said": said, **how}


def bridged(far: Side, near: Side, ending: Ending = Ending()) -> Over:  # noqa: B008 (frozen)
    """Run a bridge to its end."""
    over, clock = Over(), Clock()

    async def main(loop: Loop) -> None:
        over.far = MemoryStream(loop, **far)  # type: ignore[arg-type]
        over.near = MemoryStream(loop, **near)  # type: ignore[arg-type]
        sending, receiving = Flow(loop, over.near, over.far), Flow(loop, over.far, over.near)
        await Bridge(loop, sending, receiving, ending, far=over.far, near=over.near).run()

    try:
        play(main, clock)
        over.seconds = clock.now - 1000
    except Stuck:
        pass
    except PyncError as error:
        over.seconds, over.error = clock.now - 1000, error
    return over


def test_each_end_is_passed_on_once_after_all_bytes_and_the_other_direction_goes_on() -> None:
    over = bridged(side(b"question", 1.0, END), side(3.0, b"answer", 2.0, b"more", END))
    assert over.heard == (b"answermore", b"question")
    assert over.ends == ([5], [1])
    assert (over.seconds, over.error, over.broken) == (5, None, (None, None))


def test_the_side_that_answers_may_end_first() -> None:
    over = bridged(side(2.0, b"late", 1.0, END), side(b"banner", END))
    assert (over.heard, over.ends) == ((b"banner", b"late"), ([0], [3]))
    assert (over.seconds, over.error, over.broken) == (3, None, (None, None))


def test_an_end_waits_until_all_is_taken() -> None:
    over = bridged(side(b"abc", END), side(END, room=[1, 5.0, 1, 5.0]))
    assert (over.heard, over.ends, over.seconds) == ((b"", b"abc"), ([0], [10]), 10)


def test_a_bridge_on_which_nobody_ends_goes_on_for_ever() -> None:
    assert bridged(side(b"a"), side(b"b")).seconds is None
    assert bridged(side(b"a", END), side(b"b")).seconds is None


@pytest.mark.parametrize("lost", [FAR, NEAR], ids=["far", "near"])
def test_what_breaks_on_one_side_breaks_on_the_other(lost: PeerLost) -> None:
    one, other = side(b"half of it", 1.0, lost), side(2.0, b"never", END)
    over = bridged(one, other) if lost is FAR else bridged(other, one)
    assert sorted(over.heard) == [b"", b"half of it"] and over.ends == ([], [])
    assert (over.seconds, str(over.error), over.broken) == (1, str(lost), (1, 1))


def test_what_a_side_said_before_it_was_lost_is_delivered_first() -> None:
    over = bridged(side(b"abc", FAR), side(room=[1, 5.0, 1, 5.0]))
    assert (over.heard, over.broken) == ((b"", b"abc"), (10, 10))


def test_who_takes_nothing_any_more_is_heard_out() -> None:
    over = bridged(side(b"x", 0.25, b"y", 0.25, FAR, room=[FAR]), side(b"data"))
    assert (over.heard, over.ends) == ((b"", b"xy"), ([], []))
    assert (over.seconds, over.broken) == (0.5, (0.5, 0.5))


def test_the_end_of_who_takes_nothing_any_more_is_none() -> None:
    over = bridged(side(b"x", 0.25, END, room=[FAR]), side(b"data"))
    assert (over.heard, over.ends) == ((b"", b"x"), ([], []))
    assert (over.seconds, over.broken) == (0.25, (0.25, 0.25))


def test_both_may_be_lost_at_once() -> None:
    over = bridged(side(b"x", room=[0.25, FAR]), side(b"y", room=[0.25, NEAR]))
    assert isinstance(over.error, PeerLost) and over.error.unsent == 1
    assert (over.seconds, over.broken) == (0.25, (0.25, 0.25))


def test_who_takes_nothing_any_more_and_says_nothing_either_is_lost_after_half_a_second() -> None:
    over = bridged(side(room=[FAR]), side(b"data"))
    assert (over.seconds, over.broken) == (0.5, (0.5, 0.5))
    assert isinstance(over.error, PeerLost) and over.error.unsent == 4


def test_the_other_side_is_given_time_to_take_what_it_was_sent() -> None:
    assert bridged(side(b"x", FAR), side(waiting=1)).broken[1] == pytest.approx(1, abs=0.5)
    assert bridged(side(b"x", FAR, waiting=100), side()).broken == (0, 0), "who is lost takes nothing any more"
    late = bridged(side(b"x", FAR), side(waiting=100)).broken[1]
    assert late is not None and LINGER <= late <= 2 * LINGER


@pytest.mark.parametrize("answer", [(), (b"answer", END)], ids=["while the other goes on", "after the other's end"])
def test_an_end_that_is_none_is_not_passed_on_as_one(answer: Sequence[Given]) -> None:
    over = bridged(side(b"half of it", 1.0, END, improper=CUT), side(*answer))
    assert over.heard[1] == b"half of it" and over.ends[1] == []
    assert (over.seconds, str(over.error), over.broken) == (1, str(CUT), (1, 1))


def test_who_has_ended_and_is_gone_is_noticed_while_nobody_speaks() -> None:
    over = bridged(side(b"question", END, gone=[4.0, FAR]), side())
    assert (over.ends, over.seconds, str(over.error)) == (([], [0]), 4, str(FAR))
    assert over.broken == (4, 4)
    over = bridged(side(), side(b"banner", END, gone=[4.0, NEAR]))
    assert (over.ends, over.seconds, str(over.error), over.broken) == (([0], []), 4, str(NEAR), (4, 4))


def test_who_has_ended_and_is_gone_without_an_error_has_nobody_left_to_hear() -> None:
    over = bridged(side(b"said", END, gone=[4.0, END]), side(waiting=4.5))
    assert (over.error, over.ends) == (None, ([], [0]))
    assert over.broken[1] == pytest.approx(4.5, abs=0.2)


def test_the_loss_is_told_with_what_that_side_did_not_get() -> None:
    over = bridged(side(1.0, FAR), side(b"abcdef", room=[1000.0]), Ending())
    assert isinstance(over.error, PeerLost) and over.error.unsent == 0
    over = bridged(side(b"ignored", 1.0, FAR, room=[2, 1000.0]), side(b"abcdef"))
    assert isinstance(over.error, PeerLost) and over.error.unsent == 4
    over = bridged(side(b"abcdef", room=[]), side(b"ignored", 1.0, NEAR, room=[2, 1000.0]))
    assert isinstance(over.error, PeerLost) and over.error.unsent == 4


def test_an_idle_bridge_is_broken_on_both_sides() -> None:
    over = bridged(side(b"a", 1.0, b"b"), side(3.0, b"c"), Ending(idle_timeout=8))
    assert isinstance(over.error, TimedOut)
    assert over.seconds is not None and 11 <= over.seconds <= 12
    assert over.broken == (over.seconds, over.seconds)


async def test_a_bridge_that_is_not_wanted_any_more_is_broken_on_both_sides(loop: Loop) -> None:
    far, near = MemoryStream(loop, [b"half"]), MemoryStream(loop, [])
    bridge = Bridge(loop, Flow(loop, near, far), Flow(loop, far, near), Ending(), far=far, near=near)
    running = loop.spawn(bridge.run(), Condition())
    await loop.sleep(3)
    await loop.cancel_and_wait(running)
    assert (far.broken, near.broken, near.heard.data) == (3, 3, b"half")


async def test_datagrams_are_exchanged_until_one_session_is_over(loop: Loop) -> None:
    far, near = MemoryStream(loop, [b"a", b"", 1.0, b"b"]), MemoryStream(loop, [2.0, b"", b"c", END])
    await Exchange(loop, Flow(loop, near, far), Flow(loop, far, near), Ending()).run()
    assert (near.heard.taken, far.heard.taken) == ([b"a", b"", b"b"], [b"", b"c"])
    assert not (near.heard.ends or far.heard.ends)


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
            patch.setattr(flow_module, "between", lambda *_: None)
        yield


class Peer:
    """Who sits at one side: says what its script says, takes what comes, and may leave in the middle of it."""

    def __init__(self, loop: Loop, sock: socket.socket, script: Sequence[int | str | None], *, slow: bool) -> None:
        """The script: so many bytes are said; END half-closes; LEAVE is a reset, where there is such a thing."""
        self.loop = loop
        self.hand = FarSocket(loop, sock)
        self.script = script
        self.slow = slow
        self.said = 0
        self.taken = bytearray()
        self.ended = False  # it has half-closed
        self.left = False
        self.heard_end = False
        self.heard_break = False
        self.listening: Task

    async def live(self) -> None:
        """Play the script, and take all that comes."""
        self.listening = self.loop.spawn(self._listen(), Condition())
        try:
            await self._speak()
            await join(self.loop, self.listening) if not self.left else None
        finally:
            await self.loop.cancel_and_wait(self.listening)
            self.hand.close()

    async def _speak(self) -> None:
        for item in self.script:
            try:
                if item == LEAVE:
                    await self.loop.cancel_and_wait(self.listening)
                    self.left = True
                    return self.hand.leave()
                if item is END:
                    self.hand.hang_up()
                    self.ended = True
                elif isinstance(item, int):
                    await self._say(item)
            except OSError:  # a reset is told once, to who asks first
                self.heard_break = True
                return None
            await turns(self.loop, 2)
        return None

    async def _say(self, size: int) -> None:
        rest = memoryview(BYTES)[self.said : self.said + size]
        while rest and not self.listening.done:
            try:
                count = self.hand.sock.send(rest)
            except BlockingIOError:
                await self.loop.writable(self.hand.sock.fileno(), self.loop.clock() + 0.05)
                continue
            self.said += count
            rest = rest[count:]

    async def _listen(self) -> None:
        while True:
            await self.loop.readable(self.hand.sock.fileno())
            try:
                data = self.hand.sock.recv(5000 if self.slow else 1 << 18)
            except OSError:
                self.heard_break = True
                return
            if not data:
                self.heard_end = True
                return
            self.taken += data


class Scene(NamedTuple):
    """What happens on a bridge."""

    over: tuple[str, str]
    scripts: tuple[list[int | str | None], list[int | str | None]]
    slow: tuple[bool, bool]


def endpoint(loop: Loop, sock: socket.socket, name: str) -> StreamSocket:
    return StreamSocket(loop, sock, Address(host=name))


def play_scene(scene: Scene) -> tuple[Peer, Peer, PyncError | None]:
    """Both peers as they were at the end, and what the bridge raised."""

    async def main(loop: Bench) -> tuple[Peer, Peer, PyncError | None]:
        (one, client), (other, target) = (PAIRS[over]() for over in scene.over)
        far, near = endpoint(loop, one, "far"), endpoint(loop, other, "near")
        peers = [Peer(loop, *facts, slow=slow) for *facts, slow in zip((client, target), scene.scripts, scene.slow)]  # type: ignore[arg-type]  # noqa: B905
        living = [loop.spawn(peer.live(), Condition()) for peer in peers]
        error = None
        try:
            await Bridge(loop, Flow(loop, near, far), Flow(loop, far, near), Ending(), far=far, near=near).run()
        except PyncError as raised:
            error = raised
        far.close()
        near.close()
        for task in living:
            await join(loop, task)
        return peers[0], peers[1], error

    return bench(main)


def keeps_to_the_model(scene: Scene, client: Peer, target: Peer, error: PyncError | None) -> None:
    """What has to come of it, however the bytes are moved."""
    sides = list(zip(scene.over, (client, target), strict=True))
    for (over, taker), (other, sayer) in (sides, sides[::-1]):
        same([bytes(taker.taken)], [BYTES[: len(taker.taken)]])
        assert len(taker.taken) <= sayer.said
        if taker.left:
            continue
        assert taker.heard_end or taker.heard_break, "it is told one way or the other"
        if not taker.heard_break and over == "tcp":  # a unix socket knows no other end
            assert sayer.ended or (sayer.left and other == "unix"), "an end-of-file is passed on, never made up"
            assert len(taker.taken) == sayer.said, "after all that was said"
    if not (client.left or target.left):
        assert error is None
        assert client.heard_end and target.heard_end
        assert (len(client.taken), len(target.taken)) == (target.said, client.said)
    elif error:
        assert isinstance(error, PeerLost)


WORDS = st.integers(1, 9) | st.integers(1, 400_000)
SAYING = st.lists(WORDS, max_size=5)
SCRIPTS = st.builds(
    lambda words, ending: [*words, *ending],
    SAYING,
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
            keeps_to_the_model(scene, *play_scene(scene))


@copied_too
@pytest.mark.parametrize("over", PAIRS)
async def test_what_has_arrived_before_a_reset_is_delivered_before_the_reset(
    real_loop: Bench, over: str, copied: bool
) -> None:
    with moved(copied=copied):
        (one, client), (other, target) = PAIRS[over](), tcp_pair()
        far, near = endpoint(real_loop, one, "far"), endpoint(real_loop, other, "near")
        client.setblocking(False)
        said = client.send(BYTES)  # nobody reads before the reset
        await real_loop.sleep(0.05)
        one.send(b"unread: a unix socket is reset only if something is")
        bridge = Bridge(real_loop, Flow(real_loop, near, far), Flow(real_loop, far, near), Ending(), far=far, near=near)
        FarSocket(real_loop, client).leave()
        running = real_loop.spawn(bridge.run(), Condition())
        peer = Peer(real_loop, target, [], slow=False)
        await peer.live()
        same([bytes(peer.taken)], [BYTES[: len(peer.taken)]])
        assert peer.heard_break and not peer.heard_end
        assert 0 < len(peer.taken) <= said and (over == "tcp" or len(peer.taken) == said)
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
            Bridge(real_loop, Flow(real_loop, near, far), receiving, Ending(), far=far, near=near).run(), Condition()
        )
        hand = FarSocket(real_loop, client)
        giving = real_loop.spawn(hand.give(50 * BYTES), Condition())
        arrived = -1
        while arrived != receiving.moved:
            arrived = receiving.moved
            await real_loop.sleep(0.03)
        assert not giving.done and arrived < 5_000_000
        assert receiving.unsent() < 10 * len(BYTES), "a pipe of 1 MiB counts pages, and a page may stand for many"
        polls = real_loop.selector.polls
        await real_loop.sleep(0.05)
        assert real_loop.selector.polls - polls < 10, "the loop spins"
        assert await answered(real_loop, target, hand), "the other direction goes on"
        await real_loop.cancel_and_wait(giving, running)
        FarSocket(real_loop, target).close()
        hand.close()


async def answered(loop: Loop, target: socket.socket, hand: FarSocket) -> bool:
    """Whether what the target says reaches the client."""
    target.send(b"answer")
    return await hand.take() == b"answer"


async def test_a_thousand_bridges_on_one_loop_keep_apart_and_hold_no_pipe(real_loop: Bench) -> None:
    count = 1000
    raise_limit()
    tasks, hands = [], []
    for number in range(count):
        (one, client), (other, target) = unix_pair(), unix_pair()
        far, near = endpoint(real_loop, one, "far"), endpoint(real_loop, other, "near")
        bridge = Bridge(real_loop, Flow(real_loop, near, far), Flow(real_loop, far, near), Ending(), far=far, near=near)
        tasks.append((real_loop.spawn(bridge.run(), Condition()), far, near))
        hands.append((FarSocket(real_loop, client), FarSocket(real_loop, target)))
        await hands[number][0].give(b"question %d" % number)
    before = len(descriptors())
    for number in random.sample(range(count), count):
        client_hand, target_hand = hands[number]
        assert await target_hand.take() == b"question %d" % number
        await target_hand.give(b"answer %d" % number)
        assert await client_hand.take() == b"answer %d" % number
    assert len(descriptors()) == before
    for number, (running, far, near) in enumerate(tasks):
        for hand, other_hand in (hands[number], hands[number][::-1]):
            hand.hang_up()
            assert await other_hand.take() is None
        await join(real_loop, running)
        for end in (far, near, *hands[number]):
            end.close()
