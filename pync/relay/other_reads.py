"""How reads are counted and repeated where a `Behaviour` asks for that, and what else the conversations of a run share.

A module of its own, because the modes and services ask `Run` whether they go on.
"""

from __future__ import annotations

from pync.endpoints import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop


class Run:
    """What all conversations of a run share."""

    def __init__(self, loop: Loop) -> None:
        self.reads = 0  # those of all peers that have left
        self.first: bytes | None = None  # stdin's first read, if it is to be repeated
        self.over = False  # `quit_after` has ended the run, and not a conversation alone


class FirstRead(Source):
    """stdin's first read and nothing after it, for each conversation of the run."""

    def __init__(self, run: Run, source: Source, size: int | None) -> None:
        self.run = run
        self.source = source
        self.size = size
        self.given = False

    async def read(self) -> bytes | None:
        """The first read; None after it, or if there is none. Raises InputError."""
        if self.given:
            return None
        if self.run.first is None:
            self.run.first = (await self.source.read() or b"")[: self.size]
        self.given = True
        return self.run.first or None


class Reads(Source):
    """The peer as one that counts reads sees it: at most `size` bytes of a stream at a time, no empty datagram."""

    def __init__(self, source: Source, size: int | None) -> None:
        self.source = source
        self.size = size
        self.rest = b""

    async def read(self) -> bytes | None:
        """The next bytes; None at the end."""
        data: bytes | None = self.rest
        while data == b"":
            data = await self.source.read()
        if data is None:
            return None
        size = self.size or len(data)
        self.rest = data[size:]
        return data[:size]
