"""Which bytes the kernel moves, that they arrive whole however they are cut, and that waiting costs nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from conformance import (
    Bench,
    join,
    same,
    turns,
    unix_pair,
)
from doubles import together
from ends import (
    BYTES,
    MIB,
    PAIRS,
    PROC,
    STDINS,
    STDOUTS,
    copied_too,
    everything,
    in_pieces,
    only_by_kernel,
    over_both,
    peer_of,
    sleeps,
    stalled,
    stdin_of,
    stdout_of,
)
from expectations import expect
from hypothesis import given, settings
from hypothesis import strategies as st

from pync.config import Config, Ending, Logs, Program
from pync.endpoints import child
from pync.endpoints.datagrams import DatagramSocket
from pync.endpoints.file_source import FileSource
from pync.endpoints.stdio import Stdin
from pync.errors import PeerLost
from pync.loop.tasks import Condition
from pync.relay import zerocopy
from pync.relay.flow import Flow
from pync.relay.zerocopy import Pipeline, SendFile, Splice, mover_between
from pync.sessions import conversation
from pync.stages.crlf import Crlf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from pairs import Pair

    from pync.loop.kernel import Loop
    from pync.relay.zerocopy import Mover

    Role = Callable[..., AbstractContextManager[Pair]]


def kind_of(mover: Mover | None) -> type[Mover] | None:
    """The class of a mover, which is closed."""
    if mover is None:
        return None
    mover.close()
    return type(mover)


STDIN_MOVERS = {
    "file": SendFile,
    PROC: SendFile,
    "pipe": Splice,
    "shared pipe": Splice,
    os.devnull: None,
    "terminal": None,
    "socket": None,
}
STDOUT_MOVERS = {
    "file": Pipeline,
    "appended file": Pipeline,
    "/dev/null": Pipeline,
    "/dev/full": Pipeline,
    "pipe": Splice,
    "shared pipe": None,
    "terminal": None,
    "socket": None,
}


@over_both
@pytest.mark.parametrize("kind", STDINS)
async def test_what_stdin_is_decides_how_it_is_moved(real_loop: Bench, kind: str, over: str) -> None:
    with stdin_of(real_loop, kind, b"data") as (stdin, _), peer_of(real_loop, over) as (endpoint, _):
        assert kind_of(mover_between(real_loop, stdin, endpoint)) is STDIN_MOVERS[kind]


@over_both
@pytest.mark.parametrize("kind", STDOUTS)
async def test_what_stdout_is_decides_how_it_is_moved(real_loop: Bench, kind: str, over: str) -> None:
    with stdout_of(real_loop, kind) as (stdout, _, _), peer_of(real_loop, over) as (endpoint, _):
        assert kind_of(mover_between(real_loop, endpoint, stdout)) is STDOUT_MOVERS[kind]
        await stdout.send_eof()


async def test_datagrams_are_not_moved_by_the_kernel(real_loop: Bench) -> None:
    near, other = unix_pair(socket.SOCK_DGRAM)
    with other, stdin_of(real_loop, "pipe", b"") as (stdin, _), stdout_of(real_loop, "pipe") as (stdout, _, _):
        endpoint = DatagramSocket(real_loop, near, "peer")
        assert mover_between(real_loop, stdin, endpoint) is None
        assert mover_between(real_loop, endpoint, stdout) is None
        endpoint.close()
        await stdout.send_eof()


@pytest.mark.parametrize(("missing", "kind"), [("splice", "pipe"), ("sendfile", "file")])
async def test_what_the_system_has_no_call_for_is_copied(
    real_loop: Bench, missing: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, missing)
    with stdin_of(real_loop, kind, b"data") as (stdin, _), peer_of(real_loop) as (endpoint, _):
        assert mover_between(real_loop, stdin, endpoint) is None


@pytest.mark.parametrize(
    ("config", "moved"),
    [
        ({}, [SendFile, Pipeline]),
        ({"crlf": True}, [Pipeline]),
        ({"pace": 0.001}, [Pipeline]),
        ({"ending": Ending(receive_limit=5)}, [SendFile]),
        ({"telnet": True}, []),
        ({"logs": Logs(raw="log")}, []),
        ({"delay": 0.001}, []),
    ],
    ids=["nothing", "crlf", "pace", "receive limit", "telnet", "logs", "delay"],
)
async def test_bytes_that_a_stage_must_see_are_copied(
    real_loop: Bench, config: dict[str, Any], moved: list[type[Mover]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_movers: list[Mover | None] = []

    def give(*ends: Any) -> Mover | None:
        given_movers.append(mover_between(*ends))
        return given_movers[-1]

    monkeypatch.setattr(zerocopy, "mover_between", give)
    with (
        stdin_of(real_loop, "file", b"question") as (stdin, _),
        stdout_of(real_loop, "file") as (stdout, _, file),
        peer_of(real_loop) as (endpoint, far),
    ):
        logs = (
            SimpleNamespace(of=lambda _: SimpleNamespace(dumps={}, copy=lambda _: [Crlf()]))
            if "logs" in config
            else None
        )
        run: Any = SimpleNamespace(config=Config(mode="connect", **config), loop=real_loop, logs=logs)
        sending, receiving, _ = conversation.flows(run, endpoint, stdin, stdout)
        await sending.run()
        await far.give(b"answer")
        far.hang_up()
        await receiving.run()
        assert file
        assert await everything(far) == b"question"
        assert file.read() == b"answer"
    assert [type(mover) for mover in given_movers if mover] == moved


# -- However the bytes are cut -----------------------------------------------------------------------------------

PIECES = st.lists(st.integers(1, 9) | st.integers(1, 200_000), max_size=8)


@settings(max_examples=30)
@given(PIECES, st.lists(st.integers(0, 3), max_size=8), st.sampled_from(sorted(PAIRS)))
async def test_a_pipe_goes_out_as_it_came_however_it_was_cut(
    real_loop: Bench, pieces: list[int], pauses: list[int], over: str
) -> None:
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        peer_of(real_loop, over) as (endpoint, far),
    ):
        assert feeder
        flow = Flow(real_loop, stdin, endpoint)
        flowing = real_loop.spawn(flow.run(), Condition())
        taking = real_loop.spawn(everything(far), Condition())
        await in_pieces(real_loop, feeder, pieces, pauses)
        await join(real_loop, flowing)
        same([await join(real_loop, taking)], [BYTES[: sum(pieces)]])
        expect(flow, moved=sum(pieces), ended=True, unsent=0)
        assert bool(flow.reads) == bool(pieces)


@settings(max_examples=30)
@given(
    PIECES,
    st.lists(st.integers(0, 3), max_size=8),
    st.sampled_from(sorted(PAIRS)),
    st.sampled_from(["pipe", "file", "/dev/null"]),
)
async def test_what_a_peer_sends_comes_in_as_it_was_sent(
    real_loop: Bench, pieces: list[int], pauses: list[int], over: str, kind: str
) -> None:
    with (
        only_by_kernel(),
        stdout_of(real_loop, kind) as (stdout, reader, file),
        peer_of(real_loop, over) as (endpoint, far),
    ):
        flow = Flow(real_loop, endpoint, stdout)
        flowing = real_loop.spawn(flow.run(), Condition())
        taking = real_loop.spawn(everything(reader), Condition()) if reader else None
        await in_pieces(real_loop, far, pieces, pauses)
        await join(real_loop, flowing)
        if taking:
            same([await join(real_loop, taking)], [BYTES[: sum(pieces)]])
        if file:
            same([file.read()], [BYTES[: sum(pieces)]])
        expect(flow, moved=sum(pieces), ended=True)
        assert bool(flow.reads) == bool(pieces)


async def test_a_flow_that_the_kernel_moves_knows_what_it_waits_for(real_loop: Bench) -> None:
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        peer_of(real_loop) as (endpoint, far),
    ):
        assert feeder
        flow = Flow(real_loop, stdin, endpoint)
        before = real_loop.clock()
        flowing = real_loop.spawn(flow.run(), Condition())
        await turns(real_loop, 5)
        assert (since(flow) or 0) >= before, "it waits for the source"
        feeding = real_loop.spawn(feeder.give(BYTES), Condition())
        await stalled(real_loop, flow)
        assert since(flow) is None, "it waits for the sink"
        taking = real_loop.spawn(everything(far), Condition())
        await join(real_loop, feeding)
        await stalled(real_loop, flow)
        assert since(flow) is not None, "it waits for the source again"
        feeder.hang_up()
        await join(real_loop, flowing)
        assert since(flow) is None and flow.ended
        same([await join(real_loop, taking)], [BYTES])


def since(flow: Flow) -> float | None:
    """When the present wait for the source began."""
    return flow.waiting_since


@pytest.fixture
def moved(copied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are moved with the kernel's help, or `copied` without."""
    if copied:
        monkeypatch.setattr(zerocopy, "mover_between", lambda *_: None)


