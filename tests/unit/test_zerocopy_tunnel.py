"""Bytes that the kernel moves from a socket to a socket: a tunnel, with a pipe in between where there is much."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import Bench, FarSocket, join, same
from ends import BYTES, MIB, PAIRS, everything, only_by_kernel, peer_of, sleeps, stalled
from expectations import expect

from pync.errors import PeerLost
from pync.loop.tasks import Condition
from pync.relay.flow import Flow
from pync.relay.spare_pipes import SparePipes
from pync.relay.zerocopy import Tunnel, mover_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pairs import Pair

    from pync.loop.kernel import Loop

    Role = Callable[..., AbstractContextManager[Pair]]


ENDS = [(one, other) for one in PAIRS for other in PAIRS]
between_both = pytest.mark.parametrize(("over", "onto"), ENDS, ids=["-".join(pair) for pair in ENDS])


class Between(NamedTuple):
    """A tunnel, with the peer that gives to it and the peer that takes from it."""

    mover: Tunnel
    giver: FarSocket
    taker: FarSocket


@contextmanager
def tunnel(loop: Loop, over: str = "tcp", onto: str = "tcp") -> Iterator[Between]:
    """A tunnel from a connection of one kind onto one of another."""
    with peer_of(loop, over) as (source, giver), peer_of(loop, onto) as (sink, taker):
        mover = mover_between(loop, source, sink)
        assert isinstance(mover, Tunnel)
        yield Between(mover, giver, taker)
        mover.close()


async def arrived(mover: Tunnel) -> None:
    """Wait until something is there to be moved."""
    await mover.loop.readable(mover.from_fd)


@between_both
async def test_a_tunnel_distinguishes_silence_bytes_and_the_end(real_loop: Bench, over: str, onto: str) -> None:
    with tunnel(real_loop, over, onto) as (mover, giver, taker):
        for word in (b"one", b"another"):
            with pytest.raises(BlockingIOError):
                mover.step()
            await giver.give(word)
            await arrived(mover)
            assert mover.step() == len(word)
            expect(mover, left=0, pipe=())
            assert await taker.take() == word
        giver.hang_up()
        await arrived(mover)
        assert [mover.step(), mover.step()] == [0, 0]


@between_both
async def test_a_source_that_gives_much_has_a_pipe_until_it_gives_little(
    real_loop: Bench, over: str, onto: str
) -> None:
    with tunnel(real_loop, over, onto) as (mover, giver, taker):
        taking = real_loop.spawn(everything(taker), Condition())
        giving = real_loop.spawn(giver.give(BYTES), Condition())
        moved, piped = 0, False
        while moved < len(BYTES):
            await (real_loop.writable(mover.to_fd) if mover.left else arrived(mover))
            moved += mover.step()
            piped = piped or bool(mover.pipe)
        await join(real_loop, giving)
        await giver.give(b"little")
        await arrived(mover)
        assert piped
        assert mover.step() == len(b"little")
        assert mover.pipe == ()
        mover.sink.sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        same([await join(real_loop, taking)], [BYTES + b"little"])


@pytest.mark.parametrize("pipes", [True, False], ids=["through a pipe", "copied"])
@between_both
async def test_what_the_sink_does_not_take_is_left_and_goes_out_before_the_end(
    real_loop: Bench, over: str, onto: str, pipes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pipes:
        monkeypatch.setattr(real_loop.shared(SparePipes), "left", 0)
    with only_by_kernel(), peer_of(real_loop, over) as (source, giver), peer_of(real_loop, onto) as (sink, taker):
        flow = Flow(real_loop, source, sink)
        flowing = real_loop.spawn(flow.run(), Condition())
        giving = real_loop.spawn(giver.give(5 * BYTES), Condition())
        await stalled(real_loop, flow)
        assert flow.unsent() == mover_of(flow).left
        assert pipes or not mover_of(flow).pipe
        assert await sleeps(real_loop)
        taking = real_loop.spawn(everything(taker), Condition())
        await join(real_loop, giving)
        giver.hang_up()
        same([await join(real_loop, taking)], [5 * BYTES])
        await join(real_loop, flowing)
        expect(flow, moved=5 * len(BYTES), unsent=0)


def mover_of(flow: Flow) -> Tunnel:
    """The tunnel that moves the bytes of a flow."""
    assert isinstance(flow.mover, Tunnel)
    return flow.mover


@between_both
async def test_an_end_that_comes_while_something_is_left_waits_for_it(real_loop: Bench, over: str, onto: str) -> None:
    with only_by_kernel(), peer_of(real_loop, over) as (source, giver), peer_of(real_loop, onto) as (sink, taker):
        before = fill(sink.sock)
        flow = Flow(real_loop, source, sink)
        flowing = real_loop.spawn(flow.run(), Condition())
        await giver.give(b"data")
        giver.hang_up()
        await stalled(real_loop, flow)
        expect(flow, unsent=4, moved=0, ended=False)
        assert await sleeps(real_loop)
        assert (await everything(taker))[before:] == b"data"
        await join(real_loop, flowing)
        expect(flow, unsent=0, moved=4, ended=True)


def fill(sock: socket.socket) -> int:
    """Send until the socket takes no more; returns the number of bytes."""
    written = 0
    while True:
        try:
            written += sock.send(bytes(MIB))
        except BlockingIOError:
            return written


@between_both
async def test_the_error_of_a_broken_sink_counts_what_is_left(real_loop: Bench, over: str, onto: str) -> None:
    with only_by_kernel(), peer_of(real_loop, over) as (source, giver), peer_of(real_loop, onto) as (sink, taker):
        fill(sink.sock)
        flow = Flow(real_loop, source, sink)
        flowing = real_loop.spawn(flow.run(), Condition())
        await giver.give(b"data")
        await stalled(real_loop, flow)
        taker.leave()
        with pytest.raises(PeerLost, match="Connection reset by peer|Broken pipe"):
            await join(real_loop, flowing)
        assert flow.unsent() == 4


async def test_a_reset_of_the_source_is_raised_after_all_it_sent_has_gone_out(real_loop: Bench) -> None:
    with tunnel(real_loop) as (mover, giver, taker):
        await giver.give(b"last words")
        await arrived(mover)
        giver.leave()
        await real_loop.sleep(0)
        assert mover.step() == 10
        with pytest.raises(PeerLost, match="Connection reset by peer"):
            mover.step()
        assert mover.left == 0
        assert await taker.take() == b"last words"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_where_no_descriptor_is_left_a_tunnel_copies(real_loop: Bench, code: int) -> None:
    def refuse() -> tuple[int, int]:
        refused.append(code)
        raise OSError(code, os.strerror(code))

    refused: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pipe", refuse)
        await passes_a_tunnel(real_loop)
    assert refused


async def test_a_pipe_that_may_not_grow_is_not_worth_it(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def control(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            refused.append(argument)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return really(fd, command, argument)

    refused: list[int] = []
    really = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", control)
    spliced = count_calls(monkeypatch, "splice")
    await passes_a_tunnel(real_loop)
    assert refused and not spliced


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """The arguments of each call of a function of `os` from now on."""
    calls: list[object] = []
    really = getattr(os, name)

    def call(*args: object) -> object:
        calls.append(args)
        return really(*args)

    monkeypatch.setattr(os, name, call)
    return calls


async def passes_a_tunnel(loop: Bench) -> None:
    """Check that many bytes come out as they went in."""
    with peer_of(loop) as (source, giver), peer_of(loop) as (sink, taker):
        flow = Flow(loop, source, sink)
        flowing = loop.spawn(flow.run(), Condition())
        giving = loop.spawn(giver.give(BYTES), Condition())
        await stalled(loop, flow)
        taking = loop.spawn(everything(taker), Condition())
        await join(loop, giving)
        giver.hang_up()
        same([await join(loop, taking)], [BYTES])
        await join(loop, flowing)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
async def test_sockets_that_the_kernel_does_not_splice_are_copied(
    real_loop: Bench, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []

    def refuse(*_: object) -> int:
        refused.append(code)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "splice", refuse)
    await passes_a_tunnel(real_loop)
    assert refused == [code], "asked once, and no byte is missing"
