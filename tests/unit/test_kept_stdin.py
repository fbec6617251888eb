"""A stdin that is kept: every client gets all of it, from memory, from a temporary file, or as it comes."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from conformance import join, same, turns
from doubles import END, MemorySource, StubPeer
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints import CHUNK, kept_stdin, shared_stdio
from pync.endpoints.client_queues import QUEUE_BYTES
from pync.endpoints.kept_stdin import MEMORY, Full, KeptSource, KeptStdin, Spool
from pync.errors import InputError
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pync.endpoints import Source
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

CHUNKS = [PAYLOAD(CHUNK)[at:] + PAYLOAD(CHUNK)[:at] for at in range(12)]  # more than MEMORY


@pytest.fixture(autouse=True)
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let stdin be a pipe, whatever the tests were started with."""
    ends = os.pipe()
    monkeypatch.setattr(shared_stdio, "STDIN", ends[0])
    yield
    for fd in ends:
        os.close(fd)


class Kept(KeptStdin):
    """A stdin that gives what its script says, and what it reported."""

    def __init__(self, loop: Loop, *script: Any, on_disk: bool = True) -> None:
        self.reported: list[str] = []
        super().__init__(loop, MemorySource(loop, *script), self.reported.append, on_disk=on_disk)
        self.running: Task = loop.spawn(self.run(), Condition())

    def client(self) -> KeptSource:
        """A new client's part."""
        source = self.join(StubPeer(self.loop))
        assert isinstance(source, KeptSource)
        return source


async def to_the_end(source: Source) -> list[bytes]:
    chunks = []
    while (data := await source.read()) is not END:
        chunks.append(data)
    return chunks


@pytest.mark.parametrize("chunks", [[], [b"one"], [b"one", b"two"], CHUNKS], ids=["none", "one", "two", "many"])
async def test_every_client_gets_all_whenever_it_comes(loop: Loop, chunks: list[bytes]) -> None:
    kept = Kept(loop, *chunks, END)
    early = [loop.spawn(to_the_end(kept.client()), Condition()) for _ in range(2)]
    for task in early:
        same(await join(loop, task), chunks)
    same(await to_the_end(kept.client()), chunks)
    assert kept.running.done and not kept.reported
    kept.spool.close()


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=8), st.lists(st.integers(0, 8), max_size=4))
async def test_a_client_gets_the_same_bytes_after_any_beginning(
    loop: Loop, chunks: list[bytes], moments: list[int]
) -> None:
    kept = Kept(loop, *(item for chunk in chunks for item in (chunk, 1.0)), END)
    reading = []
    for moment in sorted(moments):
        await loop.sleep(max(0.0, moment + 0.5 - loop.clock() % 100))
        reading.append(loop.spawn(to_the_end(kept.client()), Condition()))
    for task in reading:
        assert b"".join(await join(loop, task)) == b"".join(chunks)


async def test_stdin_is_read_only_when_a_client_has_read_all_that_is_kept(loop: Loop) -> None:
    kept = Kept(loop, b"one", b"two", END)
    client = kept.client()
    await loop.sleep(10)
    assert kept.spool.size == 0
    assert await client.read() == b"one"
    await loop.sleep(10)
    assert kept.spool.size == 3


async def test_reading_ahead_stops_at_what_memory_holds(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS, END)
    client = kept.client()
    await client.read_ahead()
    assert kept.spool.size == MEMORY and kept.spool.file is None
    same(await to_the_end(client), CHUNKS)
    kept.spool.close()


async def test_reading_ahead_does_not_end_with_stdin(loop: Loop) -> None:
    kept = Kept(loop, b"one", END)
    client = kept.client()
    reading = loop.spawn(client.read_ahead(), Condition())
    await loop.sleep(10)
    assert not reading.done and kept.ended
    await loop.cancel_and_wait(reading)


async def test_what_is_not_large_stays_in_memory(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS[:4], END)
    same(await to_the_end(kept.client()), CHUNKS[:4])
    assert kept.spool.file is None and len(kept.spool.memory) == MEMORY


async def test_a_large_page_is_in_a_file_of_which_the_kernel_can_send_a_part(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS, END)
    client = kept.client()
    assert client.raw() is None and client.length() is None
    await to_the_end(client)
    first, whole = await (later := kept.client()).begin()
    assert (first, whole) == (CHUNKS[0], False)
    assert later.length() == len(CHUNKS) * CHUNK
    assert later.rest(first, 10, CHUNK + 20) is later
    assert later.unread() == CHUNK + 10
    assert (fd := later.raw()) is not None
    assert os.pread(fd, 10, later.position or 0) == CHUNKS[0][10:20]
    same(await to_the_end(later), [(CHUNKS[0] + CHUNKS[1])[10 : CHUNK + 20]])
    kept.spool.close()