# -- Programs ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(loop: Loop, script: str, *, filters: bool = False) -> AsyncIterator[child.Child]:
    """A program that is terminated at the end."""
    process = child.start(loop, Program(argv=("sh", "-c", script), filters=filters), os.environ)
    try:
        yield process
    finally:
        await process.terminate()


@pytest.mark.parametrize(("filters", "out"), [(False, Splice), (True, None)], ids=["serves", "filters"])
async def test_a_programs_pipes_are_moved_and_its_terminal_is_not(
    real_loop: Bench, filters: bool, out: type[Mover] | None
) -> None:
    with peer_of(real_loop) as (endpoint, _):
        async with running(real_loop, "exec cat", filters=filters) as process:
            assert kind_of(mover_between(real_loop, endpoint, process.input)) is Splice
            assert kind_of(mover_between(real_loop, process.output, endpoint)) is out


@over_both
@copied_too
@pytest.mark.usefixtures("moved")
async def test_what_passes_a_program_comes_back_whole(real_loop: Bench, over: str) -> None:
    with peer_of(real_loop, over) as (endpoint, far):
        async with running(real_loop, "exec cat") as process:
            flows = [Flow(real_loop, endpoint, process.input), Flow(real_loop, process.output, endpoint)]
            flowing = [real_loop.spawn(flow.run(), Condition()) for flow in flows]
            giving = real_loop.spawn(in_pieces(real_loop, far, [len(BYTES)], []), Condition())
            same([await everything(far)], [BYTES])
            for task in (giving, *flowing):
                await join(real_loop, task)
            assert await process.ended() == 0


