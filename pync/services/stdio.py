"""A conversation with each of many clients, who share stdin and stdout (`endpoints/shared.py`)."""

from __future__ import annotations

from pync.endpoints.shared_stdio import Reader, SharedStdin, SharedStdout
from pync.endpoints.stdio import Discard
from pync.endpoints.streams import Stream, StreamSocket
from pync.errors import PeerLost
from pync.services.server import Service
from pync.sessions.conversation import Local, converse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard

    from pync.context import Run
    from pync.endpoints import Sink, Source
    from pync.sessions.conversation import Far


class Conversations(Service):
    """A share of stdin and stdout for each client."""

    def __init__(self, work: Run, local: Local) -> None:
        super().__init__(work)
        self.terminal = local.terminal
        self.stdin = SharedStdin(work.loop, local.stdin) if local.stdin else None
        stdout = local.stdout if work.config.receive else Discard()
        self.stdout = SharedStdout(work.loop, stdout, lines=not work.config.datagram)

    async def run(self) -> None:
        """Read stdin for all. Raises InputError."""
        if self.stdin:
            await self.stdin.run()
        await super().run()

    async def session(self, far: Far) -> None:
        """Converse with one client. Raises PeerLost, TimedOut, InputError, OutputError."""
        source = self.stdin.join(_stream(far)) if self.stdin else None
        stdout = self.stdout.join()
        try:
            if self._quiet(source, far):  # until one of the two says something, a client needs no more than this
                await self.loop.readable(far.sock.fileno(), signal=source.arrived if source else None)
            await self.converse(far, source, source, stdout)
        finally:
            far.close()
            self.left(source)
            await stdout.send_eof()

    def _quiet(self, source: Source | None, far: Far) -> TypeGuard[Reader | None]:
        """Whether nothing is to be said to a new client yet, nor its silence to be watched."""
        if not isinstance(far, StreamSocket) or self.config.ending.idle_timeout:
            return False
        return source is None or (isinstance(source, Reader) and not source.over())

    def left(self, source: Source | None) -> None:
        """A client has gone that had this share of stdin."""
        if self.stdin:
            self.stdin.leave(source)

    async def converse(self, far: Far, said: Source | None, source: Source | None, stdout: Sink) -> None:
        """Say `said` to the client; `source` is its share of stdin, for the sake of which it may be cut off."""
        talk = converse(self.work, far, Local(said, stdout, terminal=self.terminal), client=False)
        if isinstance(source, Reader):
            await self.loop.first(talk, self._cut_off(far, source))
        else:
            await talk

    async def _cut_off(self, far: Far, reader: Reader) -> None:
        """Raises PeerLost when the client stops the others who share stdin with it."""
        await self.loop.wait(reader.given_up)
        raise PeerLost(f"connection to {far.peer}", "cut off: it takes nothing, and others wait", unsent=reader.size)


def _stream(far: Far) -> Stream | None:
    return far if isinstance(far, Stream) else None
