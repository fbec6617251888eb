"""Laws of the lines of a chat: no client speaks in another's name or commands another's terminal; text is unharmed."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.stages.chat_lines import LINE_LIMIT, LINES_LIMIT, ChatLines, printable_line

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "<user7> "
BIDI = (
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\u200e\u200f"  # embeddings, overrides, isolates, marks
)
INVISIBLE = "".join(
    map(chr, [0xAD, 0x180E, 0x200B, *range(0x2060, 0x2070), 0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB, *range(0xE0000, 0xE0080)])
)
JOINERS = "\u200c\u200d"
PARTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"<user1> ", b"\x1b[2J", "é€😀".encode(), b"\xe2\x82", b"\xff", b"\t", b""])
    | st.binary(max_size=4)
    | st.text(max_size=4).map(str.encode)
    | st.sampled_from(BIDI + JOINERS + INVISIBLE + "\u0085\u2028\u2029").map(str.encode)
)


def shown(*parts: bytes) -> bytes:
    """What the other clients receive when one has sent these parts."""
    lines = ChatLines(PREFIX)
    return b"".join([*map(lines.feed, parts), lines.flush()])


@given(PARTS)
def test_any_split_gives_the_same(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert shown(*parts) == shown(whole) == shown(*(whole[at : at + 1] for at in range(len(whole))))


@given(PARTS)
def test_every_line_has_the_senders_prefix_and_an_end(parts: list[bytes]) -> None:
    *lines, rest = shown(*parts).split(b"\n")
    assert rest == b""
    assert all(line.startswith(PREFIX.encode()) for line in lines)
    assert len(lines) == len(b"".join(parts).removesuffix(b"\n").split(b"\n")) * bool(b"".join(parts))


@given(PARTS)
def test_nothing_that_commands_a_terminal_comes_through(parts: list[bytes]) -> None:
    # A line that has no prefix would appear here if anything but LF ended a line: splitlines knows all line ends.
    for line in shown(*parts).decode().splitlines():
        assert line.startswith(PREFIX)
        assert not {unicodedata.category(letter) for letter in line.replace("\t", "")} & {"Cc", "Cs", "Zl", "Zp"}
        assert not {*line} & {*BIDI, *INVISIBLE}


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters=BIDI + JOINERS + INVISIBLE))
)
def test_text_is_unharmed(text: str) -> None:
    assert shown(text.encode() + b"\n") == f"{PREFIX}{text}\n".encode()
    assert printable_line(text) == text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (b"plain\n", "plain"),
        (b"telnet\r\n", "telnet"),
        (b"\x1b[31mred", r"\033[31mred"),
        (b"a\rb\r\n", r"a\015b"),
        (b"tab\there", "tab\there"),
        (b"\x7f\0", r"\177\000"),
        ("next\u0085line \u009b2J".encode(), r"next\302\205line \302\2332J"),
        ("\u2028\u202e\u2066".encode(), r"\342\200\250\342\200\256\342\201\246"),
        (b"\xff \xc3( \xed\xa0\x80", r"\377 \303( \355\240\200"),
        ("Grüße, שלום, 👩‍🚀\n".encode(), "Grüße, שלום, 👩‍🚀"),
        ("می\u200cخواهم क्\u200dष 👩\u200d🚀".encode(), "می\u200cخواهم क्\u200dष 👩\u200d🚀"),
        (
            "\u200dpay\u200cpal é\u200dx é\u200d".encode(),
            r"\342\200\215pay\342\200\214pal é\342\200\215x é\342\200\215",
        ),
        ("é\u200d\u200dé".encode(), r"é\342\200\215\342\200\215é"),
        ("a\u200bb\ufeffc\U000e0041".encode(), r"a\342\200\213b\357\273\277c\363\240\201\201"),
        (b"\\033\n", r"\033"),
        (b"\n", ""),
    ],
)
def test_control_characters_are_written_as_octal(words: bytes, line: str) -> None:
    assert shown(words).decode() == f"{PREFIX}{line}\n"


@pytest.mark.parametrize(
    "codes", [range(0x20), range(0x7F, 0xA0), range(0xDC80, 0xDD00), map(ord, BIDI + JOINERS + INVISIBLE)]
)
def test_each_control_character_is_replaced_wherever_it_stands_alone(codes: Iterable[int]) -> None:
    for letter in map(chr, codes):
        assert (letter in printable_line(letter)) == (letter == "\t")


def test_a_line_goes_out_when_its_end_has_come_and_not_before() -> None:
    lines = ChatLines(PREFIX)
    assert lines.feed(b"one") == b""
    assert lines.feed(b" line\nand ") == b"<user7> one line\n"
    assert lines.feed(b"\r") == b""
    assert lines.feed(b"\n") == b"<user7> and \n"
    assert lines.flush() == b""


def test_of_many_clients_each_holds_only_its_share() -> None:
    clients = [ChatLines(PREFIX) for _ in range(1000)]
    share = LINES_LIMIT // len(clients)
    lines = ChatLines(PREFIX, clients)
    assert lines.feed(b"x" * share) == b""
    assert lines.feed(b"xx") == PREFIX.encode() + b"x" * share + b"\n"
    del clients[10:]
    assert lines.feed(b"y" * (LINE_LIMIT - 10) + b"\n") == PREFIX.encode() + b"xx" + b"y" * (LINE_LIMIT - 10) + b"\n"


LENGTHS = [*(LINE_LIMIT + more for more in (-1, 0, 1, 2)), 2 * LINE_LIMIT, 2 * LINE_LIMIT + 1, 3 * LINE_LIMIT + 5]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"], ids=repr)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_line_that_is_too_long_is_cut_and_each_piece_is_a_line(length: int, end: bytes) -> None:
    words = b"x" * length + end
    pieces = shown(words).split(b"\n")
    assert pieces.pop() == b""
    assert [len(piece) - len(PREFIX) for piece in pieces[:-1]] == [LINE_LIMIT] * ((length - 1) // LINE_LIMIT)
    assert sum(map(len, pieces)) == length + len(pieces) * len(PREFIX)
    for split in (1, LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, len(words) - 1):
        assert shown(words[:split], words[split:]) == shown(words)
    assert shown(*(words[at : at + 1000] for at in range(0, len(words), 1000))) == shown(words)


@pytest.mark.parametrize("letter", ["é", "€", "😀"])
@pytest.mark.parametrize("before", range(4))
def test_a_cut_never_goes_through_a_character(letter: str, before: int) -> None:
    text = "x" * before + letter * LINE_LIMIT
    pieces = shown(text.encode()).decode().split("\n")
    assert "".join(piece.removeprefix(PREFIX) for piece in pieces) == text


def test_what_is_held_is_bounded() -> None:
    lines = ChatLines(PREFIX)
    out = sum(len(lines.feed(b"x" * 999)) for _ in range(1000))
    assert out >= 999 * 1000 - LINE_LIMIT - 1
