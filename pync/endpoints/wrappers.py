"""Sources that wrap another source: to put bytes before it, replay it, wait for clients, pace lines, or delay data.

A wrapper that waits (for a client, a pause or a delay) slows down its own direction only.
"""

from __future__ import annotations

from pync.endpoints import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Condition

MEMORY = 1 << 16  # bytes of a source's beginning that are recorded, at most
CHUNK_OVERHEAD = (
    64  # bytes added for each recorded chunk in the count, so that the number of empty ones is bounded, too
)


class Chain(Source):
    """Some chunks, one after the other, and then what another source gives (None: nothing more)."""

    def __init__(self, chunks: list[bytes], rest: Source | None) -> None:
        self.chunks = chunks[::-1]
        self.rest = rest

    async def read(self) -> bytes | None:
        """The next chunk, or what the other source gives; None at the end-of-file."""
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
        """A source that gives everything again from the start; None if there was too much to record."""
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
        """What the source gives, once there is a client for it (all may have left during the read)."""
        await self._attended()
        data = await self.source.read()
        if data is not None:
            await self._attended()
        return data

    async def _attended(self) -> None:
        while not self.clients:
            await self.loop.wait(self.joined)


class Paced(Source):
    """Gives one line at a time, with a pause of `seconds` between one line and the next (`-i`)."""

    def __init__(self, loop: Loop, source: Source, seconds: float) -> None:
        self.loop = loop
        self.source = source
        self.seconds = seconds
        self.lines: list[bytes] = []  # lines that were read already, in reverse order
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
        """Bytes known to be left: the lines that wait for their turn, and those of the source."""
        return sum(map(len, self.lines)) + self.source.unread()


class PacedAfter(Paced):
    """Gives one line at a time, with a pause after each: after the last one, too, before the end."""

    def __init__(self, loop: Loop, source: Source, seconds: float, *, around: bool) -> None:
        """`around`: there is a pause before anything is read."""
        super().__init__(loop, source, seconds)
        self.begun = around

    async def read(self) -> bytes | None:
        """The next line, after the pause; None at the end."""
        if self.begun:
            await self.loop.sleep(self.seconds)
            self.begun = False
        return await super().read()


class Delayed(Source):
    """Gives each chunk `seconds` after it was read."""

    def __init__(self, loop: Loop, source: Source, seconds: float) -> None:
        self.loop = loop
        self.source = source
        self.seconds = seconds
        self.held: bytes | None = None  # a chunk that was read and waits for its moment

    async def read(self) -> bytes | None:
        """What the source gives, later. Its end comes at once. After a cancelled read the next one gives its chunk."""
        if self.held is None:
            self.held = await self.source.read()
        if self.held is not None:
            await self.loop.sleep(self.seconds)
        data, self.held = self.held, None
        return data

    def unread(self) -> int:
        """Bytes known to be left: the chunk that is held back, and those of the source."""
        return len(self.held or b"") + self.source.unread()
