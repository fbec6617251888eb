"""The queues of clients: what is put is what is taken, a full one is waited for, one that stands still is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conformance import join, turns
from doubles import StubPeer, together
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints.client_queues import LOOK, PATIENCE, QUEUE_BYTES, QUEUE_PIECES, STALL, Outbox, Queue, Queues
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop


class Watched(Queue):
    """A queue that notes when it is given up, and that moves for `moving` seconds."""

    def __init__(self, queues: Queues, moving: float = 0.0) -> None:
        super().__init__(queues, StubPeer(queues.loop))
        self.given_up: float | None = None
        self.why = ""
        self.until = queues.loop.clock() + moving

    def moves(self) -> bool:
        return self.queues.loop.clock() <= self.until

    def stalled(self, why: str) -> None:
        self.given_up = self.queues.loop.clock()
        self.why = why


class Slow(StubPeer):
    """A client whose system takes up to `window` bytes at once, and acknowledges them at a rate."""

    def __init__(self, loop: Loop, rate: float, window: int) -> None:
        super().__init__(loop)
        self.rate = rate
        self.window = window
        self.held = 0.0
        self.seen = loop.clock()

    def unacknowledged(self) -> int:
        now = self.loop.clock()
        self.held = max(0.0, self.held - self.rate * (now - self.seen))
        self.seen = now
        return int(self.held)

    async def write(self, data: Bytes) -> int:
        """Take data as a kernel does: only once a third of the room is free (tcp(7)), and then all that fits."""
        while self.unacknowledged() > self.window * 2 // 3:
            await self.loop.sleep(0.05)
        return self.send_nowait(data)

    def send_nowait(self, data: Bytes) -> int:
        taken = min(len(data), self.window - self.unacknowledged())
        self.held += taken
        return taken


class Writing(Outbox):
    """An outbox that notes when its client is given up."""

    given_up: float | None = None
    why = ""

    def stalled(self, why: str) -> None:
        self.given_up = self.queues.loop.clock()
        self.why = why


@given(st.lists(st.binary(max_size=9) | st.integers(0, 20)))
async def test_what_is_put_is_what_is_taken_in_order(loop: Loop, steps: list[bytes | int]) -> None:
    queue, waiting = Queue(Queues(loop), StubPeer(loop)), b""
    for step in steps:
        if isinstance(step, bytes):
            queue.put(step)
            waiting += step
        elif queue.pieces and step <= queue.size:
            queue.drop(step)
            waiting = waiting[step:]
        assert b"".join(queue.pieces or ()) == waiting
        assert queue.size == len(waiting)


async def test_what_is_empty_keeps_nothing_and_what_is_put_is_not_copied(loop: Loop) -> None:
    queue, data = Queue(Queues(loop), StubPeer(loop)), bytes(1000)
    queue.put(data)
    assert [piece is data for piece in queue.pieces or ()] == [True]
    queue.drop(999)
    assert [memoryview(piece).obj is data for piece in queue.pieces or ()] == [True]
    queue.drop(1)
    assert queue.pieces is None


async def test_room_is_waited_for_until_no_queue_is_full(loop: Loop) -> None:
    queues = Queues(loop)
    await queues.room()
    ours = [Watched(queues) for _ in range(3)]
    for queue in ours:
        queue.put(bytes(QUEUE_BYTES))
    await queues.room()  # full is what holds more than that
    for queue in ours:
        queue.put(b"x")
    waiting = loop.spawn(queues.room(), Condition())
    for queue in ours:
        await turns(loop, 3)
        assert not waiting.done
        queue.drop(1)
    await join(loop, waiting)
    assert not any(queue.given_up for queue in ours)


async def test_small_pieces_fill_a_queue_by_their_number(loop: Loop) -> None:
    queues = Queues(loop)
    queue = Watched(queues)
    for _ in range(QUEUE_PIECES):
        queue.put(b"x")
    assert not queues.full
    queue.put(b"x")
    assert queue in queues.full
    queue.drop(1)
    assert not queues.full


async def test_a_queue_whose_client_has_left_is_not_waited_for(loop: Loop) -> None:
    queues = Queues(loop)
    queue = Watched(queues)
    queue.put(bytes(QUEUE_BYTES + 1))
    waiting = loop.spawn(queues.room(), Condition())
    await turns(loop, 3)
    queues.discard(queue)
    queues.discard(queue)
    await join(loop, waiting)


@pytest.mark.parametrize("waiters", [1, 3])
async def test_a_client_that_takes_nothing_is_given_up_in_time_however_many_tasks_wait(
    loop: Loop, waiters: int
) -> None:
    queues = Queues(loop)
    queue = Watched(queues)
    start = loop.clock()
    queue.put(bytes(QUEUE_BYTES + 1))
    await together(loop, *(queues.room() for _ in range(waiters)))
    assert queue.given_up == pytest.approx(start + STALL)


async def test_a_client_whose_progress_shows_only_when_asked_is_waited_for(loop: Loop) -> None:
    queues = Queues(loop)
    queue = Watched(queues, moving=20)
    start = loop.clock()
    queue.put(bytes(QUEUE_BYTES + 1))
    await queues.room()
    assert queue.given_up == pytest.approx(start + 20 + STALL, abs=LOOK)
    assert queue.why == "it takes nothing, and others wait"


async def test_nothing_is_copied_for_a_client_that_takes_nothing(loop: Loop) -> None:
    class Stuck(StubPeer):
        waiting: Bytes = b""

        def raw(self) -> int:
            return 0

        async def write(self, data: Bytes) -> int:
            self.waiting = data
            await loop.wait(Condition())
            return 0

    queue, pieces = Writing(Queues(loop), peer := Stuck(loop)), [bytes(1000) for _ in range(10)]
    for piece in pieces:
        queue.put(piece)
    await turns(loop, 3)
    assert peer.waiting is pieces[0]


# -- Slow, but moving


async def flood(queues: Queues, queue: Writing, seconds: float, piece: int = 1 << 16) -> float:
    """Put pieces into the queue as fast as there is room; how long it took until it was given up."""
    start = queues.loop.clock()
    while queue.given_up is None and queues.loop.clock() < start + seconds:
        await queues.room()
        queue.put(bytes(piece))
        await queues.loop.sleep(0)
    return queues.loop.clock() - start


@pytest.mark.parametrize("window", [0, 1 << 16, 1 << 22])
@pytest.mark.parametrize("rate", [200, 5_000, QUEUE_BYTES / PATIENCE * 0.8])
async def test_a_client_that_is_too_slow_is_cut_off_when_the_others_have_waited_for_it_long_enough(
    loop: Loop, rate: float, window: int
) -> None:
    queues = Queues(loop)
    queue = Writing(queues, Slow(loop, rate, max(1000, window)))
    assert await flood(queues, queue, 300) == pytest.approx(PATIENCE, abs=2 * LOOK)
    assert queue.why == "it is too slow, and others wait"


@pytest.mark.parametrize("window", [1 << 16, 1 << 20, 1 << 22])
@pytest.mark.parametrize("rate", [QUEUE_BYTES / PATIENCE * 1.2, 100_000, 10_000_000])
async def test_a_client_that_takes_what_its_queue_holds_in_time_is_never_cut_off(
    loop: Loop, rate: float, window: int
) -> None:
    queues = Queues(loop)
    queue = Writing(queues, Slow(loop, rate, window))
    await flood(queues, queue, 300, 1 << 14)
    assert queue.given_up is None


async def test_the_time_in_which_the_others_do_not_wait_does_not_count(loop: Loop) -> None:
    queues = Queues(loop)
    queue = Writing(queues, Slow(loop, 5_000, 1000))
    start = loop.clock()
    queue.put(bytes(QUEUE_BYTES + 100_000))  # the others wait for 20 s
    await queues.room()
    await loop.sleep(100)  # half a queue is left
    assert queue.size > QUEUE_BYTES // 3
    queue.put(bytes(QUEUE_BYTES - queue.size + 40_000))  # and for 8 s
    await queues.room()
    assert queue.given_up is None
    queue.put(bytes(QUEUE_BYTES - queue.size + 40_000))  # and for 2 s of 8
    await queues.room()
    assert queue.given_up == pytest.approx(start + 20 + 100 + PATIENCE - 20, abs=2)


async def test_a_queue_that_was_emptied_has_all_its_time_again(loop: Loop) -> None:
    queues = Queues(loop)
    queue = Writing(queues, Slow(loop, 50_000, 1 << 16))
    for _ in range(5):
        queue.put(bytes(QUEUE_BYTES + 1_000_000))  # the others wait for 20 s
        await queues.room()
        while queue.pieces:
            await loop.sleep(1)
    assert queue.given_up is None
