"""Sources that wrap another source: bytes in front of it, a recording, a wait for clients, pacing, a delay.

A wrapper that waits (pacing, a delay) slows down its own direction only.
"""

from __future__ import annotations

from pync.endpoints import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Condition

MEMORY = 1 << 16  # bytes of a source's beginning that are recorded
CHUNK_OVERHEAD = 64  # bytes that each recorded chunk counts beside its own, so that empty ones are bounded, too


class Chain(Source):
    """The chunks, one after the other, and then the rest of another source (None: nothing more)."""

    def __init__(self, chunks: list[bytes], rest: Source | None) -> None:
        self.chunks = chunks[::-1]
        self.rest = rest

    async def read(self) -> bytes | None:
        """The next chunk; then what the other source gives."""
        if self.chunks:
            return self.chunks.pop()
        return await self.rest.read() if self.rest else None

    def unread(self) -> int:
        """Bytes known to be left."""
        return sum(map(len, self.chunks)) + (self.rest.unread() if self.rest else 0)


class Replayable(Source):
    """A source whose beginning is recorded, so that it can be read again."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.recorded: list[bytes] = []
        self.room = MEMORY

    async def read(self) -> bytes | None:
        """What the source gives."""
        return self._record(await self.source.read())

    def read_nowait(self) -> bytes | None:
        """What the source gives at once."""
        return self._record(self.source.read_nowait())

    def _record(self, data: bytes | None) -> bytes | None:
        if data is not None and self.room >= 0:
            self.recorded.append(data)
            self.room -= len(data) + CHUNK_OVERHEAD
            if self.room < 0:
                self.recorded.clear()
        return data

    def replay(self) -> Replayable | None:
        """All of it from the start; None if there was too much to record."""
        return Replayable(Chain(self.recorded, self.source)) if self.room >= 0 else None

    def unread(self) -> int:
        """Bytes known to be left."""
        return self.source.unread()


class Attended(Source):
    """A source that is read only while a client is there to receive it."""

    def __init__(self, loop: Loop, source: Source, clients: Collection[object], joined: Condition) -> None:
        """`joined` is notified when `clients` gets a new member."""
        self.loop = loop
        self.source = source
        self.clients = clients
        self.joined = joined

    async def read(self) -> bytes | None:
        """What the source gives, once there is a client for it: all may have left while it was read."""
        await self._attended()
        data = await self.source.read()
        if data is not None:
            await self._attended()
        return data

    async def _attended(self) -> None:
        while not self.clients:
            await self.loop.wait(self.joined)


class Paced(Source):
    """One line at a time, with a pause of `seconds` between one and the next."""

    def __init__(self, loop: Loop, source: Source, seconds: float) -> None:
        self.loop = loop
        self.source = source
        self.seconds = seconds
        self.lines: list[bytes] = []  # read already; the next one is the last
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
        """Bytes known to be left: the lines that wait for their turn, and what the source knows of."""
        return sum(map(len, self.lines)) + self.source.unread()


class Delayed(Source):
    """Everything, `seconds` after it was read."""

    def __init__(self, loop: Loop, source: Source, seconds: float) -> None:
        self.loop = loop
        self.source = source
        self.seconds = seconds
        self.held: bytes | None = None  # read already, and waiting for its moment

    async def read(self) -> bytes | None:
        """What the source gives, later; its end comes at once. The next read has what a cancelled one held."""
        if self.held is None:
            self.held = await self.source.read()
        if self.held is not None:
            await self.loop.sleep(self.seconds)
        data, self.held = self.held, None
        return data

    def unread(self) -> int:
        """Bytes known to be left: what is held back, and what the source knows of."""
        return len(self.held or b"") + self.source.unread()
