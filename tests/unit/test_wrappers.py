"""Sources around another source: what is said before it, line by line, and later. Time is virtual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import END, MemoryFile, MemorySource, pipe, play
from hypothesis import given
from hypothesis import strategies as st

from pync.endpoints.stdio import Stdin
from pync.endpoints.wrappers import Chain, Delayed, Paced, Replayable

if TYPE_CHECKING:
    from pync.endpoints import Source
    from pync.loop.kernel import Loop

    Heard = list[tuple[float, bytes]]


async def heard(loop: Loop, source: Source) -> Heard:
    """All that it says, each with the seconds since the start; its end comes without a pause."""
    start, words = loop.clock(), list[tuple[float, bytes]]()
    while (data := await source.read()) is not END:
        words.append((round(loop.clock() - start, 6), data))
    assert not words or round(loop.clock() - start, 6) == words[-1][0]
    return words


# -- Pacing ------------------------------------------------------------------------------------------------------


def paced(*script: bytes | float | None) -> Heard:
    return play(lambda loop: heard(loop, Paced(loop, MemorySource(loop, *script), 2.0)))


def test_lines_come_one_by_one_the_first_at_once() -> None:
    assert paced(b"a\nb\n", b"c\n", END) == [(0, b"a\n"), (2, b"b\n"), (4, b"c\n")]


def test_the_rest_of_a_line_follows_its_beginning_without_a_pause() -> None:
    assert paced(b"a\nbe", b"gun\nc", END) == [(0, b"a\n"), (2, b"be"), (2, b"gun\n"), (4, b"c")]


def test_empty_lines_are_lines() -> None:
    assert paced(b"\n\n", END) == [(0, b"\n"), (2, b"\n")]


def test_an_empty_datagram_passes_at_once() -> None:
    assert paced(b"a\n", b"", b"b\n", END) == [(0, b"a\n"), (0, b""), (2, b"b\n")]


def test_the_pause_begins_when_the_next_line_is_there() -> None:
    assert paced(b"a\n", 5.0, b"b\n", END) == [(0, b"a\n"), (7, b"b\n")]


@given(st.lists(st.text("ab\n", min_size=1).map(str.encode)))
def test_pacing_changes_no_byte_and_gives_at_most_a_line(chunks: list[bytes]) -> None:
    lines = [word for _, word in paced(*chunks, END)]
    assert b"".join(lines) == b"".join(chunks)
    assert all(line.count(b"\n") <= 1 and b"\n" not in line[:-1] for line in lines)


async def test_a_paced_source_knows_what_it_holds(loop: Loop) -> None:
    source = Paced(loop, MemoryFile(loop, b"a\nbb\n", b"ccc", END), 1.0)
    assert [source.unread(), len(await source.read() or b""), source.unread(), len(await source.read() or b"")] == [
        8,
        2,
        6,
        3,
    ]


# -- A delay -----------------------------------------------------------------------------------------------------


def delayed(*script: bytes | float | None) -> Heard:
    return play(lambda loop: heard(loop, Delayed(loop, MemorySource(loop, *script), 2.0)))


def test_each_read_comes_later_and_the_end_at_once() -> None:
    assert delayed(b"a", b"", 1.0, b"b", END) == [(2, b"a"), (4, b""), (7, b"b")]


async def test_a_delayed_source_knows_what_it_holds(loop: Loop) -> None:
    source = Delayed(loop, MemoryFile(loop, b"a", b"bb"), 1.0)
    with pytest.raises(TimeoutError):
        await loop.within(0.5, source.read())
    assert [source.unread(), len(await source.read() or b""), source.unread()] == [3, 1, 2]


# -- What is said before -----------------------------------------------------------------------------------------


async def test_a_chain_says_its_chunks_and_then_what_the_rest_says(loop: Loop) -> None:
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


async def test_what_must_see_the_bytes_has_no_descriptor(loop: Loop) -> None:
    with pipe() as (reading, _):
        rest = Stdin(loop, reading)
        assert rest.raw() is not None
        for wrapped in (Chain([b"a"], rest), Paced(loop, rest, 1.0), Delayed(loop, rest, 1.0), Replayable(rest)):
            assert wrapped.raw() is None
        loop.forget(rest.fd)
