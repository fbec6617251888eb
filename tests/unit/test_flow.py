"""A flow moves every byte once and in order, however reads are cut and writes refused, and counts what it has not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pytest
from doubles import END, Clock, MemoryFile, MemorySink, MemorySource, together
from expectations import expect
from hypothesis import given
from hypothesis import strategies as st

from pync.errors import InputError, PeerLost
from pync.loop.tasks import Condition
from pync.relay import zerocopy
from pync.relay.flow import Flow
from pync.relay.zerocopy import Unsuitable
from pync.stages import feed_all
from pync.stages.crlf import Crlf
from pync.stages.telnet import TelnetEscape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.loop.kernel import Loop
    from pync.stages import Stage


class Holding:
    """A stage that keeps the last three bytes until it has more, and marks its tail."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        whole = self.held + data
        self.held = whole[-3:]
        return whole[:-3]

    def flush(self) -> bytes:
        return self.held + b"\n"


class Vowels:
    """A stage that passes on nothing but vowels: whole reads may vanish."""

    def feed(self, data: bytes) -> bytes:
        return bytes(byte for byte in data if byte in b"aeiou")

    def flush(self) -> bytes:
        return b""


PAUSES = st.sampled_from([0.0, 0.25, 1.0])
CHUNKS = st.lists(st.binary(min_size=1, max_size=9) | st.sampled_from([b"\n", b"\r", b"a\xff\n", b"xyz"]), max_size=8)
REFUSALS = st.lists(st.integers(1, 5) | PAUSES, max_size=12)
KINDS: list[Callable[[], Stage]] = [Crlf, TelnetEscape, Holding, Vowels]
STAGES = st.lists(st.sampled_from(KINDS), max_size=3)

RESET = PeerLost("connection to x", "Connection reset by peer")


def transformed(stages: Sequence[Callable[[], Stage]], data: bytes) -> bytes:
    """What the stages make of all the bytes at once."""
    for kind in stages:
        stage = kind()
        data = stage.feed(data) + stage.flush()
    return data


def mixed(chunks: Sequence[bytes], pauses: Sequence[float]) -> list[bytes | float]:
    """The chunks, with a pause after each as long as there are any."""
    script: list[bytes | float] = []
    for position, chunk in enumerate(chunks):
        script += [chunk, *pauses[position : position + 1]]
    return script


@given(CHUNKS, st.lists(PAUSES, max_size=8), REFUSALS, STAGES)
async def test_the_sink_gets_the_whole_transformed_however_it_is_cut_paused_and_refused(
    loop: Loop, chunks: list[bytes], pauses: list[float], refusals: list[int | float], stages: list[Callable[[], Stage]]
) -> None:
    sink = MemorySink(loop, *refusals)
    flow = Flow(loop, MemorySource(loop, *mixed(chunks, pauses), END), sink, [kind() for kind in stages])
    await flow.run()
    assert sink.data == transformed(stages, b"".join(chunks))
    assert len(sink.ends) == 1 and sink.history[-1][1] is None
    expect(flow, moved=len(sink.data), reads=len(chunks), unsent=0, ended=True)


@given(CHUNKS, REFUSALS)
async def test_at_any_break_what_was_moved_and_what_is_unsent_is_everything(
    loop: Loop, chunks: list[bytes], refusals: list[int | float]
) -> None:
    sink = MemorySink(loop, *refusals, RESET)
    flow = Flow(loop, MemoryFile(loop, *chunks, END), sink)
    try:
        await flow.run()
    except PeerLost as error:
        assert error is RESET and not flow.ended and not sink.ends
    else:
        assert flow.ended
    whole = b"".join(chunks)
    assert whole.startswith(sink.data)
    assert flow.moved == len(sink.data)
    assert flow.moved + flow.unsent() == len(whole)