async def test_the_beginning_of_a_small_page_that_has_ended_is_all_of_it(loop: Loop) -> None:
    kept = Kept(loop, b"page", END)
    assert await kept.client().begin() == (b"page", False)
    await to_the_end(kept.client())
    assert await kept.client().begin() == (b"page", True)


async def test_an_error_of_stdin_is_that_of_the_server(loop: Loop) -> None:
    kept = Kept(loop, InputError("reading stdin", "Input/output error"))
    reading = loop.spawn(kept.client().read(), Condition())
    with pytest.raises(InputError):
        await join(loop, kept.running)
    await loop.cancel_and_wait(reading)


# -- More than can be kept ---------------------------------------------------------------------------------------------


async def test_without_a_file_what_is_too_much_goes_to_the_clients_of_the_moment(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS[:8], 1.0, *CHUNKS[8:], END, on_disk=False)
    early = kept.client()
    reading = loop.spawn(to_the_end(early), Condition())
    await loop.sleep(0.5)
    late = kept.client()
    same(await to_the_end(late), CHUNKS[8:])
    same(await join(loop, reading), CHUNKS)
    assert len(kept.reported) == 1
    assert kept.client().length() is None


async def test_a_client_that_is_behind_reads_what_is_kept_and_then_its_queue(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS[:8], END, on_disk=False)
    fast, slow = kept.client(), kept.client()
    reading = loop.spawn(to_the_end(fast), Condition())
    await turns(loop, 50)
    assert kept.streaming and slow.position == 0
    assert slow.size <= QUEUE_BYTES + CHUNK
    same(await to_the_end(slow), CHUNKS[:8])
    same(await join(loop, reading), CHUNKS[:8])


async def test_the_part_of_a_client_that_came_too_late_begins_with_what_it_has_read(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS[:8], 1.0, b"now", END, on_disk=False)
    reading = loop.spawn(to_the_end(kept.client()), Condition())
    await loop.sleep(0.5)
    late = kept.client()
    assert await late.begin() == (b"now", False)
    assert await to_the_end(late.rest(b"now", 0, None)) == [b"now"]
    await join(loop, reading)


async def test_a_full_disk_is_reported_once_and_no_client_that_was_there_misses_a_byte(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def pwrite(fd: int, data: bytes, position: int) -> int:
        if position + len(data) > 6 * CHUNK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    kept = Kept(loop, *CHUNKS, END)
    tasks = [loop.spawn(to_the_end(kept.client()), Condition()) for _ in range(2)]
    for task in tasks:
        same(await join(loop, task), CHUNKS)
    assert kept.reported == ["No space left on device"]
    kept.spool.close()


async def test_no_descriptor_for_the_file_is_as_a_full_disk(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    kept = Kept(loop, *CHUNKS, END)
    same(await to_the_end(kept.client()), CHUNKS)
    assert kept.reported == ["Too many open files"]


async def test_what_no_client_can_use_any_more_is_dropped(loop: Loop) -> None:
    kept = Kept(loop, *CHUNKS[:6], 1.0, b"now", END, on_disk=False)
    early, late = kept.client(), kept.client()
    reading = loop.spawn(to_the_end(early), Condition())
    await loop.sleep(0.5)
    kept.leave(early)
    assert kept.spool.memory, "the other client has not read it"
    kept.leave(late)
    assert not kept.spool.memory
    await loop.cancel_and_wait(reading)


def test_a_spool_takes_at_most_half_of_the_free_space(monkeypatch: pytest.MonkeyPatch) -> None:
    class Space:
        f_bavail, f_frsize = 3 * MEMORY // 1024, 1024

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Space)
    spool = Spool(on_disk=True)
    spool.append(bytes(MEMORY))
    spool.append(bytes(MEMORY // 2))
    with pytest.raises(Full, match="half of the space"):
        spool.append(b"x")
    assert spool.size == 3 * MEMORY // 2
    assert spool.read(MEMORY, None) == bytes(CHUNK)
    spool.close()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.integers(0, 300), st.integers(0, 300))
def test_a_spool_gives_what_it_was_given(chunks: list[bytes], start: int, stop: int) -> None:
    data = b"".join(chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_stdin, "MEMORY", 100)
        spool = Spool(on_disk=True)
        for chunk in chunks:
            spool.append(chunk)
        assert (spool.file is not None) == (len(data) > 100)
        assert spool.read(start, None) == data[start:]
        assert spool.read(start, min(stop, len(data))) == data[start : min(stop, len(data))]
        spool.close()
