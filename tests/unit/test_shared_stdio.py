"""Stdin and stdout shared by many clients: who gets what, who slows whom, whose lines are whole. Time is virtual."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from conformance import join, same, turns
from doubles import END, MemorySink, MemorySource, StubPeer, play, together
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints import CHUNK, shared_stdio
from pync.endpoints.client_queues import QUEUE_BYTES, STALL
from pync.endpoints.shared_stdio import HELD_LINE, Reader, SharedStdin, SharedStdout
from pync.endpoints.stdio import Stdin
from pync.errors import InputError, OutputClosed, PeerLost
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pync.endpoints import Source
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task


@pytest.fixture(autouse=True)
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """It is a pipe, whatever the tests were started with."""
    ends = os.pipe()
    monkeypatch.setattr(shared_stdio, "STDIN", ends[0])
    yield ends[1]
    for fd in ends:
        os.close(fd)


def joined(everybodys: SharedStdin) -> Reader:
    """A new client's part."""
    reader = everybodys.join(StubPeer(everybodys.loop))
    assert isinstance(reader, Reader)
    return reader


def started(loop: Loop, *script: bytes | float | BaseException | None) -> tuple[SharedStdin, Task]:
    """A shared stdin that says this, and the task that reads it."""
    everybodys = SharedStdin(loop, MemorySource(loop, *script))
    return everybodys, loop.spawn(everybodys.run(), Condition())


async def to_the_end(source: Source) -> list[bytes]:
    chunks = []
    while (data := await source.read()) is not END:
        chunks.append(data)
    return chunks


# -- stdin -------------------------------------------------------------------------------------------------------


async def test_each_chunk_goes_to_all_who_are_there_then(loop: Loop) -> None:
    everybodys, _ = started(loop, b"one", 1.0, b"two", 1.0, b"three", END)
    first = joined(everybodys)
    await loop.sleep(0.5)
    second = joined(everybodys)
    await loop.sleep(1.0)
    everybodys.leave(first)
    assert await to_the_end(second) == [b"two", b"three"]
    assert await to_the_end(first) == [b"one", b"two"]


async def test_stdin_is_not_read_while_nobody_is_there(loop: Loop) -> None:
    source = MemorySource(loop, b"one", b"two", END)
    everybodys = SharedStdin(loop, source)
    loop.spawn(everybodys.run(), Condition())
    await loop.sleep(10)
    assert list(source.script) == [b"one", b"two", END]
    reader = joined(everybodys)
    assert await to_the_end(reader) == [b"one", b"two"]


async def test_what_was_read_when_everybody_had_left_is_for_the_next_who_comes(loop: Loop) -> None:
    everybodys, _ = started(loop, 1.0, b"one", b"two", END)
    everybodys.leave(joined(everybodys))
    first = joined(everybodys)
    await loop.sleep(0.5)
    everybodys.leave(first)
    await loop.sleep(10)
    second = joined(everybodys)
    assert await to_the_end(second) == [b"one", b"two"]
    assert await to_the_end(first) == []


async def test_the_end_is_for_all_and_for_all_who_come_later(loop: Loop) -> None:
    everybodys, running = started(loop, b"one", 1.0, END)
    readers = [joined(everybodys), joined(everybodys)]
    assert [await to_the_end(reader) for reader in readers] == [[b"one"], [b"one"]]
    assert running.done
    assert [await joined(everybodys).read() for _ in range(2)] == [END, END]


async def test_a_client_that_waits_learns_of_the_end(loop: Loop) -> None:
    everybodys, _ = started(loop, 3.0, END)
    start = loop.clock()
    assert await joined(everybodys).read() is END
    assert loop.clock() - start == pytest.approx(3.0)


async def test_a_reader_knows_what_it_holds_and_has_no_descriptor(loop: Loop) -> None:
    everybodys, _ = started(loop, b"one", b"three", END)
    reader = joined(everybodys)
    await turns(loop, 10)
    assert reader.unread() == 8 and reader.raw() is None
    await reader.read()
    assert reader.unread() == 5


async def test_an_error_of_stdin_is_the_readers(loop: Loop) -> None:
    everybodys, _ = started(loop, InputError("reading stdin", "Input/output error"))
    joined(everybodys)
    with pytest.raises(InputError):
        await everybodys.run()


