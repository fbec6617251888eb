"""Lines of a chat: what one person types, made fit for another's terminal, and marked with who said it.

Theory: every line that comes out begins with the prefix, and the only line ends in the output are those made here.
So nobody can forge a line of somebody else's. CR LF ends a line as LF does. Text is UTF-8; what is not, and what would
command a terminal or change the order of what it shows, is written as octal escapes, byte by byte: `\\033`. A line is
held until its end has come; one that is too long to be held is cut, and each piece is a line of its own.

Must never pass a control character on, nor harm a text that has none.
"""

from __future__ import annotations

LONGEST = 1 << 16  # bytes of a line

# What is escaped: C0 but TAB, DEL and C1; what UTF-8 cannot be (which "surrogateescape" makes DC80 to DCFF of);
# line and paragraph separators; embeddings, overrides and isolates of the bidirectional algorithm (UAX #9).
_HARMFUL = [
    *(code for code in range(0x20) if code != 0x09),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xDC80, 0xDD00),
]
_ESCAPES = {
    code: "".join(f"\\{byte:03o}" for byte in chr(code).encode("utf-8", "surrogateescape")) for code in _HARMFUL
}


def clean(text: str) -> str:
    """The same text on one line, in which nothing but TAB does anything to a terminal."""
    return text if text.replace("\t", "").isprintable() else text.translate(_ESCAPES)


class Lines:
    """Whole lines, each with the prefix, clean."""

    __slots__ = ("_prefix", "_rest")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._rest = b""  # of a line whose end has not come

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete now."""
        text = self._rest + data
        if b"\n" not in data and len(text) <= LONGEST:
            self._rest = text
            return b""
        *lines, rest = text.replace(b"\r\n", b"\n").split(b"\n")
        if any(len(line) > LONGEST for line in lines):
            lines = [piece for line in lines for piece in _pieces(line, LONGEST)]
        *cut, self._rest = _pieces(rest, LONGEST + 1)  # one more: it may be the CR of a CR LF
        return self._said([*lines, *cut])

    def flush(self) -> bytes:
        """The last line, if it was not ended."""
        rest, self._rest = self._rest, b""
        return self._said(_pieces(rest, LONGEST)) if rest else b""

    def _said(self, lines: list[bytes]) -> bytes:
        if not lines:
            return b""
        texts = b"\n".join(lines).decode("utf-8", "surrogateescape").split("\n")
        return "".join([f"{self._prefix}{clean(text)}\n" for text in texts]).encode()


def _pieces(line: bytes, most: int) -> list[bytes]:
    """The line cut until what is left has at most so many bytes; a character is never cut in two."""
    pieces = []
    while len(line) > most:
        end = LONGEST
        while end > LONGEST - 3 and line[end] & 0xC0 == 0x80:  # a byte within a character of UTF-8 (RFC 3629)
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]
