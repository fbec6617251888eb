"""Bytes that are there already, as a source: read ahead, said before another source speaks, or to be said again."""

from __future__ import annotations

from pync.endpoints import Half

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.endpoints import Source

MEMORY = 1 << 16  # bytes of a source's beginning that are remembered, with 64 more for each chunk


class Chain(Half):
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


class Replayable(Half):
    """A source of which the beginning can be read again."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.said: list[bytes] = []
        self.room = MEMORY

    async def read(self) -> bytes | None:
        """What the source gives."""
        return self._keep(await self.source.read())

    def more(self) -> bytes | None:
        """What the source gives at once."""
        more: Callable[[], bytes | None] | None = getattr(self.source, "more", None)
        return self._keep(more()) if more else None

    def _keep(self, data: bytes | None) -> bytes | None:
        if data is not None and self.room >= 0:
            self.said.append(data)
            self.room -= len(data) + 64  # an empty one takes room as well
            if self.room < 0:
                self.said.clear()
        return data

    def replay(self) -> Replayable | None:
        """All of it from the start; None if that was too much to remember."""
        return Replayable(Chain(self.said, self.source)) if self.room >= 0 else None

    def unread(self) -> int:
        """Bytes known to be left."""
        return self.source.unread()
