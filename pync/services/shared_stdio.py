"""Conversations with many clients, which share stdin and stdout. A listener for one client does not import this."""

from __future__ import annotations

from pync.endpoints import LINGER
from pync.endpoints.shared_stdio import SharedStdin, SharedStdout
from pync.endpoints.stdio import Stdio
from pync.endpoints.streams import SHORTEST_LOOK
from pync.events import SessionEnded
from pync.listener_events import StdinOver
from pync.loop.tasks import Condition
from pync.services.stdio import StdioService
from pync.sessions.conversation import converse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink, Source
    from pync.endpoints.file_source import FileSource
    from pync.endpoints.shared_stdio import Reader


class SharedStdioService(StdioService):
    """A share of stdin and stdout for each client."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        source = self.stdio.source
        self.stdin = self.share(source) if source else None
        self.stdout = SharedStdout(context.loop, self.stdio.sink, lines=not context.config.datagram)

    def share(self, source: Source) -> SharedStdin:
        """Our stdin, shared."""
        return SharedStdin(self.loop, source, self.room_for_clients())

    async def run(self) -> None:
        """Read stdin for all clients, and end with stdout's reader if nothing is left to do then.

        Raises InputError; OutputClosed when no process reads stdout, and no client is still to receive something.
        """
        if self.stdin:
            await self.stdin.run()
        if self.stdio.watched and not self.config.http and (self.stdin is None or self.stdin.start is None):
            from pync.relay.unread import output_closed, reader_left

            await reader_left(self.loop)
            await self._delivered()
            raise output_closed()
        await self.loop.wait(Condition())

    async def _delivered(self) -> None:
        """Wait until the clients have acknowledged all of stdin, or nothing more of it for LINGER seconds."""
        left, until = self._undelivered(), self.loop.clock() + LINGER
        while left and self.loop.clock() < until:
            await self.loop.sleep(SHORTEST_LOOK)
            before, left = left, self._undelivered()
            if left < before:
                until = self.loop.clock() + LINGER

    def _undelivered(self) -> int:
        readers = self.stdin.readers if self.stdin else ()
        return sum(reader.size + reader.peer.unacknowledged() for reader in readers)

    async def session(self, client: Peer) -> int | None:
        """Converse with one client. Raises PeerLost, TimedOut, InputError, OutputError."""
        share = self.stdin.join(client) if self.stdin else None
        stdout = self.stdout.join(share.client_ended) if share else self.stdout.join()
        since = self.loop.clock() if self.context.wants(SessionEnded) else None
        try:
            if share and self.stdin and self.stdin.is_over():
                self.context.report(StdinOver(peer=client.address))
            if self._is_silent(client, share):
                # Until there is something to relay, a client needs no more than this wait: a server has thousands.
                await self.loop.readable(client.sock.fileno(), condition=share.arrived if share else None)
            stdio = Stdio(share, stdout, terminal=self.stdio.terminal)
            stdio.since = since
            conversation = converse(self.context, client, stdio)
            # A client that stops the others which read the same stdin is cut off.
            await (share.attend(conversation, stdio) if share else conversation)
        finally:
            await self.leave(client, share, stdout)
        return None

    async def leave(self, client: Peer, share: FileSource | Reader | None, stdout: Sink) -> None:
        """Close the client, and give back its shares of stdin and stdout. Raises OutputError."""
        client.close()
        if share:
            share.leave()
        await stdout.send_eof()

    def _is_silent(self, client: Peer, share: FileSource | Reader | None) -> bool:
        """Whether nothing is there yet for a new client, whose silence needs no watching."""
        watched = client.raw() is None or self.config.ending.idle_timeout
        return not watched and (share is None or share.is_silent())
