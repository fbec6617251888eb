"""Bytes that are there already, as a source: read ahead, said before another source speaks, or to be said again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Source

MEMORY = 1 << 16  # bytes of a source's beginning that are remembered


class Chain:
    """The chunks, one after the other, and then the rest of another source (None: nothing more)."""

    def __init__(self, chunks: list[bytes], rest: Source | None) -> None:
        self.chunks = chunks[::-1]
        self.rest = rest

    async def read(self) -> bytes | None:
        """The next chunk; then what the other source gives."""
        if self.chunks:
            return self.chunks.pop()
        return await self.rest.read() if self.rest else None

    def raw(self) -> int | None:
        """The other source's descriptor, once the chunks are gone."""
        return self.rest.raw() if self.rest and not self.chunks else None

    def unread(self) -> int:
        """Bytes known to be left."""
        return sum(map(len, self.chunks)) + getattr(self.rest, "unread", int)()


class Remembered:
    """A source of which the beginning can be read again."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.said: list[bytes] = []
        self.room = MEMORY

    async def read(self) -> bytes | None:
        """What the source gives."""
        data = await self.source.read()
        if data is not None and self.room >= 0:
            self.said.append(data)
            self.room -= len(data)
        return data

    def again(self) -> Remembered | None:
        """All of it from the start; None if that was too much to remember."""
        return Remembered(Chain(self.said, self.source)) if self.room >= 0 else None

    def raw(self) -> int | None:
        """None: it must see the bytes."""
        return None

    def unread(self) -> int:
        """Bytes known to be left."""
        return int(getattr(self.source, "unread", int)())