@over_both
@copied_too
@pytest.mark.usefixtures("moved")
async def test_what_a_program_does_not_read_is_dropped(real_loop: Bench, over: str) -> None:
    with peer_of(real_loop, over) as (endpoint, far):
        async with running(real_loop, "head -c 5; exit 3") as process:
            receiving = real_loop.spawn(Flow(real_loop, endpoint, process.input).run(), Condition())
            giving = real_loop.spawn(in_pieces(real_loop, far, [len(BYTES)], []), Condition())
            await Flow(real_loop, process.output, endpoint).run()
            assert await everything(far) == BYTES[:5]
            for task in (giving, receiving):
                await join(real_loop, task)
            assert await process.ended() == 3


@over_both
@copied_too
@pytest.mark.usefixtures("moved")
async def test_a_reset_by_the_client_is_an_error_of_the_flow_from_a_program(real_loop: Bench, over: str) -> None:
    with peer_of(real_loop, over) as (endpoint, far):
        async with running(real_loop, "exec cat /dev/zero") as process:
            answering = real_loop.spawn(Flow(real_loop, process.output, endpoint).run(), Condition())
            assert await far.take()
            far.leave()
            with pytest.raises(PeerLost, match="Connection reset by peer|Broken pipe"):
                await join(real_loop, answering)


# -- Waiting costs nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_a_peer_that_does_not_read_costs_nothing(real_loop: Bench, kind: str) -> None:
    with only_by_kernel(), stdin_of(real_loop, kind, BYTES) as (stdin, feeder), peer_of(real_loop) as (endpoint, _):
        flow = Flow(real_loop, stdin, endpoint)
        tasks = [real_loop.spawn(flow.run(), Condition())]
        if feeder:
            tasks.append(real_loop.spawn(feeder.give(BYTES), Condition()))
        await stalled(real_loop, flow)
        assert 0 < flow.moved < len(BYTES) and await sleeps(real_loop)
        if feeder:
            await real_loop.cancel_and_wait(tasks.pop())
            feeder.hang_up()  # the end, which cannot be passed on yet
            assert await sleeps(real_loop)
        await real_loop.cancel_and_wait(*tasks)


