"""The size of a window within what is typed into it (`--window-size`): put in by `escaped` and `message`, and taken out
by `WindowSizes`.

Theory: the form is that of TELNET's NAWS (RFC 1073), IAC SB NAWS WIDTH WIDTH HEIGHT HEIGHT IAC SE, with each data byte
255 doubled (RFC 854). IAC is the byte 255, which UTF-8 never has, so what a keyboard sends passes at once. A sequence
of the terminal's own (`ESC [ 8 ; rows ; columns t`) would be ambiguous: ESC is a key, and vi is waiting for it. It
would have to be held back until the next byte shows that it is a key, and a stage has no clock to hold it for a while.

A message may be cut at any byte, so its beginning is kept until the rest has come: that is 12 bytes at most. What only
resembles one passes unchanged, but for a doubled 255, and so does a size of zero, which is none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Resize = Callable[[int, int], None]

IAC, SB, SE, NAWS = b"\xff", b"\xfa", b"\xf0", b"\x1f"
BEGIN, END = IAC + SB + NAWS, IAC + SE


def escaped(data: bytes) -> bytes:
    """What is typed, in which no byte can be taken for the beginning of a message."""
    return data.replace(IAC, IAC + IAC)


def message(rows: int, columns: int) -> bytes:
    """The message that a window has this size, 1 to 65535 characters in each direction."""
    return BEGIN + escaped(columns.to_bytes(2) + rows.to_bytes(2)) + END


class WindowSizes:
    """The receiving direction: each size is taken out of the data and passed to a function, as rows and columns."""

    def __init__(self, resize: Resize) -> None:
        self._resize = resize
        self._held = b""  # the beginning of what may become a message, or a doubled byte

    def feed(self, data: bytes) -> bytes:
        """The data without the sizes, with one byte 255 for two."""
        return self._plain(self._held + data, ended=False)

    def flush(self) -> bytes:
        """A message that broke off, as data."""
        return self._plain(self._held, ended=True)

    def _plain(self, data: bytes, *, ended: bool) -> bytes:
        plain, start, self._held = bytearray(), 0, b""
        while (at := data.find(IAC, start)) >= 0:
            plain += data[start:at]
            end = _end_of_message(data, at)
            if end is None and not ended:
                self._held = data[at:]
                return bytes(plain)
            if end:
                self._obey(data[at + len(BEGIN) : end - len(END)])
                start = end
            else:
                plain += IAC
                start = at + (2 if data[at + 1 : at + 2] == IAC else 1)
        return bytes(plain + data[start:])

    def _obey(self, parameters: bytes) -> None:
        size = parameters.replace(IAC + IAC, IAC)
        columns, rows = int.from_bytes(size[:2]), int.from_bytes(size[2:])
        if rows and columns:
            self._resize(rows, columns)


def _end_of_message(data: bytes, at: int) -> int | None:
    """Where the message ends that begins at `at`; 0 if none begins there, and None if the rest must show that."""
    head = data[at : at + len(BEGIN)]
    if not BEGIN.startswith(head):
        return 0
    at += len(BEGIN)
    for _ in range(4):
        if data[at : at + 1] == IAC:
            at += 1
            if data[at : at + 1] not in (IAC, b""):
                return 0
        at += 1
    if len(data) >= at + len(END):
        return at + len(END) if data[at : at + len(END)] == END else 0
    return None if END.startswith(data[at:]) else 0
