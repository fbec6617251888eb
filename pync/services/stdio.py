"""A conversation with each of many clients, who share stdin and stdout (`endpoints/shared.py`)."""

from __future__ import annotations

from pync.endpoints.shared_stdio import Reader, SharedStdin, SharedStdout
from pync.endpoints.stdio import Discard
from pync.endpoints.streams import Stream, StreamSocket
from pync.errors import PeerLost
from pync.services.server import Service
from pync.sessions.conversation import Stdio, converse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard

    from pync.context import Context
    from pync.endpoints import Sink, Source
    from pync.sessions.conversation import Peer


class StdioService(Service):
    """A share of stdin and stdout for each client."""

    def __init__(self, context: Context, local: Stdio) -> None:
        super().__init__(context)
        self.terminal = local.terminal
        self.stdin = SharedStdin(context.loop, local.stdin) if local.stdin else None
        stdout = local.stdout if context.config.receive else Discard()
        self.stdout = SharedStdout(context.loop, stdout, lines=not context.config.datagram)

    async def run(self) -> None:
        """Read stdin for all. Raises InputError."""
        if self.stdin:
            await self.stdin.run()
        await super().run()

    async def session(self, far: Peer) -> None:
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

    def _quiet(self, source: Source | None, far: Peer) -> TypeGuard[Reader | None]:
        """Whether nothing is to be said to a new client yet, nor its silence to be watched."""
        if not isinstance(far, StreamSocket) or self.config.ending.idle_timeout:
            return False
        return source is None or (isinstance(source, Reader) and not source.over())

    def left(self, source: Source | None) -> None:
        """A client has gone that had this share of stdin."""
        if self.stdin:
            self.stdin.leave(source)

    async def converse(self, far: Peer, said: Source | None, source: Source | None, stdout: Sink) -> None:
        """Say `said` to the client; `source` is its share of stdin, for the sake of which it may be cut off."""
        talk = converse(self.context, far, Stdio(said, stdout, terminal=self.terminal), client=False)
        if isinstance(source, Reader):
            await self.loop.first(talk, self._cut_off(far, source))
        else:
            await talk

    async def _cut_off(self, far: Peer, reader: Reader) -> None:
        """Raises PeerLost when the client stops the others who share stdin with it."""
        await self.loop.wait(reader.given_up)
        raise PeerLost(f"connection to {far.address}", "cut off: it takes nothing, and others wait", unsent=reader.size)


def _stream(far: Peer) -> Stream | None:
    return far if isinstance(far, Stream) else None
