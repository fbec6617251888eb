"""Laws of the hexadecimal log: it can be read back, and looks as that of nc.traditional."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness import require, run, serve
from hypothesis import given
from hypothesis import strategies as st

from pync.relay.log_files import HexDump

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path


class Line(NamedTuple):
    """A line of the log."""

    mark: str
    offset: int
    part: bytes


def read_back(text: bytes) -> Iterator[Line]:
    for line in text.decode("ascii").splitlines():
        assert line[1] == line[10] == " " and line[59:61] == "# "
        part = bytes.fromhex(line[11:59])
        assert line[61:] == "".join(chr(byte) if 32 <= byte <= 126 else "." for byte in part)
        yield Line(line[0], int(line[2:10], 16), part)


@given(st.lists(st.binary(max_size=50)))
def test_hexdump_can_be_read_back(parts: list[bytes]) -> None:
    log = HexDump(">")
    lines = list(read_back(b"".join([*map(log.feed, parts), log.flush()])))
    assert b"".join(line.part for line in lines) == b"".join(parts)
    assert [line.offset for line in lines] == [sum(len(line.part) for line in lines[:n]) for n in range(len(lines))]
    assert all(line.mark == ">" and 1 <= len(line.part) <= 16 for line in lines)


@given(st.lists(st.binary(max_size=50)))
def test_hexdump_begins_a_new_line_for_each_read(parts: list[bytes]) -> None:
    log = HexDump("<")
    for part in parts:
        assert b"".join(line.part for line in read_back(log.feed(part))) == part


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
    # nc.traditional reads multiples of sixteen bytes until the tail, so its lines do not depend on how it reads.
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
