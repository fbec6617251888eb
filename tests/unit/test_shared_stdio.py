"""Stdin and stdout shared by many clients: what each one gets, how a slow one is treated, which lines are whole."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from conformance import join, same, turns
from doubles import END, MemorySink, MemorySource, StubPeer, play, together
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints import CHUNK, shared_stdio
from pync.endpoints.client_queues import QUEUE_BYTES, STALL
from pync.endpoints.file_source import FileSource, extent
from pync.endpoints.shared_stdio import HELD_LINE, HELD_LINES, Reader, SharedStdin, SharedStdout
from pync.endpoints.stdio import Stdin, Stdio
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
    """Let stdin be a pipe, whatever the tests were started with."""
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
    """A shared stdin that gives what the script says, and the task that reads it."""
    shared = SharedStdin(loop, MemorySource(loop, *script))
    return shared, loop.spawn(shared.run(), Condition())


async def to_the_end(source: Source) -> list[bytes]:
    chunks = []
    while (data := await source.read()) is not END:
        chunks.append(data)
    return chunks


# -- stdin -------------------------------------------------------------------------------------------------------


async def test_each_chunk_goes_to_all_clients_of_that_moment(loop: Loop) -> None:
    shared, _ = started(loop, b"one", 1.0, b"two", 1.0, b"three", END)
    first = joined(shared)
    await loop.sleep(0.5)
    second = joined(shared)
    await loop.sleep(1.0)
    shared.leave(first)
    assert await to_the_end(second) == [b"two", b"three"]
    assert await to_the_end(first) == [b"one", b"two"]


async def test_stdin_is_not_read_while_there_is_no_client(loop: Loop) -> None:
    source = MemorySource(loop, b"one", b"two", END)
    shared = SharedStdin(loop, source)
    loop.spawn(shared.run(), Condition())
    await loop.sleep(10)
    assert list(source.script) == [b"one", b"two", END]
    reader = joined(shared)
    assert await to_the_end(reader) == [b"one", b"two"]


async def test_what_was_read_when_all_clients_had_left_is_for_the_next_one(loop: Loop) -> None:
    shared, _ = started(loop, 1.0, b"one", b"two", END)
    shared.leave(joined(shared))
    first = joined(shared)
    await loop.sleep(0.5)
    shared.leave(first)
    await loop.sleep(10)
    second = joined(shared)
    assert await to_the_end(second) == [b"one", b"two"]
    assert await to_the_end(first) == []


async def test_the_end_is_for_all_clients_and_for_all_later_ones(loop: Loop) -> None:
    shared, running = started(loop, b"one", 1.0, END)
    readers = [joined(shared), joined(shared)]
    assert [await to_the_end(reader) for reader in readers] == [[b"one"], [b"one"]]
    assert running.done
    assert [await joined(shared).read() for _ in range(2)] == [END, END]


async def test_a_waiting_client_gets_the_end_when_it_comes(loop: Loop) -> None:
    shared, _ = started(loop, 3.0, END)
    start = loop.clock()
    assert await joined(shared).read() is END
    assert loop.clock() - start == pytest.approx(3.0)


async def test_a_reader_knows_what_it_holds_and_has_no_descriptor(loop: Loop) -> None:
    shared, _ = started(loop, b"one", b"three", END)
    reader = joined(shared)
    await turns(loop, 10)
    assert reader.unread() == 8 and reader.raw() is None
    await reader.read()
    assert reader.unread() == 5


async def test_an_error_of_stdin_is_the_readers(loop: Loop) -> None:
    shared, _ = started(loop, InputError("reading stdin", "Input/output error"))
    joined(shared)
    with pytest.raises(InputError):
        await shared.run()


async def test_a_slow_client_that_reads_on_slows_the_reading_and_no_byte_is_missing(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 20
    shared, running = started(loop, *chunks, END)
    slow, fast = joined(shared), joined(shared)
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
    shared, running = started(loop, *chunks[:2], 100.0, *chunks[2:], END)
    stuck, fast = joined(shared), joined(shared)
    given_up: list[float] = []
    start = loop.clock()
    loop.spawn(note(loop, stuck, given_up))
    loop.spawn(note(loop, fast, given_up))
    same(await to_the_end(fast), chunks)
    assert running.done
    # Its two seconds begin when its queue is full, not when it has last taken something.
    assert given_up == [pytest.approx(start + 100 + 2.0)]
    assert stuck.unread() == QUEUE_BYTES + CHUNK


async def note(loop: Loop, reader: Reader, moments: list[float]) -> None:
    """Write down when the client of this reader is cut off."""
    with pytest.raises(PeerLost, match="cut off"):
        await reader.attend(loop.wait(Condition()), Stdio(reader, MemorySink(loop)))
    moments.append(loop.clock())


async def test_several_clients_that_take_nothing_are_given_up_each_in_its_time(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 20
    shared, _ = started(loop, *chunks, END)
    early, late = joined(shared), joined(shared)
    given_up: list[float] = []
    start = loop.clock()
    for reader in (early, late):
        loop.spawn(note(loop, reader, given_up))
    await loop.sleep(0.5)
    await late.read()
    await late.read()  # there is room again: its patience begins anew
    await loop.sleep(20)
    assert given_up == [pytest.approx(start + STALL), pytest.approx(start + 2 * STALL)]


async def test_after_a_client_with_a_full_queue_has_left_the_others_go_on(loop: Loop) -> None:
    chunks = [PAYLOAD(CHUNK)] * 10
    shared, _ = started(loop, *chunks, END)
    stuck, fast = joined(shared), joined(shared)
    start = loop.clock()
    reading = loop.spawn(to_the_end(fast), Condition())
    await loop.sleep(0.5)
    assert not reading.done
    shared.leave(stuck)
    same(await join(loop, reading), chunks)
    assert loop.clock() - start == pytest.approx(0.5)


async def test_of_a_regular_file_each_gets_everything_from_where_it_stood(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


async def test_a_part_of_a_file_ends_where_it_should(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data := PAYLOAD(1_000_000))
    with (tmp_path / "file").open("rb", buffering=0) as file:
        source = FileSource(loop, file.fileno(), 100)
        assert await source.begin() == (data[100 : 100 + CHUNK], False)
        assert source.length() == len(data) - 100
        for start, stop in ((0, len(data) - 100), (5, 500_000), (7, 7)):
            part = source.rest(b"", start, stop)
            assert part.unread() == stop - start
            same(await to_the_end(part), [data[100 + start : 100 + stop]])


async def test_the_beginning_of_a_small_file_is_all_of_it(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"small")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert await FileSource(loop, file.fileno(), 0).begin() == (b"small", True)
        assert await FileSource(loop, file.fileno(), 5).begin() == (b"", True)


def test_a_block_device_has_an_end_though_its_size_is_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "device").write_bytes(bytes(1000))
    with (tmp_path / "device").open("rb", buffering=0) as file:
        file.seek(10)
        facts = os.fstat(file.fileno())
        device = os.stat_result((stat.S_IFBLK, *facts[1:6], 0, *facts[7:]))
        monkeypatch.setattr(os, "fstat", lambda fd: device)
        assert extent(file.fileno()) == (10, 1000)
        assert file.tell() == 10


@pytest.mark.parametrize("kind", ["pipe", "character device"])
def test_what_has_no_position_has_no_extent(kind: str) -> None:
    device = os.open("/dev/zero", os.O_RDONLY)
    ends = (*os.pipe(), device)
    assert extent(ends[0] if kind == "pipe" else device) is None
    for fd in ends:
        os.close(fd)


# -- stdout ------------------------------------------------------------------------------------------------------


async def test_the_bytes_of_a_single_client_are_written_at_once(loop: Loop) -> None:
    sink = MemorySink(loop)
    share = SharedStdout(loop, sink, lines=True).join()
    for part in (b"a par", b"t of\na line"):
        assert await share.write(part) == len(part)
    assert sink.taken == [b"a par", b"t of\na line"]
    assert share.raw() is None


async def test_of_several_clients_whole_lines_are_written(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    await one.write(b"un")
    await other.write(b"whole\nbeg")
    await one.write(b"mixed\n")
    await other.write(b"un\nand")
    assert sink.taken == [b"whole\n", b"unmixed\n", b"begun\n"]


async def test_an_unfinished_line_is_written_when_its_client_leaves_and_once(loop: Loop) -> None:
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


async def test_what_is_held_back_because_of_another_client_is_written_when_that_one_has_left(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    one, other = stdout.join(), stdout.join()
    await one.write(b"login: ")
    assert sink.taken == []
    await other.send_eof()
    assert sink.data == b"login: "


async def test_the_last_client_left_is_written_at_once_with_what_was_held_back(loop: Loop) -> None:
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


async def test_of_the_lines_of_many_clients_each_client_holds_its_share_at_most(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    shares = [stdout.join() for _ in range(1000)]
    most = HELD_LINES // len(shares)
    for share in shares:
        await share.write(bytes(most))
    assert sink.data == b""
    await shares[0].write(b"x")
    same([sink.data], [bytes(most) + b"x"])


async def test_datagrams_are_written_whole_at_once(loop: Loop) -> None:
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=False)
    one, other = stdout.join(), stdout.join()
    await one.write(b"no line")
    await other.write(b"a line\nand more")
    await one.write(b"")
    assert sink.taken == [b"no line", b"a line\nand more"]


async def test_a_line_that_stdout_takes_in_parts_stays_in_one_piece(loop: Loop) -> None:
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


async def test_a_closed_stdout_is_an_error_of_each_write(loop: Loop) -> None:
    closed = OutputClosed("writing stdout", "Broken pipe")
    stdout = SharedStdout(loop, MemorySink(loop, closed, closed), lines=True)
    for share in (stdout.join(), stdout.join()):
        with pytest.raises(OutputClosed):
            await share.write(b"line\n")


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab\n", min_size=1, max_size=5).map(str.encode)), max_size=30))
async def test_lines_are_whole_and_each_clients_in_order(loop: Loop, writes: list[tuple[int, bytes]]) -> None:
    marks = [b"\x01", b"\x02", b"\x03"]  # each client's letters are its own
    sink = MemorySink(loop)
    stdout = SharedStdout(loop, sink, lines=True)
    shares = [stdout.join() for _ in marks]
    for client, text in writes:
        await shares[client].write(text.replace(b"a", marks[client]).replace(b"b", marks[client]))
    held = [share.unfinished for share in shares]
    assert all(b"\n" not in rest for rest in held)
    for line in sink.data.splitlines():
        assert len(set(line)) <= 1, "two clients in one line"
    for share in shares:
        await share.send_eof()
    data = sink.data
    for client, mark in enumerate(marks):
        assert data.count(mark) == sum(len(text.replace(b"\n", b"")) for writer, text in writes if writer == client)
    assert data.count(b"\n") == sum(text.count(b"\n") for _, text in writes)


async def test_a_client_whose_system_acknowledges_bytes_is_not_cut_off_though_it_takes_no_whole_chunk(
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Acknowledging:
        left = 1 << 30

        def unacknowledged(self) -> int:
            self.left -= 1
            return self.left

    monkeypatch.setattr("pync.endpoints.shared_stdio.extent", lambda fd: None)
    shared = SharedStdin(loop, MemorySource(loop, bytes(2 * QUEUE_BYTES)))
    reader = shared.join(Acknowledging())  # type: ignore[arg-type]
    assert isinstance(reader, Reader)
    reading = loop.spawn(shared.run())
    await reader.attend(loop.sleep(10 * STALL), Stdio(reader, MemorySink(loop)))  # and nothing is raised
    reading.cancel()
