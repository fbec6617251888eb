"""The lines of a chat (`--chat`): what one client sends, made safe for the others' terminals and marked with its name.

Theory: every line that comes out begins with the prefix, and this stage alone makes the line ends in its output. So no
client can forge a line of another one. CR LF ends a line as LF does. Text is UTF-8. Bytes that are not UTF-8, and
letters that command a terminal, change the order of what it shows, or are invisible, are written as octal escapes, byte
by byte: `\\033`. A line is held until its end has come. A longer one than the limit is cut, and each piece is a line.

The joiners U+200C and U+200D are invisible, but Persian and many scripts of India are not written without them, and
many emoji consist of several with joiners between. So a joiner is passed on where it stands between two visible
characters that are not ASCII, and nowhere else.

Must never pass a control character on, and must never change a text that has no such letters.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sized

LINE_LIMIT = 64 * 1024  # bytes
LINES_LIMIT = 1 << 24  # bytes of unfinished lines of all clients together: with many of them, lines are cut earlier

# C0 without TAB, DEL and C1; marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX #9); line
# and paragraph separators; what is invisible (soft hyphens, spaces without width, operators, annotations, tags); the
# surrogates that "surrogateescape" makes of bytes that are not UTF-8.
_HARMFUL = [
    *(code for code in range(0x20) if code != 0x09),
    *(*range(0x7F, 0xA0), 0xAD, 0x061C, 0x180E),
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *(0xFEFF, *range(0xFFF9, 0xFFFC)),
    *range(0xDC80, 0xDD00),
    *range(0xE0000, 0xE0080),
]
_OCTAL = {code: "".join(f"\\{byte:03o}" for byte in chr(code).encode("utf-8", "surrogateescape")) for code in _HARMFUL}
_JOINERS = {"\u200c", "\u200d"}


def printable_line(text: str) -> str:
    """The same text on one line, in which nothing but TAB does anything to a terminal."""
    # TAB is not printable but harmless. Without this check, each line with a TAB would be looked at letter by letter.
    if text.replace("\t", "").isprintable():
        return text
    if _JOINERS.isdisjoint(text):
        return text.translate(_OCTAL)
    return "".join([letter if _joins(text, at) else letter.translate(_OCTAL) for at, letter in enumerate(text)])


def _joins(text: str, at: int) -> bool:
    """Whether the letter at this place is a joiner between two visible characters that are not ASCII."""
    if text[at] not in _JOINERS or not 0 < at < len(text) - 1:
        return False
    return all(letter > "\x7f" and letter.isprintable() for letter in (text[at - 1], text[at + 1]))


class ChatLines:
    """Whole lines, each with the prefix, clean."""

    __slots__ = ("_clients", "_prefix", "_unfinished")

    def __init__(self, prefix: str, clients: Sized = ()) -> None:
        """`clients` are all those whose unfinished lines are held at the same time."""
        self._clients = clients
        self._prefix = prefix
        self._unfinished = b""  # the beginning of a line whose end has not come

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete now."""
        text, limit = self._unfinished + data, self._limit()
        if b"\n" not in data and len(text) <= limit:
            self._unfinished = text
            return b""
        *lines, rest = text.replace(b"\r\n", b"\n").split(b"\n")
        if any(len(line) > limit for line in lines):
            lines = [piece for line in lines for piece in _pieces(line, limit, limit)]
        # One byte more than the limit may stay, because it may be the CR of a CR LF.
        *cut, self._unfinished = _pieces(rest, limit + 1, limit)
        return self._marked([*lines, *cut])

    def flush(self) -> bytes:
        """The last line, if its end never came."""
        rest, self._unfinished = self._unfinished, b""
        limit = self._limit()
        return self._marked(_pieces(rest, limit, limit)) if rest else b""

    def _limit(self) -> int:
        return min(LINE_LIMIT, LINES_LIMIT // max(1, len(self._clients)))

    def _marked(self, lines: list[bytes]) -> bytes:
        """The lines, clean, each with the prefix and an end."""
        if not lines:
            return b""
        texts = b"\n".join(lines).decode("utf-8", "surrogateescape").split("\n")
        return "".join([f"{self._prefix}{printable_line(text)}\n" for text in texts]).encode()


def _pieces(line: bytes, most: int, limit: int) -> list[bytes]:
    """The line cut into pieces of `limit` bytes, until the last has at most `most`; never within a character."""
    pieces = []
    while len(line) > most:
        end = limit
        # A byte of the form 10xxxxxx continues a character of UTF-8, which has at most three of them (RFC 3629).
        while end > limit - 3 and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]
