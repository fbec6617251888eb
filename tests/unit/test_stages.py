"""Laws of the stages: any split of the input gives the same output, and the output is that of the RFC.

Each stage is compared with a reference that reads one byte at a time and has nothing in common with the stage itself.
"""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.stages import feed_all, flush_all
from pync.stages.chat_lines import ChatLines
from pync.stages.checksum import Checksum
from pync.stages.crlf import Crlf
from pync.stages.telnet import Telnet, TelnetEscape, TelnetKept
from pync.stages.visible import Visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pync.stages import Stage

LINE_PARTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b""]) | st.binary(max_size=4))
NUL, SE, NOP, SB, WILL, WONT, DO, DONT, IAC = (bytes([byte]) for byte in (0, 240, 241, 250, 251, 252, 253, 254, 255))
TELNET_PARTS = st.lists(
    st.sampled_from([IAC, NOP, SB, SE, WILL, WONT, DO, DONT, NUL, b"\r", b"\n", b"x", b"\x01", IAC + SE, IAC + SB, b""])
    | st.binary(max_size=4)
)


def output(stage: Stage, parts: Iterable[bytes]) -> bytes:
    """All that comes out of a stage that is fed these parts."""
    return b"".join([*map(stage.feed, parts), stage.flush()])


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# -- Checksums ---------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40)))
def test_a_checksum_changes_nothing_and_is_the_same_for_any_split(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    for split in parts, [whole], bytewise(whole):
        stage = Checksum()
        assert [stage.feed(part) for part in split] == split
        assert stage.flush() == b""
        assert stage.hexadecimal() == hashlib.sha256(whole).hexdigest()


# -- Line ends ---------------------------------------------------------------------------------------------------


def crlf_by_the_byte(data: bytes) -> bytes:
    out = bytearray()
    before: int | None = None
    for byte in data:
        if byte == 10 and before != 13:
            out.append(13)
        out.append(byte)
        before = byte
    return bytes(out)


@given(LINE_PARTS)
def test_crlf_is_the_same_for_any_split(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert (
        output(Crlf(), parts) == output(Crlf(), [whole]) == output(Crlf(), bytewise(whole)) == crlf_by_the_byte(whole)
    )


@given(LINE_PARTS)
def test_crlf_never_holds_a_byte_back(parts: list[bytes]) -> None:
    stage = Crlf()
    assert all(len(stage.feed(part)) >= len(part) for part in parts)
    assert stage.flush() == b""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"a\nb\n"], b"a\r\nb\r\n"),
        ([b"a\r\nb\r\n"], b"a\r\nb\r\n"),
        ([b"a\r", b"\nb"], b"a\r\nb"),
        ([b"a\r", b"", b"\nb"], b"a\r\nb"),
        ([b"a\rb\r"], b"a\rb\r"),
        ([b"\n\n", b"\n"], b"\r\n\r\n\r\n"),
        ([b"\r\r\n"], b"\r\r\n"),
    ],
)
def test_crlf_adds_only_the_missing_carriage_returns(parts: list[bytes], expected: bytes) -> None:
    assert output(Crlf(), parts) == expected


# -- TELNET ------------------------------------------------------------------------------------------------------


class Received(NamedTuple):
    """What a TELNET peer has sent."""

    data: bytes
    answers: bytes = b""


def telnet_by_the_byte(data: bytes) -> Received:
    plain, answers = bytearray(), bytearray()
    coming = iter(data)
    for byte in coming:
        if byte != 255:
            plain.append(byte)
            continue
        verb = next(coming, None)
        if verb == 255:
            plain.append(255)
        elif verb == 250:
            for inner in coming:
                if inner == 255 and next(coming, None) == 240:
                    break
        elif verb in (251, 252, 253, 254):
            option = next(coming, None)
            if option is not None and verb in (251, 253):
                answers += bytes([255, {251: 254, 253: 252}[verb], option])
    return Received(line_ends(plain), bytes(answers))


def line_ends(data: bytes | bytearray) -> bytes:
    """RFC 854: CR LF is a newline, CR NUL is a carriage return, and each CR belongs to the byte after it."""
    out = bytearray()
    coming = iter(data)
    for byte in coming:
        while byte == 13:
            following = next(coming, None)
            if following == 10:
                out.append(10)
            else:
                out.append(13)
            if following is None or following in (10, 0):
                break
            byte = following
        else:
            out.append(byte)
    return bytes(out)