@given(CHUNKS, REFUSALS, st.floats(0, 5))
async def test_whenever_it_is_cut_off_what_was_moved_and_what_is_unsent_is_everything(
    loop: Loop, chunks: list[bytes], refusals: list[int | float], moment: float
) -> None:
    sink = MemorySink(loop, *refusals)
    flow = Flow(loop, MemoryFile(loop, *mixed(chunks, [0.5] * 8), END), sink)
    task = loop.spawn(flow.run(), Condition())
    await loop.sleep(moment)
    await loop.cancel_and_wait(task)
    assert flow.moved == len(sink.data)
    assert flow.moved + flow.unsent() == sum(map(len, chunks))


@given(CHUNKS, REFUSALS, st.floats(0, 5), st.lists(st.sampled_from([Crlf, TelnetEscape, Vowels]), max_size=3))
async def test_a_flow_that_is_cut_off_goes_on_into_another_sink(
    loop: Loop,
    chunks: list[bytes],
    refusals: list[int | float],
    moment: float,
    stages: list[Callable[[], Stage]],
) -> None:
    first, second = MemorySink(loop, *refusals), MemorySink(loop)
    flow = Flow(loop, MemoryFile(loop, *mixed(chunks, [0.5] * 8), END), first, [kind() for kind in stages])
    task = loop.spawn(flow.copy(), Condition())
    await loop.sleep(moment)
    await loop.cancel_and_wait(task)
    flow.sink = second
    if rest := flow.take_rest():
        await flow.send(rest)
    if not flow.ended:
        await flow.copy()
    assert first.data + second.data == transformed(stages, b"".join(chunks))
    expect(flow, moved=len(first.data + second.data), unsent=0, ended=True)


@given(st.lists(st.binary(max_size=4), max_size=8), st.lists(PAUSES, max_size=8))
async def test_a_datagram_stays_one_and_an_empty_one_is_one(
    loop: Loop, datagrams: list[bytes], refusals: list[float]
) -> None:
    sink = MemorySink(loop, *refusals)
    flow = Flow(loop, MemorySource(loop, *datagrams, END), sink, [TelnetEscape(), Crlf()])
    await flow.copy()
    stages: list[Stage] = [TelnetEscape(), Crlf()]  # they remember a CR from one datagram to the next
    assert sink.taken == [feed_all(stages, datagram) for datagram in datagrams]
    assert flow.reads == len(datagrams)


async def test_what_a_stage_swallows_is_not_written(loop: Loop) -> None:
    sink = MemorySink(loop)
    await Flow(loop, MemorySource(loop, b"xyz", b"", b"aye", END), sink, [Vowels()]).run()
    assert sink.taken == [b"", b"ae"]


async def test_the_end_of_file_is_not_passed_on_by_copy(loop: Loop) -> None:
    sink = MemorySink(loop)
    flow = Flow(loop, MemorySource(loop, b"x", END), sink)
    await flow.copy()
    assert flow.ended
    expect(sink, taken=[b"x"], ends=[])


async def test_at_its_read_limit_the_flow_ends_as_if_the_source_had(loop: Loop) -> None:
    sink = MemorySink(loop)
    flow = Flow(loop, MemorySource(loop, b"one", b"two", b"three", END), sink, [Holding()], read_limit=2)
    await flow.run()
    expect(flow, reads=2, ended=True)
    expect(sink, taken=[b"one", b"two\n"], ends=[1000])


async def test_the_error_of_a_failing_source_is_raised_by_the_flow(loop: Loop) -> None:
    sink = MemorySink(loop)
    flow = Flow(loop, MemorySource(loop, b"x", InputError("reading stdin", "Input/output error")), sink)
    with pytest.raises(InputError, match="Input/output error"):
        await flow.run()
    expect(sink, data=b"x", ends=[])
    expect(flow, ended=False, waiting_since=None)


async def test_a_flow_waits_for_its_source_or_for_its_sink_and_knows_which(loop: Loop) -> None:
    source, sink = MemorySource(loop), MemorySink(loop)
    sink.refuse()
    flow = Flow(loop, source, sink)
    loop.spawn(flow.copy())
    await loop.sleep(1)
    expect(flow, waiting_since=1000, reads=0)
    source.put(b"abc")
    await loop.sleep(1)
    expect(flow, waiting_since=None, reads=1, moved=0, unsent=3)
    sink.accept(1, 8.0)
    await loop.sleep(1)
    expect(flow, waiting_since=None, moved=1, unsent=2)
    await loop.sleep(8)
    expect(flow, waiting_since=1010, moved=3, unsent=0)


