"""The head of an HTTP message: everything up to the empty line that ends the header (RFC 9112, section 2.1).

Theory: a head is cut off from what follows it before it is parsed. So a parser never sees a body, a tunnel's first
bytes or a second message, and those stay where they were.

Must not wait for the end of a head from a peer that obviously does not speak HTTP: that end might never come.

A module of its own, because clients and servers of proxies share it with the answers to requests.
"""

from __future__ import annotations

from pync.protocols.dialogue import Refused, exactly, receive_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.protocols.dialogue import Dialogue

HEAD_LIMIT = 64 * 1024  # bytes
SIGNATURE = b"HTTP/1."  # what every response begins with


class HeadTooLong(Refused):
    """A message's head does not end within HEAD_LIMIT."""


def read_head(have: bytes) -> Dialogue[bytes]:
    """A head, with the empty line that ends it. LF alone ends a line too (RFC 9112, section 2.2).

    `have` is what has come of it already. Raises HeadTooLong, or Refused at the end-of-file.
    """
    searched = 0
    while not (end := _empty_line(have, searched)) and len(have) <= HEAD_LIMIT:
        # The last two bytes may be the beginning of LF CR LF, so they are searched again.
        searched = max(0, len(have) - len(b"\n\r"))
        have = yield from receive_more(have)
    if not end or end > HEAD_LIMIT:
        raise HeadTooLong(f"a head of more than {HEAD_LIMIT} bytes")
    return have[:end], have[end:]


def read_response_head(have: bytes, otherwise: str) -> Dialogue[bytes]:
    """The head of a response. Raises as `read_head` does, and Refused(otherwise) if the peer does not speak HTTP."""
    signature, have = yield from exactly(len(SIGNATURE), have)
    if signature != SIGNATURE:
        raise Refused(otherwise)
    return (yield from read_head(signature + have))


def header_lines(head: bytes) -> list[bytes]:
    """The header's lines without their ends; one that was folded becomes one line again (RFC 9112, section 5.2)."""
    lines: list[bytes] = []
    for line in head.split(b"\n")[1:]:
        if lines and line.startswith((b" ", b"\t")):
            lines[-1] += b" " + line.strip()
        elif line := line.rstrip(b"\r"):
            lines.append(line)
    return lines


def _empty_line(data: bytes, start: int) -> int:
    """Where the first empty line after `start` ends; 0 if there is none."""
    marks = (b"\n\r\n", b"\n\n")
    return min((at + len(mark) for mark in marks if (at := data.find(mark, start)) >= 0), default=0)
