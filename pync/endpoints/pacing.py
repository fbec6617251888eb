"""Halves that wait: pacing by lines, and a delay before each read is passed on.

They wrap a source and slow down only that one: the other direction does not notice.
"""

from __future__ import annotations

from pync.endpoints import Half

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Source
    from pync.loop.kernel import Loop


class Paced(Half):
    """One line at a time, with so many seconds between one and the next."""

    def __init__(self, loop: Loop, source: Source, seconds: float) -> None:
        self.loop = loop
        self.source = source
        self.seconds = seconds
        self.lines: list[bytes] = []  # read already, the next one last
        self.begun = False

    async def read(self) -> bytes | None:
        """The next line, after the pause; None at the end."""
        if not self.lines:
            data = await self.source.read()
            if not data:
                return data
            *whole, rest = data.split(b"\n")
            self.lines = [part for part in (rest, *(line + b"\n" for line in reversed(whole))) if part]
        if self.begun:
            await self.loop.sleep(self.seconds)
        line = self.lines.pop()
        self.begun = line.endswith(b"\n")  # the rest of a line follows its beginning without a pause
        return line

    def unread(self) -> int:
        """Bytes known to be left: lines whose turn has not come, and what the source knows of."""
        return sum(map(len, self.lines)) + self.source.unread()


class Delayed(Half):
    """Everything so many seconds after it was read."""

    def __init__(self, loop: Loop, source: Source, seconds: float) -> None:
        self.loop = loop
        self.source = source
        self.seconds = seconds
        self.held: bytes | None = None  # read already, but its moment has not come

    async def read(self) -> bytes | None:
        """What the source gives, later; its end comes at once. What a cancelled read held is the next one's."""
        if self.held is None:
            self.held = await self.source.read()
        if self.held is not None:
            await self.loop.sleep(self.seconds)
        data, self.held = self.held, None
        return data

    def unread(self) -> int:
        """Bytes known to be left: what is held back, and what the source knows of."""
        return len(self.held or b"") + self.source.unread()
