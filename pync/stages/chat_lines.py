"""The lines of a chat (`--chat`): what one client sends, made safe for the others' terminals and marked with its name.

Theory: every line that comes out begins with the prefix, and this stage alone makes the line ends in its output. So no
client can forge a line of another one. CR LF ends a line as LF does. Text is UTF-8. Bytes that are not UTF-8, and
letters that would command a terminal or change the order of what it shows, are written as octal escapes, byte by byte:
`\\033`. A line is held until its end has come. One that is longer than LINE_LIMIT is cut, and each piece is a line.

Must never pass a control character on, and must never change a text that has none.
"""

from __future__ import annotations

from pync.printable import printable

LINE_LIMIT = 64 * 1024  # bytes

# C0 without TAB, DEL and C1; line and paragraph separators; the embeddings, overrides and isolates of the bidirectional
# algorithm (UAX #9); the surrogates that "surrogateescape" makes of bytes that are not UTF-8.
_HARMFUL = [
    *(code for code in range(0x20) if code != 0x09),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xDC80, 0xDD00),
]
_OCTAL = {
    letter: "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))
    for letter in map(chr, _HARMFUL)
}


def printable_line(text: str) -> str:
    """The same text on one line, in which nothing but TAB does anything to a terminal."""
    # TAB is not printable but harmless. Without this check, each line with a TAB would be looked at letter by letter.
    if text.replace("\t", "").isprintable():
        return text
    return printable(text, _OCTAL.__getitem__, harmful=_OCTAL)


class ChatLines:
    """Whole lines, each with the prefix, clean."""

    __slots__ = ("_prefix", "_unfinished")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._unfinished = b""  # the beginning of a line whose end has not come

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete now."""
        text = self._unfinished + data
        if b"\n" not in data and len(text) <= LINE_LIMIT:
            self._unfinished = text
            return b""
        *lines, rest = text.replace(b"\r\n", b"\n").split(b"\n")
        if any(len(line) > LINE_LIMIT for line in lines):
            lines = [piece for line in lines for piece in _pieces(line, LINE_LIMIT)]
        # One byte more than the limit may stay, because it may be the CR of a CR LF.
        *cut, self._unfinished = _pieces(rest, LINE_LIMIT + 1)
        return self._marked([*lines, *cut])

    def flush(self) -> bytes:
        """The last line, if its end never came."""
        rest, self._unfinished = self._unfinished, b""
        return self._marked(_pieces(rest, LINE_LIMIT)) if rest else b""

    def _marked(self, lines: list[bytes]) -> bytes:
        """The lines, clean, each with the prefix and an end."""
        if not lines:
            return b""
        texts = b"\n".join(lines).decode("utf-8", "surrogateescape").split("\n")
        return "".join([f"{self._prefix}{printable_line(text)}\n" for text in texts]).encode()


def _pieces(line: bytes, most: int) -> list[bytes]:
    """The line cut into pieces of LINE_LIMIT bytes, until the last has at most `most`; never within a character."""
    pieces = []
    while len(line) > most:
        end = LINE_LIMIT
        # A byte of the form 10xxxxxx continues a character of UTF-8, which has at most three of them (RFC 3629).
        while end > LINE_LIMIT - 3 and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]