async def test_a_slow_client_that_moves_slows_the_reading_and_nobody_loses_a_byte(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 20
    everybodys, running = started(loop, *chunks, END)
    slow, fast = joined(everybodys), joined(everybodys)
    start = loop.clock()
    reading = loop.spawn(to_the_end(fast), Condition())
    got = []
    for _ in chunks:
        await loop.sleep(0.9 * STALL)
        assert slow.unread() <= QUEUE_BYTES + CHUNK  # memory is bounded
        got.append(await slow.read() or b"")
    assert await slow.read() is END
    same(got, chunks)
    same(reading.result(), chunks)
    assert running.done
    assert loop.clock() - start == pytest.approx(20 * 0.9 * STALL)


async def test_a_client_that_takes_nothing_is_given_up_and_the_others_get_every_byte(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 20
    everybodys, running = started(loop, *chunks[:2], 100.0, *chunks[2:], END)
    stuck, fast = joined(everybodys), joined(everybodys)
    given_up: list[float] = []
    start = loop.clock()
    loop.spawn(note(loop, stuck, given_up))
    loop.spawn(note(loop, fast, given_up))
    same(await to_the_end(fast), chunks)
    assert running.done
    # Its two seconds begin when its queue is full, not when it took something for the last time.
    assert given_up == [pytest.approx(start + 100 + 2.0)]
    assert stuck.unread() == QUEUE_BYTES + CHUNK


async def note(loop: Loop, reader: Reader, moments: list[float]) -> None:
    """Write down when the client of this reader is cut off."""
    with pytest.raises(PeerLost, match="cut off"):
        await reader.attend(loop.wait(Condition()))
    moments.append(loop.clock())


async def test_several_who_take_nothing_are_given_up_each_in_its_time(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 20
    everybodys, _ = started(loop, *chunks, END)
    early, late = joined(everybodys), joined(everybodys)
    given_up: list[float] = []
    start = loop.clock()
    for reader in (early, late):
        loop.spawn(note(loop, reader, given_up))
    await loop.sleep(0.5)
    await late.read()
    await late.read()  # there is room again: its patience begins anew
    await loop.sleep(20)
    assert given_up == [pytest.approx(start + STALL), pytest.approx(start + 2 * STALL)]


async def test_a_client_with_a_full_queue_that_leaves_holds_nobody_up(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 10
    everybodys, _ = started(loop, *chunks, END)
    stuck, fast = joined(everybodys), joined(everybodys)
    start = loop.clock()
    reading = loop.spawn(to_the_end(fast), Condition())
    await loop.sleep(0.5)
    assert not reading.done
    everybodys.leave(stuck)
    same(await join(loop, reading), chunks)
    assert loop.clock() - start == pytest.approx(0.5)


def test_of_a_regular_file_each_gets_everything_from_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(PAYLOAD(1_000_000))
    with path.open("rb", buffering=0) as file:
        file.seek(100)
        monkeypatch.setattr(shared_stdio, "STDIN", file.fileno())

        async def main(loop: Loop) -> None:
            everybodys = SharedStdin(loop, Stdin(loop, file.fileno()))
            first = everybodys.join(StubPeer(loop))
            await everybodys.run()  # has nothing to do
            same([await first.read() or b""], [PAYLOAD(1_000_000)[100 : 100 + CHUNK]])
            second = everybodys.join(StubPeer(loop))
            first.leave()
            same(await to_the_end(second), [PAYLOAD(1_000_000)[100:]])
            same(await to_the_end(first), [PAYLOAD(1_000_000)[100 + CHUNK :]])

        play(main)


# -- stdout ------------------------------------------------------------------------------------------------------


async def test_whoever_is_alone_is_heard_at_once(loop: Loop) -> None:
    sink = MemorySink(loop)
    share = SharedStdout(loop, sink, lines=True).join()
    for part in (b"a par", b"t of\na line"):
        assert await share.write(part) == len(part)
    assert sink.taken == [b"a par", b"t of\na line"]
    assert share.raw() is None


async def test_of_several_each_is_heard_line_by_line(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    await one.write(b"un")
    await other.write(b"whole\nbeg")
    await one.write(b"mixed\n")
    await other.write(b"un\nand")
    assert sink.taken == [b"whole\n", b"unmixed\n", b"begun\n"]


async def test_what_a_client_left_unfinished_comes_when_it_leaves_and_once(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    await one.write(b"unfinished")
    assert sink.taken == []
    for _ in range(3):
        await one.send_eof()
    assert sink.data == b"unfinished" and not sink.ends  # stdout itself stays open
    await other.write(b"alone now")
    assert sink.data == b"unfinishedalone now"
    await other.send_eof()


async def test_what_is_held_back_for_another_comes_when_that_one_has_left(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    await one.write(b"login: ")
    assert sink.taken == []
    await other.send_eof()
    assert sink.data == b"login: "


async def test_who_is_left_alone_is_heard_at_once_with_what_was_held(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    await one.write(b"login: ")
    await other.write(b"bye")
    assert sink.data == b""
    await other.send_eof()
    assert sink.data == b"byelogin: "
    await one.write(b"more")
    assert sink.data == b"byelogin: more"


async def test_a_line_that_is_longer_than_any_line_is_not_held(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, _ = stdout.join(), stdout.join()
    await one.write(bytes(HELD_LINE))
    assert sink.data == b""
    await one.write(b"x")
    same([sink.data], [bytes(HELD_LINE) + b"x"])


async def test_datagrams_are_written_whole_at_once(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=False)
    one, other = stdout.join(), stdout.join()
    await one.write(b"no line")
    await other.write(b"a line\nand more")
    await one.write(b"")
    assert sink.taken == [b"no line", b"a line\nand more"]


async def test_what_stdout_takes_in_parts_nobody_comes_between(loop: Loop) -> None:
    sink = MemorySink(loop, *(item for _ in range(8) for item in (1, 0.1)))
    stdout = SharedStdout(loop, sink, lines=True)
    shares = [stdout.join() for _ in range(3)]
    await together(loop, *(share.write(b"line %d\n" % number) for number, share in enumerate(shares)))
    assert sink.data == b"line 0\nline 1\nline 2\n"


async def test_a_cancelled_write_leaves_stdout_to_the_others(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    sink.refuse()
    writing = [loop.spawn(share.write(b"line\n"), Condition()) for share in (one, other)]
    await turns(loop, 3)
    await loop.cancel_and_wait(writing[0])
    sink.accept()
    await turns(loop, 3)
    assert writing[1].done and sink.data == b"line\n"


async def test_a_stdout_that_has_gone_is_an_error_of_each_write(loop: Loop) -> None:
    gone = OutputClosed("writing stdout", "Broken pipe")
    stdout = SharedStdout(loop, MemorySink(loop, gone, gone), lines=True)
    for share in (stdout.join(), stdout.join()):
        with pytest.raises(OutputClosed):
            await share.write(b"line\n")


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab\n", min_size=1, max_size=5).map(str.encode)), max_size=30))
async def test_lines_are_whole_and_each_clients_in_order(loop: Loop, spoken: list[tuple[int, bytes]]) -> None:
    marks = [b"\x01", b"\x02", b"\x03"]  # each client's letters are its own
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    shares = [stdout.join() for _ in marks]
    for client, word in spoken:
        await shares[client].write(word.replace(b"a", marks[client]).replace(b"b", marks[client]))
    held = [share.unfinished for share in shares]
    assert all(b"\n" not in rest for rest in held)
    for line in sink.data.splitlines():
        assert len(set(line)) <= 1, "two clients in one line"
    for share in shares:
        await share.send_eof()
    data = sink.data
    for client, mark in enumerate(marks):
        assert data.count(mark) == sum(len(word.replace(b"\n", b"")) for who, word in spoken if who == client)
    assert data.count(b"\n") == sum(word.count(b"\n") for _, word in spoken)


async def test_a_client_whose_system_acknowledges_is_not_cut_off_though_it_reads_no_whole_chunk(
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Acknowledging:
        left = 1 << 30

        def unacknowledged(self) -> int:
            self.left -= 1
            return self.left

    monkeypatch.setattr("pync.endpoints.shared_stdio.is_regular", lambda fd: False)
    shared = SharedStdin(loop, MemorySource(loop, bytes(2 * QUEUE_BYTES)))
    reader = shared.join(Acknowledging())  # type: ignore[arg-type]
    assert isinstance(reader, Reader)
    reading = loop.spawn(shared.run())
    await reader.attend(loop.sleep(10 * STALL))  # and nothing is raised
    reading.cancel()
