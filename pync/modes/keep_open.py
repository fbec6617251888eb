"""Serving any number of clients at once, each in a session of its own.

Theory: a session that breaks is reported and ends alone; what concerns all of them (stdout, stdin, a log) ends the
server. Clients are accepted in batches. An HTTP server without `keep_open` is here too: a browser opens connections
that it may never use, so who gets the one answer is decided when a request is read, not when a client comes.
"""

from __future__ import annotations

from pync.endpoints.mailroom import Mailroom
from pync.endpoints.shared import Reader, SharedStdin, SharedStdout
from pync.endpoints.stdio import Discard
from pync.errors import PeerLost, ProgramError, ProtocolError, TimedOut
from pync.events import Denied, SessionFailed
from pync.modes.clients import accept, let_in
from pync.modes.program import serve
from pync.modes.session import Local, converse
from pync.tasks import Signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import TypeGuard

    from pync.endpoints import Sink, Source
    from pync.endpoints.mailroom import Peer
    from pync.events import Address
    from pync.modes.run import Run
    from pync.modes.session import Far
    from pync.net.access import Rules

BATCH = 64  # clients accepted before the others have their turn
ITS_OWN = (PeerLost, TimedOut, ProgramError, ProtocolError)  # failures that end one session


class Server:
    """The sessions of one listener."""

    def __init__(self, work: Run, sockets: list[socket.socket], allowed: Rules, local: Local) -> None:
        self.work = work
        self.loop = work.loop
        self.config = work.config
        self.sockets = sockets
        self.allowed = allowed
        self.terminal = local.terminal
        self.stdin = SharedStdin(work.loop, local.stdin) if local.stdin else None
        stdout = local.stdout if work.config.receive else Discard()
        self.stdout = SharedStdout(work.loop, stdout, lines=not work.config.datagram)
        self.sessions = 0
        self.chosen: Far | None = None  # who gets the one HTTP answer
        self.over = Signal()

    async def run(self) -> None:
        """Serve for ever; without `keep_open`, until one HTTP request was answered."""
        if self.config.datagram:
            mailroom = Mailroom(self.loop, self.work.report, self._welcome)
            works = [mailroom.receive(sock) for sock in self.sockets]
        else:
            works = [self._accept(sock) for sock in self.sockets]
        if self.stdin:
            works.append(self.stdin.run())
        for work in works:
            self.loop.spawn(work)
        await self.loop.wait(self.over)

    async def _accept(self, sock: socket.socket) -> None:
        while True:
            await self.loop.readable(sock.fileno())
            for _ in range(BATCH):
                client = await accept(self.work, sock)
                if client is None:
                    break
                if self._refused(client.peer):
                    client.close()
                else:
                    self.loop.spawn(self._session(client))

    def _welcome(self, peer: Peer) -> bool:
        if self._refused(peer.peer):
            return False
        self.loop.spawn(self._session(peer))
        return True

    def _refused(self, peer: Address) -> bool:
        limit = self.config.max_conns
        if limit is not None and self.sessions >= limit:
            self.work.report(Denied(peer=peer, why=f"connection limit reached ({limit})"))
            return True
        if not let_in(self.work, self.allowed, peer):
            return True
        self.sessions += 1
        return False

    async def _session(self, far: Far) -> None:
        source = self.stdin.join() if self.stdin and not self.config.http else None
        stdout = self.stdout.join()
        try:
            if self._quiet(source):  # until one of the two says something, a client needs no more than this
                await self.loop.readable(far.sock.fileno(), signal=source.arrived if source else None)
            if self.config.program:
                await serve(self.work, far, self.config.program)
            elif self.config.http:
                await self._answer(far, stdout)
            else:
                await self._converse(far, source, source, stdout)
        except ITS_OWN as error:
            self.work.report(SessionFailed(peer=far.peer, error=error))
        finally:
            far.close()
            self._left(source)
            await stdout.send_eof()
            self.sessions -= 1
            if self.chosen is far:
                self.chosen = None

    def _quiet(self, source: Source | None) -> TypeGuard[Reader | None]:
        """Whether nothing is to be said to a new client yet, nor its silence to be watched."""
        if self.config.program or self.config.datagram or self.config.ending.idle_timeout:
            return False
        return source is None or (isinstance(source, Reader) and not source.over())

    def _left(self, source: Source | None) -> None:
        if self.stdin:
            self.stdin.leave(source)

    async def _answer(self, far: Far, stdout: Sink) -> None:
        """Answer one HTTP request."""
        from pync.modes.http import read_request, response

        source: Source | None = None
        try:
            head = await read_request(far, stdout, self.config.ending.idle_timeout)  # type: ignore[arg-type]
            if head is None or self.chosen:
                return
            if not self.config.keep_open:
                self.chosen = far
            source = self.stdin.join() if self.stdin else None
            await self._converse(far, await response(head, source), source, stdout)
            if not self.config.keep_open:
                self.over.fire()
        finally:
            self._left(source)

    async def _converse(self, far: Far, said: Source | None, source: Source | None, stdout: Sink) -> None:
        talk = converse(self.work, far, Local(said, stdout, terminal=self.terminal), client=False)
        if isinstance(source, Reader):
            await self.loop.first(talk, self._cut_off(far, source))
        else:
            await talk

    async def _cut_off(self, far: Far, reader: Reader) -> None:
        """Raises PeerLost when the client stops the others who share stdin with it."""
        await self.loop.wait(reader.given_up)
        raise PeerLost(f"connection to {far.peer}", "cut off: it takes nothing, and others wait", unsent=reader.size)
