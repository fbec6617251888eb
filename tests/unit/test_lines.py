"""Bytes and lines as datagrams: however a source was read, the lines are the same, and none is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import END, MemorySink, MemorySource
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Config, Program
from pync.endpoints.lines import LineEnds, Lines, Pieces, as_datagrams, most_bytes
from pync.endpoints.wrappers import Paced
from pync.relay.flow import Flow

if TYPE_CHECKING:
    from doubles import Clock

    from pync.endpoints import Source
    from pync.loop.kernel import Loop

TEXT = st.lists(st.sampled_from([b"a", b"b", b"\n", b"cd\n"])).map(b"".join)
UDP = Config(mode="connect", datagram=True)


async def all_of(source: Source) -> list[bytes]:
    """All that a source gives, each read by itself."""
    given = []
    while (data := await source.read()) is not None:
        given.append(data)
        while (data := source.read_nowait()) is not None:
            given.append(data)
    return given


def parts(text: bytes, cuts: list[int]) -> list[bytes]:
    """The text, cut at these places."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in zip(places, places[1:], strict=False)]


@given(text=TEXT, cuts=st.lists(st.integers(0, 100), max_size=6), size=st.integers(1, 6))
async def test_lines_are_the_same_however_the_source_was_read(
    loop: Loop, text: bytes, cuts: list[int], size: int
) -> None:
    lines = await all_of(Lines(MemorySource(loop, *parts(text, cuts), END), size))
    assert lines == await all_of(Lines(MemorySource(loop, text, END), size))
    assert b"".join(lines) == text
    assert all(0 < len(line) <= size and b"\n" not in line[:-1] for line in lines)
    if size > 1:
        assert lines.count(b"\n") == text.split(b"\n")[:-1].count(b""), "only an empty line is a newline"


@given(text=TEXT, size=st.integers(1, 6))
async def test_a_line_is_cut_only_if_it_is_too_long(loop: Loop, text: bytes, size: int) -> None:
    lines = await all_of(Lines(MemorySource(loop, text, END), size))
    whole = text.splitlines(keepends=True)
    if all(len(line) <= size for line in whole):
        assert lines == whole


async def test_a_line_is_given_as_soon_as_it_has_ended_and_not_before(loop: Loop) -> None:
    lines = Lines(MemorySource(loop, b"one\ntw", 1.0, b"o\nthree", 1.0, END), 100)
    assert [await lines.read(), loop.clock()] == [b"one\n", 1000]
    assert lines.read_nowait() is None and lines.unread() == 2
    assert [await lines.read(), loop.clock()] == [b"two\n", 1001]
    assert [await lines.read(), loop.clock()] == [b"three", 1002]
    assert await lines.read() is None


@given(data=st.lists(st.binary(max_size=9), max_size=5), size=st.integers(1, 6))
async def test_pieces_keep_the_boundaries_and_bound_the_size(loop: Loop, data: list[bytes], size: int) -> None:
    pieces = await all_of(Pieces(MemorySource(loop, *data, END), size))
    expected = [[one[at : at + size] for at in range(0, len(one), size)] or [b""] for one in data]
    assert pieces == sum(expected, [])


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (UDP, MemorySource),
        (UDP.but(lines=True), Lines),
        (UDP.but(pace=1.0), Lines),
        (UDP.but(mode="listen", keep_open=True), Pieces),
        (UDP.but(program=Program(argv=("cat",))), Pieces),
    ],
)
def test_a_source_becomes_datagrams_as_the_config_asks(loop: Loop, config: Config, kind: type[Source]) -> None:
    assert type(as_datagrams(config, MemorySource(loop))) is kind


@pytest.mark.parametrize(
    ("config", "most"),
    [
        (UDP, 65507),
        (UDP.but(datagram_size=9), 9),
        (UDP.but(datagram_size=9, crlf=True), 4),
        (UDP.but(datagram_size=1, telnet=True), 1),
    ],
)
def test_what_the_stages_add_fits_into_the_datagram(config: Config, most: int) -> None:
    assert most_bytes(config) == most


async def test_paced_lines_are_whole_and_a_second_apart(loop: Loop, clock: Clock) -> None:
    source = MemorySource(loop, b"one\ntw", 5.0, b"o\nthree\nfo", 0.25, b"ur\n", END)
    sink = MemorySink(loop)
    await Flow(loop, Paced(loop, Lines(source, 100), 1.0), sink).run()
    taken = [(moment - 1000, data) for moment, data in sink.history if isinstance(data, bytes)]
    assert taken == [(0, b"one\n"), (6, b"two\n"), (7, b"three\n"), (8.25, b"four\n")]


@given(datagrams=st.lists(st.sampled_from([b"", b"a", b"a\n", b"\n", b"a\nb", b"a\nb\n"])))
async def test_each_datagram_is_shown_as_a_line(loop: Loop, datagrams: list[bytes]) -> None:
    sink = MemorySink(loop, 1, 1, 1)
    await Flow(loop, MemorySource(loop, *datagrams, END), LineEnds(sink)).run()
    assert sink.data == b"".join(one if one.endswith(b"\n") else one + b"\n" for one in datagrams)
    assert len(sink.ends) == 1
