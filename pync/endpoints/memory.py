"""Bytes that are there already, as a source: what was read ahead, or is said before another source speaks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Source


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
