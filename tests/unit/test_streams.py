"""What is special to stream sockets: how a connection breaks, when it is closed, and how long it lingers."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from conformance import Bench, FarSocket, join, tcp_pair, turns, unix_pair
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints import CHUNK, SHORT, next_read_size
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost
from pync.events import as_address
from pync.loop.hangups import Hangups
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task, Work

    Pair = Callable[[], tuple[socket.socket, socket.socket]]


@contextmanager
def connected(loop: Loop, pair: Pair = tcp_pair) -> Iterator[tuple[StreamSocket, FarSocket]]:
    """An endpoint, and the peer at the other side."""
    near, other = pair()
    endpoint, far = StreamSocket(loop, near, as_address(other.getsockname())), FarSocket(loop, other)
    try:
        yield endpoint, far
    finally:
        endpoint.close()
        far.close()


async def fill(endpoint: StreamSocket) -> int:
    """Write until the endpoint takes no more and all that can be delivered is; returns the bytes that it took."""
    loop, total = endpoint.loop, 0
    while True:
        try:
            total += await loop.within(0.05, endpoint.write(PAYLOAD(1 << 14)))
        except TimeoutError:
            return total


def unread(far: FarSocket) -> int:
    """Bytes that wait at the other side: its kernel has them and acknowledges them to ours."""
    return int.from_bytes(fcntl.ioctl(far.sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


async def settled(endpoint: StreamSocket, far: FarSocket, written: int) -> int:
    """Wait until all that has arrived is acknowledged; returns the bytes that are not."""
    while endpoint.unacknowledged() != written - unread(far):
        await endpoint.loop.sleep(0.001)
    return endpoint.unacknowledged()


async def goes_on(loop: Loop, work: Work[Any]) -> Task:
    """Start a task, and see that it does not end by itself."""
    task = loop.spawn(work, Condition())
    await turns(loop, 50)
    assert not task.done
    return task


# -- Reading -----------------------------------------------------------------------------------------------------


class ConnectRequest:
    """A socket that notes the size of each read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sizes: list[int] = []

    def recv(self, size: int) -> bytes:
        self.sizes.append(size)
        return self.sock.recv(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


@given(st.integers(1, CHUNK), st.integers(0, CHUNK), st.integers(1, CHUNK))
def test_appetite_comes_with_eating(asked: int, got: int, most: int) -> None:
    low = min(SHORT, most)
    asked = min(max(asked, low), most)
    got = min(got, asked)
    following = next_read_size(asked, got, most)
    assert low <= following <= most, "what was allowed is never exceeded"
    if got == asked:
        assert following == most, "a full read asks for all that is allowed"
    elif got <= SHORT:
        assert following == low, "a small one for little"
    else:
        assert following == asked, "and one in between asks for as much as before"


async def test_a_read_of_a_socket_is_small_until_there_is_much(real_loop: Bench) -> None:
    near, other = unix_pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    asked: Any = ConnectRequest(near)
    endpoint, far = StreamSocket(real_loop, asked, as_address("near")), FarSocket(real_loop, other)
    await far.give(b"line\n")
    assert await endpoint.read() == b"line\n"
    await far.give(PAYLOAD(SHORT + 100))
    assert [len(await endpoint.read() or b"") for _ in range(2)] == [SHORT, 100]
    await far.give(b"line\n")
    assert await endpoint.read() == b"line\n"
    endpoint.close()
    far.close()
    sizes: list[int] = asked.sizes
    assert sizes == [SHORT, SHORT, CHUNK, SHORT]


# -- Broken ------------------------------------------------------------------------------------------------------


async def test_the_error_of_a_reset_counts_the_bytes_that_did_not_arrive(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        missing = await settled(endpoint, far, await fill(endpoint))
        assert missing > 0
        far.leave()
        with pytest.raises(PeerLost) as raised:
            await endpoint.read()
        assert raised.value.unsent == missing
        name = f"connection to {endpoint.address}"
        assert str(raised.value) == f"{name}: Connection reset by peer, {missing} bytes were not sent"


async def test_the_error_of_a_reset_after_everything_has_arrived_counts_none(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        assert await settled(endpoint, far, await endpoint.write(b"all of it")) == 0
        far.leave()
        with pytest.raises(PeerLost, match=r"^connection to [0-9.:]+: Connection reset by peer$"):
            await endpoint.read()


async def test_our_end_of_file_is_not_counted_as_a_byte(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        missing = await settled(endpoint, far, await fill(endpoint))
        await endpoint.send_eof()
        assert endpoint.unacknowledged() == missing
        while await far.take() is not None:
            pass
        while endpoint.unacknowledged():
            await real_loop.sleep(0.001)


async def test_on_a_unix_socket_no_byte_is_unacknowledged(real_loop: Bench) -> None:
    with connected(real_loop, unix_pair) as (endpoint, _):
        await fill(endpoint)
        assert endpoint.unacknowledged() == 0


async def test_where_the_system_does_not_count_no_byte_is_unacknowledged(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    with connected(real_loop) as (endpoint, _):
        await fill(endpoint)
        monkeypatch.setattr(fcntl, "ioctl", refuse)
        assert endpoint.unacknowledged() == 0


async def test_a_half_close_of_a_reset_connection_leaves_the_error_to_the_next_read(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        far.leave()
        await real_loop.readable(endpoint.sock.fileno())
        await endpoint.send_eof()
        with pytest.raises(PeerLost, match="Connection reset by peer"):
            await endpoint.read()


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (tcp_pair, "Connection reset by peer"),  # nothing else stops TCP from sending
        (unix_pair, "Broken pipe"),
    ],
)
async def test_a_broken_pipe_is_named_after_what_broke_it(real_loop: Bench, pair: Pair, why: str) -> None:
    with connected(real_loop, pair) as (endpoint, _):
        error = endpoint.failed(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        assert str(error) == f"connection to {endpoint.address}: {why}"


async def test_a_reset_that_was_reported_already_is_still_called_one(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        far.leave()
        await real_loop.readable(endpoint.sock.fileno())
        # The system reports a reset once, and then has forgotten it.
        assert endpoint.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
        with pytest.raises(PeerLost, match="Connection reset by peer$"):
            await endpoint.write(b"data")


# -- Closed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [tcp_pair, unix_pair])
async def test_a_connection_is_closed_once_both_sides_have_ended(real_loop: Bench, pair: Pair) -> None:
    with connected(real_loop, pair) as (endpoint, far):
        closed = await goes_on(real_loop, endpoint.wait_closed())
        await endpoint.send_eof()
        await turns(real_loop, 50)
        assert not closed.done
        far.hang_up()
        await join(real_loop, closed)
        await endpoint.wait_closed()  # and stays so


async def test_a_connection_that_the_peer_half_closes_is_not_closed(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        far.hang_up()
        assert await endpoint.read() is None
        await real_loop.cancel_and_wait(await goes_on(real_loop, endpoint.wait_closed()))


async def test_closed_by_a_reset_is_an_error(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        closed = await goes_on(real_loop, endpoint.wait_closed())
        far.leave()
        with pytest.raises(PeerLost, match="Connection reset by peer"):
            await join(real_loop, closed)


async def test_closed_while_bytes_were_on_their_way_is_an_error_that_counts_them(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        missing = await settled(endpoint, far, await fill(endpoint))
        closed = await goes_on(real_loop, endpoint.wait_closed())
        far.close()  # a reset, because some of its input is unread
        with pytest.raises(PeerLost) as raised:
            await join(real_loop, closed)
        assert raised.value.unsent == missing


async def test_waiting_for_the_end_can_be_cancelled_and_leaves_the_connection_usable(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        for word in (b"one", b"two"):
            await real_loop.cancel_and_wait(await goes_on(real_loop, endpoint.wait_closed()))
            await far.give(word)
            assert await endpoint.read() == word
            await endpoint.write(word)
            assert await far.take() == word


@pytest.mark.parametrize("reset", [False, True])
async def test_where_the_system_gives_no_watch_a_closed_connection_is_noticed_by_looking(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    monkeypatch.setattr("pync.loop.hangups.LOOK", 0.01)
    monkeypatch.setattr(real_loop.shared(Hangups), "_watches", lambda fd: False)
    with connected(real_loop) as (endpoint, far):
        closed = await goes_on(real_loop, endpoint.wait_closed())
        if reset:
            far.leave()
            with pytest.raises(PeerLost):
                await join(real_loop, closed)
        else:
            await endpoint.send_eof()
            far.close()
            await join(real_loop, closed)


# -- Lingering ---------------------------------------------------------------------------------------------------


async def test_lingering_half_closes_drops_what_comes_and_goes_on_until_the_peer_has_taken_all(
    real_loop: Bench,
) -> None:
    with connected(real_loop) as (endpoint, far):
        await fill(endpoint)
        lingering = await goes_on(real_loop, endpoint.linger(None))
        await far.give(PAYLOAD(200_000))
        await turns(real_loop, 10)
        assert not lingering.done
        far.hang_up()
        await turns(real_loop, 10)
        assert not lingering.done
        while await far.take() is not None:  # everything we sent, and the end-of-file
            pass
        assert await join(real_loop, lingering) is True


@pytest.mark.parametrize("size", [1, 5, 60_000])
async def test_what_is_sent_to_a_peer_that_had_closed_both_directions_is_lost_to_the_byte(
    real_loop: Bench, size: int
) -> None:
    with connected(real_loop) as (endpoint, far):
        far.sock.close()
        assert await endpoint.read() is None
        assert await endpoint.write(bytes(size)) == size
        with pytest.raises(PeerLost, match=f": Connection reset by peer, {size} bytes? w[a-z]+ not sent$"):
            await endpoint.linger()


async def test_a_reset_that_acknowledges_what_was_sent_claims_no_loss(real_loop: Bench) -> None:
    # The peer has read all, and its reset is the first that says so: its system waits before it acknowledges.
    for _ in range(30):
        with connected(real_loop) as (endpoint, far):
            await far.give(b"request")
            assert await endpoint.read() == b"request"
            await endpoint.write(bytes(148))
            assert len(await far.take() or b"") == 148
            far.leave()
            with pytest.raises(PeerLost, match="Connection reset by peer$"):
                await endpoint.read()


async def test_lingering_ends_once_the_peer_has_taken_everything(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        written = await fill(endpoint)
        lingering = await goes_on(real_loop, endpoint.linger(None))
        taken = 0
        while data := await far.take():
            taken += len(data)
        assert taken == written
        assert await join(real_loop, lingering) is True


async def test_lingering_has_a_limit(loop: Loop) -> None:
    with connected(loop) as (endpoint, _):
        with suppress(BlockingIOError):
            while endpoint.sock.send(PAYLOAD(1 << 14)):
                pass
        start = loop.clock()
        assert await endpoint.linger(2.0) is False
        assert loop.clock() - start == pytest.approx(2.0)
        assert endpoint.unacknowledged() > 0


async def test_a_reset_while_lingering_is_an_error(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        await fill(endpoint)
        lingering = await goes_on(real_loop, endpoint.linger(None))
        far.leave()
        with pytest.raises(PeerLost):
            await join(real_loop, lingering)


async def test_closing_after_lingering_sends_no_reset(real_loop: Bench) -> None:
    with connected(real_loop) as (endpoint, far):
        await far.give(b"a question that stays unread")
        await endpoint.write(b"the answer")
        await endpoint.linger()
        endpoint.close()
        assert await far.take() == b"the answer"
        assert await far.take() is None