async def note(loop: Loop, flow: Flow, moments: list[float]) -> None:
    """Note when something happens, until the flow has ended."""
    while not flow.ended:
        await loop.wait(flow.progress)
        moments.append(loop.clock() - 1000)


async def test_progress_is_notified_at_each_read_each_write_and_the_end(loop: Loop) -> None:
    moments: list[float] = []
    flow = Flow(loop, MemorySource(loop, 1.0, b"x", 4.0, END), MemorySink(loop, 2.0))
    await together(loop, note(loop, flow, moments), flow.copy())
    assert moments == [1, 3, 7]


async def test_one_chunk_is_in_flight(loop: Loop) -> None:
    source, sink = MemorySource(loop, b"a", b"b", b"c"), MemorySink(loop)
    sink.refuse()
    loop.spawn(Flow(loop, source, sink).run())
    await loop.sleep(1)
    assert len(source.script) == 2


# Messages that others send in between


@given(CHUNKS, st.lists(st.lists(st.binary(max_size=6), max_size=3), max_size=3), REFUSALS)
async def test_each_message_that_a_task_sends_is_whole_and_in_the_tasks_order(
    loop: Loop, chunks: list[bytes], messages: list[list[bytes]], refusals: list[int | float]
) -> None:
    async def send(flow: Flow, own: list[bytes]) -> None:
        for message in own:
            await flow.send(message)

    sink = MemorySink(loop, *refusals)
    flow = Flow(loop, MemorySource(loop, *chunks, END), sink)
    await together(loop, flow.copy(), *(send(flow, own) for own in messages))
    await flow.send_eof()
    assert flow.moved == len(sink.data)
    assert interleaved(sink.data, [chunks, *messages])


def interleaved(data: bytes, senders: Sequence[Sequence[bytes]]) -> bool:
    """Whether `data` is made of all messages of all senders, each whole, each sender's in order."""
    states = {tuple(0 for _ in senders): 0}  # how many messages of each were found: how far in `data` that is
    for _ in range(sum(map(len, senders))):
        following = {}
        for found, at in states.items():
            for number, own in enumerate(senders):
                if found[number] < len(own) and data.startswith(own[found[number]], at):
                    counts = (*found[:number], found[number] + 1, *found[number + 1 :])
                    following[counts] = at + len(own[found[number]])
        states = following
    return len(data) in states.values()


async def test_the_end_of_file_waits_for_a_message_that_is_being_sent(loop: Loop) -> None:
    sink = MemorySink(loop, 1, 5.0)
    flow = Flow(loop, MemorySource(loop, END), sink)
    await together(loop, flow.send(b"word"), flow.run())
    assert [data for _, data in sink.history] == [b"w", b"ord", None]


async def test_after_the_end_of_file_nothing_is_sent(loop: Loop) -> None:
    sink = MemorySink(loop)
    flow = Flow(loop, MemorySource(loop, b"x", END), sink)
    await flow.run()
    await flow.send(b"late")
    assert sink.taken == [b"x"]
    assert flow.moved == 1


async def test_an_empty_datagram_that_is_refused_keeps_its_place(loop: Loop, clock: Clock) -> None:
    sink = MemorySink(loop, 3.0)
    flow = Flow(loop, MemorySource(loop, b"", END), sink)
    await together(loop, flow.copy(), flow.send(b"word"))
    assert sink.taken == [b"", b"word"]
    assert clock.now == 1003


# Bytes that the kernel moves