async def test_a_reader_of_stdout_that_does_not_read_costs_nothing(real_loop: Bench) -> None:
    with only_by_kernel(), stdout_of(real_loop, "pipe") as (stdout, _, _), peer_of(real_loop) as (endpoint, far):
        flow = Flow(real_loop, endpoint, stdout)
        much = 30 * BYTES  # a pipe of 1 MiB counts pages, and a page may stand for many from a socket
        tasks = [real_loop.spawn(flow.run(), Condition()), real_loop.spawn(far.give(much), Condition())]
        await stalled(real_loop, flow)
        assert 0 < flow.moved < len(much) and await sleeps(real_loop)
        await real_loop.cancel_and_wait(*tasks)
        await stdout.send_eof()


@pytest.mark.parametrize("kind", ["pipe", "file", "/dev/null"])
async def test_a_silent_conversation_costs_nothing(real_loop: Bench, kind: str) -> None:
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        stdout_of(real_loop, kind) as (stdout, _, _),
        peer_of(real_loop) as (endpoint, far),
    ):
        assert feeder
        tasks = [
            real_loop.spawn(flow.run(), Condition())
            for flow in (Flow(real_loop, stdin, endpoint), Flow(real_loop, endpoint, stdout))
        ]
        assert await sleeps(real_loop)
        await feeder.give(b"question")
        assert await far.take() == b"question"
        await far.give(b"answer")
        await turns(real_loop, 5)
        assert await sleeps(real_loop)
        await real_loop.cancel_and_wait(*tasks)
        await stdout.send_eof()


@pytest.mark.parametrize("kind", ["pipe", "shared pipe"])
async def test_a_step_does_not_wait_for_an_empty_pipe(real_loop: Bench, kind: str) -> None:
    with stdin_of(real_loop, kind, b"") as (stdin, feeder), peer_of(real_loop) as (endpoint, far):
        mover = mover_between(real_loop, stdin, endpoint)
        assert mover and feeder
        with pytest.raises(BlockingIOError):
            mover.step()
        await feeder.give(b"data")
        assert mover.step() == 4
        assert await far.take() == b"data"
        with pytest.raises(BlockingIOError):
            mover.step()


@pytest.mark.parametrize("kind", ["pipe", "file", "/dev/null"])
@over_both
async def test_a_step_does_not_wait_for_a_silent_peer_nor_for_a_full_pipe(
    real_loop: Bench, kind: str, over: str
) -> None:
    with stdout_of(real_loop, kind) as (stdout, reader, _), peer_of(real_loop, over) as (endpoint, far):
        mover = mover_between(real_loop, endpoint, stdout)
        assert mover
        with pytest.raises(BlockingIOError):
            mover.step()
        if reader:
            while True:
                try:
                    os.write(stdout.fd, bytes(MIB))
                except BlockingIOError:
                    break
        await far.give(b"data")
        await real_loop.readable(endpoint.sock.fileno())
        if reader:
            with pytest.raises(BlockingIOError):
                mover.step()
        else:
            assert mover.step() == 4
        mover.close()
        await stdout.send_eof()


async def test_two_readers_of_the_same_pipe_share_it_and_sleep(real_loop: Bench) -> None:
    words = [b"word %d, " % number for number in range(50)]
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (one, feeder),
        peer_of(real_loop) as (endpoint, far),
        peer_of(real_loop) as (another_endpoint, another_far),
    ):
        assert feeder
        other = Stdin(real_loop, one.fd)
        flows = [Flow(real_loop, one, endpoint), Flow(real_loop, other, another_endpoint)]
        flowing = [real_loop.spawn(flow.run(), Condition()) for flow in flows]
        taking = [real_loop.spawn(everything(peer), Condition()) for peer in (far, another_far)]
        for word in words:
            before = real_loop.selector.polls
            await feeder.give(word)
            await real_loop.sleep(0.002)
            assert real_loop.selector.polls - before < 20
        assert await sleeps(real_loop)
        feeder.hang_up()
        for task in flowing:
            await join(real_loop, task)
        got = b"".join([await join(real_loop, task) for task in taking])
        assert sorted(re.findall(rb"word \d+, ", got)) == sorted(words) and len(got) == len(b"".join(words))
        real_loop.forget(other.fd)
        os.close(other.fd)


