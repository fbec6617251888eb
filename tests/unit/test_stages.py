"""Laws of the stages: any split of the input gives the same output, and what comes out is what the RFC says.

The references here read one byte at a time and share no idea with the stages themselves.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from harness import require, run, serve
from hypothesis import given
from hypothesis import strategies as st

from pync.relay.log_files import HexDump
from pync.stages.crlf import Crlf
from pync.stages.telnet import Telnet, TelnetEscape

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pync.stages import Stage

LINE_PARTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b""]) | st.binary(max_size=4))
NUL, SE, NOP, SB, WILL, WONT, DO, DONT, IAC = (bytes([byte]) for byte in (0, 240, 241, 250, 251, 252, 253, 254, 255))
TELNET_PARTS = st.lists(
    st.sampled_from([IAC, NOP, SB, SE, WILL, WONT, DO, DONT, NUL, b"\r", b"\n", b"x", b"\x01", IAC + SE, IAC + SB, b""])
    | st.binary(max_size=4)
)


def fed(stage: Stage, parts: Iterable[bytes]) -> bytes:
    """All that comes out of a stage fed in these parts."""
    return b"".join([*map(stage.feed, parts), stage.flush()])


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# Line ends


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
    assert fed(Crlf(), parts) == fed(Crlf(), [whole]) == fed(Crlf(), bytewise(whole)) == crlf_by_the_byte(whole)


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
    assert fed(Crlf(), parts) == expected


# TELNET


def telnet_by_the_byte(data: bytes) -> tuple[bytes, bytes]:
    """What of `data` is data, and what must be answered."""
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
    return without_padding(plain), bytes(answers)


def without_padding(data: bytes | bytearray) -> bytes:
    out = bytearray()
    before: int | None = None
    for byte in data:
        if before == 13 and byte == 0:
            before = None
            continue
        out.append(byte)
        before = byte
    return bytes(out)


def telnet(parts: Iterable[bytes]) -> tuple[bytes, bytes]:
    """What of the parts is data, and what was answered."""
    stage = Telnet()
    answers = b""
    plain = b""
    for part in parts:
        plain += stage.feed(part)
        answers += stage.take_answers()
    return plain + stage.flush(), answers + stage.take_answers()


@given(TELNET_PARTS)
def test_telnet_is_the_same_for_any_split(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert telnet(parts) == telnet([whole]) == telnet(bytewise(whole)) == telnet_by_the_byte(whole)


@pytest.mark.parametrize(
    ("data", "plain", "answers"),
    [
        (b"plain\r\n", b"plain\r\n", b""),
        (b"a" + IAC + IAC + b"b", b"a\xffb", b""),
        (b"a" + IAC + NOP + b"b", b"ab", b""),
        (b"a" + IAC + WILL + b"\x01b", b"ab", IAC + DONT + b"\x01"),
        (b"a" + IAC + DO + b"\x1fb", b"ab", IAC + WONT + b"\x1f"),
        (b"a" + IAC + WONT + b"\x01" + IAC + DONT + b"\x01b", b"ab", b""),
        (b"a" + IAC + SB + b"\x18\x01" + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + SB + b"\x18" + IAC + IAC + SE + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + SB + IAC + WILL + b"\x01" + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + WILL + IAC + b"b", b"ab", IAC + DONT + IAC),
        (b"a\r\0b\r\nc\rd\0", b"a\rb\r\nc\rd\0", b""),
        (b"a\r" + IAC + NOP + b"\0b", b"a\rb", b""),
        (b"\r\r\0\0", b"\r\r\0", b""),
        (b"cut" + IAC, b"cut", b""),
        (b"cut" + IAC + DO, b"cut", b""),
        (b"cut" + IAC + SB + b"for ever", b"cut", b""),
    ],
)
def test_telnet_strips_commands_and_refuses_requests(data: bytes, plain: bytes, answers: bytes) -> None:
    assert telnet([data]) == telnet(bytewise(data)) == (plain, answers)


def test_telnet_gives_each_answer_once() -> None:
    stage = Telnet()
    stage.feed(IAC + DO + b"\x03")
    assert stage.take_answers() == IAC + WONT + b"\x03"
    assert stage.take_answers() == b""


def test_telnet_passes_plain_data_as_it_is() -> None:
    data = b"no command, no padding" * 100
    assert Telnet().feed(data) is data


@given(TELNET_PARTS)
def test_telnet_keeps_no_more_than_the_beginning_of_a_command(parts: list[bytes]) -> None:
    stage = Telnet()
    fresh = len(pickle.dumps(stage))
    for part in parts:
        stage.feed(part)
        stage.take_answers()
        assert len(pickle.dumps(stage)) <= fresh + 3


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
    escaped = fed(TelnetEscape(), parts)
    assert escaped == fed(TelnetEscape(), [whole]) == fed(TelnetEscape(), bytewise(whole))
    assert telnet([escaped]) == (without_padding(whole), b"")


# The hexadecimal log


def read_back(text: bytes) -> Iterator[tuple[str, int, bytes]]:
    """The mark, the offset and the bytes of each line."""
    for line in text.decode("ascii").splitlines():
        assert line[1] == line[10] == " " and line[59:61] == "# "
        part = bytes.fromhex(line[11:59])
        assert line[61:] == "".join(chr(byte) if 32 <= byte <= 126 else "." for byte in part)
        yield line[0], int(line[2:10], 16), part


@given(st.lists(st.binary(max_size=50)))
def test_hexdump_can_be_read_back(parts: list[bytes]) -> None:
    lines = list(read_back(fed(HexDump(">"), parts)))
    assert b"".join(part for _, _, part in lines) == b"".join(parts)
    assert [offset for _, offset, _ in lines] == [sum(len(part) for _, _, part in lines[:n]) for n in range(len(lines))]
    assert all(mark == ">" and 1 <= len(part) <= 16 for mark, _, part in lines)


@given(st.lists(st.binary(max_size=50)))
def test_hexdump_begins_a_new_line_for_each_read(parts: list[bytes]) -> None:
    log = HexDump("<")
    for part in parts:
        assert b"".join(cells for _, _, cells in read_back(log.feed(part))) == part


def test_hexdump_lines_look_as_in_the_manual() -> None:
    sent = HexDump(">")
    assert sent.feed(b"from client\n") == (
        b"> 00000000 66 72 6f 6d 20 63 6c 69 65 6e 74 0a             # from client.\n"
    )
    assert sent.feed(bytes(range(16))) == (
        b"> 0000000c 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f # ................\n"
    )


def test_hexdump_writes_what_nc_traditional_writes(tmp_path: Path) -> None:
    program = require("nc.traditional")
    log = tmp_path / "log"
    # However its input is read, it is in multiples of sixteen bytes until the tail: the lines do not depend on it.
    sent, reply = bytes(range(256)) * 40 + b"tail", bytes(range(256)) + b"\xfftail\n"

    def answer(conn: socket.socket) -> None:
        missing = len(sent)
        while missing and (data := conn.recv(missing)):
            missing -= len(data)
        conn.sendall(reply)

    with serve(answer) as (host, port):
        result = run([program, "-o", str(log), host, str(port)], stdin=sent)
    lines = log.read_bytes().splitlines(keepends=True)
    assert (result.status, result.out) == (0, reply)
    assert b"".join(line for line in lines if line.startswith(b">")) == HexDump(">").feed(sent)
    assert b"".join(line for line in lines if line.startswith(b"<")) == HexDump("<").feed(reply)
