"""A readable copy of what passes, for a log file, in the format of nc.traditional's `-o`.

    > 00000000 66 72 6f 6d 20 63 6c 69 65 6e 74 0a             # from client.

That is: a mark for the direction (`>` sent, `<` received), the offset of the line's first byte in that direction,
sixteen cells of hexadecimal, and from column 59 the same bytes in ASCII.

It has the shape of a stage, but its output is text about the bytes: it goes to the log beside the flow, never on to
the peer. And a split shows, because it is meant to: each read or write begins a new line. Only the offset runs on.
"""

from __future__ import annotations

_WIDTH = 16
_ASCII = bytes(byte if 32 <= byte <= 126 else ord(".") for byte in range(256))


class HexDump:
    """The log lines of one direction."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._offset = 0

    def feed(self, data: bytes) -> bytes:
        """The lines for one read or write; none if it is empty."""
        lines = [self._line(data[at : at + _WIDTH], self._offset + at) for at in range(0, len(data), _WIDTH)]
        self._offset += len(data)
        return "".join(lines).encode()

    def flush(self) -> bytes:
        """Nothing: every line is complete."""
        return b""

    def _line(self, part: bytes, offset: int) -> str:
        # From 4 GiB on the offset is wider than its column: better than one that starts at 0 again.
        return f"{self._mark} {offset:08x} {part.hex(' '):<{3 * _WIDTH}}# {part.translate(_ASCII).decode()}\n"
