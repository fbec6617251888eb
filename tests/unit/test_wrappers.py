"""Sources around another source: its bytes line by line, its reads later, and chunks that come before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import END, MemoryFile, MemorySource, pipe
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints.stdio import Stdin
from pync.endpoints.wrappers import Chain, Delayed, Paced, Replayable

if TYPE_CHECKING:
    from pync.endpoints import Source
    from pync.loop.kernel import Loop

    Timed = list[tuple[float, bytes]]


async def timed(loop: Loop, source: Source) -> Timed:
    """All that a source gives, each with the seconds since the start. Its end must come without a pause."""
    start, reads = loop.clock(), list[tuple[float, bytes]]()
    while (data := await source.read()) is not END:
        reads.append((round(loop.clock() - start, 6), data))
    assert not reads or round(loop.clock() - start, 6) == reads[-1][0]
    return reads


# -- Pacing ------------------------------------------------------------------------------------------------------


async def paced(loop: Loop, *script: bytes | float | None) -> Timed:
    return await timed(loop, Paced(loop, MemorySource(loop, *script), 2.0))


async def test_lines_come_one_by_one_the_first_at_once(loop: Loop) -> None:
    assert await paced(loop, b"a\nb\n", b"c\n", END) == [(0, b"a\n"), (2, b"b\n"), (4, b"c\n")]


async def test_the_rest_of_a_line_follows_its_beginning_without_a_pause(loop: Loop) -> None:
    assert await paced(loop, b"a\nbe", b"gun\nc", END) == [(0, b"a\n"), (2, b"be"), (2, b"gun\n"), (4, b"c")]


async def test_empty_lines_are_lines(loop: Loop) -> None:
    assert await paced(loop, b"\n\n", END) == [(0, b"\n"), (2, b"\n")]


async def test_an_empty_datagram_passes_at_once(loop: Loop) -> None:
    assert await paced(loop, b"a\n", b"", b"b\n", END) == [(0, b"a\n"), (0, b""), (2, b"b\n")]


async def test_the_pause_begins_when_the_next_line_is_there(loop: Loop) -> None:
    assert await paced(loop, b"a\n", 5.0, b"b\n", END) == [(0, b"a\n"), (7, b"b\n")]


@given(st.lists(st.text("ab\n", min_size=1).map(str.encode)))
async def test_pacing_changes_no_byte_and_gives_at_most_a_line(loop: Loop, chunks: list[bytes]) -> None:
    lines = [line for _, line in await paced(loop, *chunks, END)]
    assert b"".join(lines) == b"".join(chunks)
    assert all(line.count(b"\n") <= 1 and b"\n" not in line[:-1] for line in lines)


async def test_a_paced_source_knows_what_it_holds(loop: Loop) -> None:
    source = Paced(loop, MemoryFile(loop, b"a\nbb\n", b"ccc", END), 1.0)
    assert source.unread() == 8
    assert await source.read() == b"a\n"
    assert source.unread() == 6
    assert await source.read() == b"bb\n"


# -- A delay -----------------------------------------------------------------------------------------------------


async def delayed(loop: Loop, *script: bytes | float | None) -> Timed:
    return await timed(loop, Delayed(loop, MemorySource(loop, *script), 2.0))


async def test_each_read_comes_later_and_the_end_at_once(loop: Loop) -> None:
    assert await delayed(loop, b"a", b"", 1.0, b"b", END) == [(2, b"a"), (4, b""), (7, b"b")]


async def test_a_delayed_source_knows_what_it_holds(loop: Loop) -> None:
    source = Delayed(loop, MemoryFile(loop, b"a", b"bb"), 1.0)
    with pytest.raises(TimeoutError):
        await loop.within(0.5, source.read())
    assert source.unread() == 3
    assert await source.read() == b"a"
    assert source.unread() == 2


# -- Chunks that come before -------------------------------------------------------------------------------------


async def test_a_chain_gives_its_chunks_and_then_what_the_rest_gives(loop: Loop) -> None:
    source = Chain([b"a", b"", b"b"], MemorySource(loop, b"c", END))
    assert [await source.read() for _ in range(6)] == [b"a", b"", b"b", b"c", END, END]


async def test_a_chain_without_a_rest_ends(loop: Loop) -> None:
    source = Chain([b"a"], None)
    assert source.raw() is None and source.unread() == 1
    assert [await source.read() for _ in range(3)] == [b"a", END, END]


async def test_a_chain_knows_what_is_left(loop: Loop) -> None:
    source = Chain([b"a", b"bb"], MemoryFile(loop, b"ccc", END))
    left = [source.unread()]
    while await source.read() is not END:
        left.append(source.unread())
    assert left == [6, 5, 3, 0]


async def test_a_wrapper_has_no_descriptor_because_it_must_see_the_bytes(loop: Loop) -> None:
    with pipe() as (reading, _):
        rest = Stdin(loop, reading)
        assert rest.raw() is not None
        for wrapped in (Chain([b"a"], rest), Paced(loop, rest, 1.0), Delayed(loop, rest, 1.0), Replayable(rest)):
            assert wrapped.raw() is None
        loop.forget(rest.fd)
