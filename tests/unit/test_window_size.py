"""The size of a window within what is typed: any split gives the same, and what is typed arrives as it was typed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.stages.window_size import WindowSizes, escaped, message

LONGEST = 12  # bytes of a message of which the last is missing
SIZE = st.tuples(st.integers(1, 65535), st.integers(1, 65535))
TYPED = st.lists(st.binary() | st.sampled_from([b"\xff", b"\xfa\x1f", b"\xff\xf0", b"\x1b"])).map(b"".join)
PARTS = st.lists(
    st.sampled_from([b"\xff", b"\xff\xff", b"\xff\xfa\x1f", b"\xff\xf0", b"\0\x50", b"\0\0", b"key", message(24, 80)])
    | st.binary(max_size=4)
)


def passed(parts: list[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """What comes out of the stage, and the sizes that it has taken out."""
    sizes: list[tuple[int, int]] = []
    stage = WindowSizes(lambda rows, columns: sizes.append((rows, columns)))
    out = b"".join([*map(stage.feed, parts), stage.flush()])
    return out, sizes


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def by_the_byte(data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The same by a reference that has nothing in common with the stage: it looks for each message in full."""
    out, sizes = bytearray(), []
    while data:
        length, size = next(((n, s) for n in range(9, 14) if (s := size_in(data[:n]))), (0, None))
        if size:
            sizes.append(size)
        else:
            length = 2 if data[:2] == b"\xff\xff" else 1
            out += data[:1]
        data = data[length:]
    return bytes(out), [size for size in sizes if all(size)]


def size_in(text: bytes) -> tuple[int, int] | None:
    """The rows and columns, if this is a message and nothing else."""
    parameters = text[3:-2]
    halves = parameters.replace(b"\xff\xff", b"\xff")
    right = text[:3] == b"\xff\xfa\x1f" and text[-2:] == b"\xff\xf0" and len(halves) == 4
    if not right or halves.replace(b"\xff", b"\xff\xff") != parameters:
        return None
    columns, rows = struct.unpack("!HH", halves)
    return rows, columns


@given(PARTS)
def test_any_split_gives_the_same_and_what_the_reference_gives(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert passed(parts) == passed([whole]) == passed(bytewise(whole)) == by_the_byte(whole)


@given(st.lists(TYPED | SIZE), st.booleans())
def test_what_is_typed_arrives_as_it_was_typed_and_each_size_once(
    typed: list[bytes | tuple[int, int]], cut: bool
) -> None:
    sent = [escaped(part) if isinstance(part, bytes) else message(*part) for part in typed]
    out, sizes = passed(bytewise(b"".join(sent)) if cut else sent)
    assert out == b"".join(part for part in typed if isinstance(part, bytes))
    assert sizes == [part for part in typed if isinstance(part, tuple)]


@given(PARTS)
def test_no_more_is_held_back_than_the_beginning_of_a_message(parts: list[bytes]) -> None:
    stage = WindowSizes(lambda rows, columns: None)
    for part in parts:
        stage.feed(part)
    assert len(stage.flush()) <= LONGEST


@given(st.text())
def test_a_key_is_never_held_back(text: str) -> None:
    stage = WindowSizes(lambda rows, columns: None)
    for key in text:
        assert stage.feed(escaped(key.encode())) == key.encode()


@pytest.mark.parametrize(
    ("rows", "columns", "sent"),
    [(24, 80, "fffa1f00500018fff0"), (255, 1, "fffa1f000100fffffff0"), (65535, 65535, "fffa1f" + "ff" * 8 + "fff0")],
)
def test_a_message_is_that_of_rfc_1073(rows: int, columns: int, sent: str) -> None:
    assert message(rows, columns) == bytes.fromhex(sent)


@pytest.mark.parametrize("nothing", [(0, 80), (24, 0), (0, 0)])
def test_a_size_of_zero_is_none(nothing: tuple[int, int]) -> None:
    assert passed([b"a", message(*nothing), b"b"]) == (b"ab", [])