def telnet(parts: Iterable[bytes]) -> Received:
    stage = Telnet()
    data, answers = b"", b""
    for part in parts:
        data += stage.feed(part)
        answers += stage.take_refusals()
    return Received(data + stage.flush(), answers + stage.take_refusals())


@given(TELNET_PARTS)
def test_telnet_is_the_same_for_any_split(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert telnet(parts) == telnet([whole]) == telnet(bytewise(whole)) == telnet_by_the_byte(whole)


@pytest.mark.parametrize(
    ("data", "plain", "answers"),
    [
        (b"plain\r\n", b"plain\n", b""),
        (b"a\nb\n\r", b"a\nb\n\r", b""),
        (b"\r\n\r\0\n\r\r\n\r\n\0", b"\n\r\n\r\n\n\0", b""),
        (b"a\r" + IAC + IAC, b"a\r\xff", b""),
        (b"a\r" + IAC + WILL + b"\x01\nb", b"a\nb", IAC + DONT + b"\x01"),
        (b"a\r" + IAC, b"a\r", b""),
        (b"a" + IAC + IAC + b"b", b"a\xffb", b""),
        (b"a" + IAC + NOP + b"b", b"ab", b""),
        (b"a" + IAC + WILL + b"\x01b", b"ab", IAC + DONT + b"\x01"),
        (b"a" + IAC + DO + b"\x1fb", b"ab", IAC + WONT + b"\x1f"),
        (b"a" + IAC + WONT + b"\x01" + IAC + DONT + b"\x01b", b"ab", b""),
        (b"a" + IAC + SB + b"\x18\x01" + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + SB + b"\x18" + IAC + IAC + SE + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + SB + IAC + WILL + b"\x01" + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + WILL + IAC + b"b", b"ab", IAC + DONT + IAC),
        (b"a\r\0b\r\nc\rd\0", b"a\rb\nc\rd\0", b""),
        (b"a\r" + IAC + NOP + b"\0b", b"a\rb", b""),
        (b"\r\r\0\0", b"\r\r\0", b""),
        (b"cut" + IAC, b"cut", b""),
        (b"cut" + IAC + DO, b"cut", b""),
        (b"cut" + IAC + SB + b"for ever", b"cut", b""),
    ],
)
def test_telnet_strips_commands_and_refuses_requests(data: bytes, plain: bytes, answers: bytes) -> None:
    assert telnet([data]) == telnet(bytewise(data)) == Received(plain, answers)


def kept_by_the_byte(data: bytes) -> bytes:
    """What nc.openbsd and nc.traditional answer: IAC and the byte after it, and for a demand its option, too."""
    answers, rest = b"", iter(data)
    for byte in rest:
        if byte == IAC[0]:
            verb = bytes([next(rest, 0)])
            if verb in (WILL, WONT, DO, DONT) and (option := next(rest, None)) is not None:
                answers += IAC + (DONT if verb in (WILL, WONT) else WONT) + bytes([option])
    return answers


@given(TELNET_PARTS)
def test_telnet_that_is_kept_passes_everything_on_and_answers_every_demand(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    for split in parts, [whole], bytewise(whole):
        stage = TelnetKept()
        assert output(stage, split) == whole
        assert stage.take_refusals() == kept_by_the_byte(whole)


def test_telnet_holds_back_one_carriage_return_at_most() -> None:
    stage = Telnet()
    assert [stage.feed(part) for part in (b"login:\r", b"", b"\r", b"\n$ ")] == [b"login:", b"", b"\r", b"\n$ "]


def test_telnet_gives_each_answer_once() -> None:
    stage = Telnet()
    stage.feed(IAC + DO + b"\x03")
    assert stage.take_refusals() == IAC + WONT + b"\x03"
    assert stage.take_refusals() == b""


def test_telnet_passes_plain_data_as_it_is() -> None:
    data = b"no command, no padding" * 100
    assert Telnet().feed(data) is data


@given(TELNET_PARTS)
def test_telnet_keeps_no_more_than_the_beginning_of_a_command(parts: list[bytes]) -> None:
    stage = Telnet()
    fresh = len(pickle.dumps(stage))
    for part in parts:
        stage.feed(part)
        stage.take_refusals()
        assert len(pickle.dumps(stage)) <= fresh + 10


def test_telnet_forgets_a_long_subnegotiation() -> None:
    stage = Telnet()
    stage.feed(IAC + SB)
    for _ in range(64):
        assert stage.feed(b"parameter" * 1000) == b""
    assert len(pickle.dumps(stage)) < 500
    assert stage.feed(IAC + SE + b"data") == b"data"


@given(st.lists(st.binary() | st.just(IAC)))
def test_escaped_data_comes_back_from_telnet(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    escaped = output(TelnetEscape(), parts)
    assert escaped == output(TelnetEscape(), [whole]) == output(TelnetEscape(), bytewise(whole))
    assert telnet([escaped]) == Received(line_ends(whole))


# -- Several stages ----------------------------------------------------------------------------------------------


class Tail:
    """A stage that passes everything on, and records when it is flushed."""

    def __init__(self, tail: bytes, flushed: list[bytes]) -> None:
        self.tail = tail
        self.flushed = flushed

    def feed(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        self.flushed.append(self.tail)
        return self.tail


def some_stages() -> list[Sequence[Stage]]:
    return [
        (),
        (Crlf(),),
        (Telnet(), Crlf()),
        (ChatLines("<a> "), Crlf(), TelnetEscape()),
        (Telnet(), ChatLines("<b> ")),
    ]


@given(LINE_PARTS | TELNET_PARTS)
def test_several_stages_give_what_each_gives_after_the_other_for_any_split(parts: list[bytes]) -> None:
    for together, alone in zip(some_stages(), some_stages(), strict=True):
        expected = b"".join(parts)
        for stage in alone:
            expected = output(stage, [expected])
        assert b"".join([*(feed_all(together, part) for part in parts), *flush_all(together)]) == expected


def test_without_stages_data_is_passed_on_as_it_is() -> None:
    data = b"data" * 100
    assert feed_all((), data) is data
    assert list(flush_all(())) == []


def test_a_tail_goes_through_the_stages_after_it() -> None:
    stages = (ChatLines("<a> "), Crlf())
    assert feed_all(stages, b"a line without an end") == b""
    assert list(flush_all(stages)) == [b"<a> a line without an end\r\n"]


def test_a_stage_is_flushed_when_the_tails_before_it_were_taken() -> None:
    flushed: list[bytes] = []
    tails = flush_all((Tail(b"first", flushed), Crlf(), Tail(b"second", flushed)))
    assert flushed == []
    assert next(tails) == b"first"
    assert flushed == [b"first"]
    assert list(tails) == [b"second"]
    assert flushed == [b"first", b"second"]


# -- Text on a terminal ------------------------------------------------------------------------------------------

TEXT_PARTS = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\t", b"\x1b[2J", "\u00e9\u2603".encode(), b"\xe2\x98", b"\xff", "\u202e".encode()]
    )
    | st.binary(max_size=4)
)


@given(TEXT_PARTS)
def test_what_is_visible_is_the_same_for_any_split_and_commands_no_terminal(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    shown = output(Visible(), parts)
    assert shown == output(Visible(), [whole]) == output(Visible(), bytewise(whole))
    assert shown.decode().replace("\r\n", "").replace("\n", "").replace("\t", "").isprintable()


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" \t\n")))
def test_a_text_that_commands_nothing_stays_as_it_is(text: str) -> None:
    for data in text.encode(), text.replace("\n", "\r\n").encode():
        assert output(Visible(), [data]) == data


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\x1b[2Jb\x07", rb"a\x1b[2Jb\x07"),
        (b"secret\rpublic\r", rb"secret\rpublic\r"),
        ("\u202e\u2028\x9b".encode(), rb"\u202e\u2028\x9b"),
        (b"\xff\xc3", rb"\xff\xc3"),
    ],
)
def test_what_would_command_a_terminal_is_written_as_python_writes_it(data: bytes, shown: bytes) -> None:
    assert output(Visible(), [data]) == shown
