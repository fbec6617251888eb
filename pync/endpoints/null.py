"""What stands in for stdin and stdout where data goes in one direction only.

A module of its own, because most conversations go in both.
"""

from __future__ import annotations

from pync.endpoints import Sink, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes


class Null(Source, Sink):
    """Like /dev/null, it has ended and drops what is written."""

    async def read(self) -> bytes | None:
        """The end-of-file."""
        return None

    async def write(self, data: Bytes) -> int:
        """Drop all of `data`."""
        return len(data)

    async def send_eof(self) -> None:
        """Nothing to do."""
