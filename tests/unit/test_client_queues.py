"""The queues of clients: what is put is what is taken, a full one is waited for, one that stands still is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conformance import join, turns
from doubles import StubPeer, together
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints.client_queues import LOOK, QUEUE_BYTES, QUEUE_PIECES, STALL, Queue, Queues
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from pync.loop.kernel import Loop


class Watched(Queue):
    """A queue that notes when it is given up, and that moves for `moving` seconds."""

    def __init__(self, queues: Queues, moving: float = 0.0) -> None:
        super().__init__(queues, StubPeer(queues.loop))
        self.given_up: float | None = None
        self.until = queues.loop.clock() + moving

    def moves(self) -> bool:
        return self.queues.loop.clock() <= self.until

    def stalled(self) -> None:
        self.given_up = self.queues.loop.clock()


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
    queue = Watched(queues, moving=60)
    start = loop.clock()
    queue.put(bytes(QUEUE_BYTES + 1))
    await queues.room()
    assert queue.given_up == pytest.approx(start + 60 + STALL, abs=LOOK)