# -- Regular files -----------------------------------------------------------------------------------------------


async def test_many_clients_are_sent_the_same_file_each_from_its_own_position(real_loop: Bench) -> None:
    async def send(loop: Bench, fd: int, start: int) -> None:
        with peer_of(loop) as (endpoint, far):
            source = FileSource(loop, fd, start)
            assert source.unread() == len(BYTES) - start
            flowing = loop.spawn(Flow(loop, source, endpoint).run(), Condition())
            same([await everything(far)], [BYTES[start:]])
            await join(loop, flowing)
            assert (source.position, source.unread()) == (len(BYTES), 0)

    with only_by_kernel(), stdin_of(real_loop, "file", BYTES) as (stdin, _):
        os.lseek(stdin.fd, 400, os.SEEK_SET)
        await together(real_loop, *(send(real_loop, stdin.fd, start) for start in (0, 400, 400, 1_000_000, len(BYTES))))
        assert os.lseek(stdin.fd, 0, os.SEEK_CUR) == 400


async def test_of_a_file_no_more_is_sent_than_up_to_its_stop(real_loop: Bench) -> None:
    with only_by_kernel(), stdin_of(real_loop, "file", BYTES) as (stdin, _):
        for start, stop in ((0, len(BYTES) - 1), (10, 20), (5, 5)):
            with peer_of(real_loop) as (endpoint, far):
                source = FileSource(real_loop, stdin.fd, 0)
                assert source.rest(b"", start, stop) is source
                flowing = real_loop.spawn(Flow(real_loop, source, endpoint).run(), Condition())
                same([await everything(far)], [BYTES[start:stop]])
                await join(real_loop, flowing)
                assert (source.position, source.unread()) == (stop, 0)


async def test_a_file_is_left_where_its_sending_was_cut_off(real_loop: Bench) -> None:
    with only_by_kernel(), stdin_of(real_loop, "file", BYTES) as (stdin, _), peer_of(real_loop) as (endpoint, far):
        flow = Flow(real_loop, stdin, endpoint)
        flowing = real_loop.spawn(flow.run(), Condition())
        await stalled(real_loop, flow)
        await real_loop.cancel_and_wait(flowing)
        position = os.lseek(stdin.fd, 0, os.SEEK_CUR)
        assert position == flow.moved == len(BYTES) - flow.unsent() > 0
        taking = real_loop.spawn(everything(far), Condition())
        endpoint.close()
        same([await join(real_loop, taking)], [BYTES[:position]])


# -- The size of pipes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["stdin", "stdout"])
async def test_an_inherited_pipe_is_grown(real_loop: Bench, half: str) -> None:
    with (
        stdin_of(real_loop, "pipe", b"") as (stdin, _),
        stdout_of(real_loop, "pipe") as (stdout, _, _),
        peer_of(real_loop) as (endpoint, _),
    ):
        fd = stdin.fd if half == "stdin" else stdout.fd
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
        assert kind_of(
            mover_between(real_loop, stdin, endpoint) if half == "stdin" else mover_between(real_loop, endpoint, stdout)
        )
        size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        await stdout.send_eof()
        assert size == MIB


@pytest.mark.parametrize(("size", "asked"), [(65_536, [MIB]), (MIB, []), (2 * MIB, [])])
async def test_a_pipe_is_never_shrunk_and_may_refuse_to_grow(
    real_loop: Bench, size: int, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def control(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_GETPIPE_SZ:
            return size
        if command == fcntl.F_SETPIPE_SZ:
            sizes.append(argument)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return really(fd, command, argument)

    really = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", control)
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        peer_of(real_loop) as (endpoint, far),
    ):
        assert feeder
        await feeder.give(b"data")
        feeder.hang_up()
        await Flow(real_loop, stdin, endpoint).run()
        assert await everything(far) == b"data"
    assert set(sizes) == set(asked)