class ScriptedMover:
    """Moves what its script says: a number is bytes of the source (0: its end), None is "not ready".

    After its script it is unsuitable. `rooms` counts the waits for room, `closed` the times it was closed.
    """

    left = 0

    def __init__(self, loop: Loop, source: MemoryFile, *script: int | BaseException | None) -> None:
        self.loop = loop
        self.source = source
        self.script = deque(script)
        self.data = b""
        self.rooms = 0
        self.closed = 0

    async def ready(self, repeat: Callable[[], bool]) -> bool:
        await self.loop.sleep(1)
        while repeat():
            await self.loop.sleep(1)
        return True

    async def room(self) -> bool:
        self.rooms += 1
        await self.loop.sleep(1)
        return True

    def step(self) -> int:
        if not self.script:
            raise Unsuitable
        item = self.script.popleft()
        if item is None:
            raise BlockingIOError
        if isinstance(item, BaseException):
            raise item
        moved = b""
        while item and len(moved) < item and isinstance(chunk := self.source.script[0], bytes):
            moved += chunk[: item - len(moved)]
            self.source.script[0] = chunk[len(moved) :]
            if not self.source.script[0]:
                self.source.script.popleft()
        self.data += moved
        return len(moved)

    def close(self) -> None:
        self.closed += 1


class Moved(NamedTuple):
    flow: Flow
    mover: ScriptedMover
    sink: MemorySink


async def moved_by(loop: Loop, script: Sequence[int | BaseException | None], whole: bytes) -> Moved:
    """What comes of a flow that a mover begins and that is copied to its end."""
    source, sink = MemoryFile(loop, *([whole] if whole else []), END), MemorySink(loop)
    source.descriptor = sink.descriptor = 0  # for the kernel, whose place the mover takes
    mover = ScriptedMover(loop, source, *script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zerocopy, "mover_between", lambda *_: mover)
        flow = Flow(loop, source, sink)
        try:
            await flow.run()
        except PeerLost:
            assert not flow.ended and not sink.ends
    return Moved(flow, mover, sink)


@given(st.lists(st.none() | st.integers(1, 9), max_size=8), st.binary(max_size=40))
async def test_wherever_the_mover_gives_up_the_rest_is_copied(
    loop: Loop, script: list[int | None], whole: bytes
) -> None:
    flow, mover, sink = await moved_by(loop, script, whole)
    assert mover.data + sink.data == whole
    assert len(sink.ends) == 1
    expect(flow, moved=len(whole), ended=True, unsent=0, waiting_since=None)
    assert mover.closed == 1
    assert mover.rooms == script[: len(script) - len(mover.script)].count(None)


@given(st.lists(st.none() | st.integers(1, 9), max_size=8), st.binary(max_size=40))
async def test_what_breaks_the_mover_breaks_the_flow_and_the_rest_is_counted(
    loop: Loop, script: list[int | None], whole: bytes
) -> None:
    flow, mover, sink = await moved_by(loop, [*script, RESET], whole)
    assert not sink.data and mover.closed == 1 and flow.waiting_since is None
    assert whole.startswith(mover.data) and flow.moved == len(mover.data)
    assert flow.moved + flow.unsent() == len(whole)
    assert flow.ended or not mover.script


async def test_with_stages_or_a_read_limit_every_byte_is_copied(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(zerocopy, "mover_between", lambda _, source, sink: asked.append(source))
    for stages, limit in (([Crlf()], None), ([], 1), ([], None)):
        source, sink = MemorySource(loop, b"x", END), MemorySink(loop)
        source.descriptor = sink.descriptor = 0
        await Flow(loop, source, sink, stages, limit).run()
        assert sink.taken == [b"x"]
    assert len(asked) == 1


async def test_progress_is_notified_at_each_step_of_a_mover_and_at_the_end(loop: Loop) -> None:
    moments: list[float] = []
    source = MemoryFile(loop, b"abcdef", END)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zerocopy, "mover_between", lambda *_: ScriptedMover(loop, source, 2, None, 2, 2, 0))
        sink = MemorySink(loop)
        source.descriptor = sink.descriptor = 0
        flow = Flow(loop, source, sink)
        await together(loop, note(loop, flow, moments), flow.copy())
        assert flow.reads == 3
        assert flow.moved == 6
    assert moments == [1, 4, 5, 6]  # at 2 it was not ready, at 3 there was room
