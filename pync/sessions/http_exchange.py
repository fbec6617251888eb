"""An HTTP exchange: one client's request goes to stdout, and stdin, which is the page, answers it.

Theory. Two flows: the request's body to stdout, and the page to the client. The answer begins when the whole request
has come: many clients send all of it before they read, and others take an early answer for a sign that the rest is not
wanted. There is one exception. What stdin gives meanwhile is read ahead, and when that has filled its memory, the
answer begins: a program that makes the page out of the body could else not go on.

A request ends by its own length, and so the exchange ends when the answer was sent and acknowledged, however the client
leaves then: with a reset, without a close_notify, or not at all.

An answer that cannot be sent as its head promises is an error, and must never look complete: the connection breaks.
"""

from __future__ import annotations

import os
import time

from pync.endpoints import Source, write_all
from pync.endpoints.file_source import FileSource
from pync.endpoints.half_closed import probe
from pync.endpoints.null import Null
from pync.endpoints.stdio import STDIN, is_regular
from pync.endpoints.wrappers import Chain
from pync.errors import PeerLost, ProtocolError, PyncError, TimedOut
from pync.loop.tasks import Condition
from pync.protocols.dialogue import REQUEST_LIMIT, late
from pync.protocols.http_answer import content_type, error_page
from pync.protocols.http_ranges import Page, answer_to
from pync.protocols.http_request import BadRequest, Request
from pync.relay.flow import Flow
from pync.sessions.conversation import end, flows
from pync.sessions.delivery import deliver
from pync.sessions.request_source import RequestSource
from pync.stages import feed_all
from pync.system import socket
from pync.system.files import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Sink
    from pync.endpoints.shared_stdio import Reader
    from pync.loop.tasks import Work

    Share = FileSource | Reader

PROBE = 20  # seconds without traffic after which the client of a page without an end is probed


class Exchange:
    """The request of one client, and its answer."""

    def __init__(self, context: Context, client: Peer, stdout: Sink) -> None:
        self.context = context
        self.loop = context.loop
        self.config = context.config
        self.client = client
        self.stdout = stdout
        self.request = Request()
        self.source = RequestSource(context, client, self.request)
        self.receiving = Flow(self.loop, self._delayed(self.source), stdout, (), self.config.ending.receive_limit)
        self.sending: Flow | None = None  # the answer, once it has begun
        self.sent_before = 0  # bytes that the client was sent beside the answer

    @property
    def sent(self) -> int:
        """Bytes that the client was sent so far."""
        return self.sent_before + (self.sending.moved if self.sending else 0)

    @property
    def received(self) -> int:
        """Bytes that the client has sent so far."""
        return self.source.came

    @property
    def ended_by(self) -> str:
        """We end the connection after an answer; a client that asks for nothing does it."""
        return "us" if self.sent else "peer"

    def _delayed(self, source: Source) -> Source:
        if not self.config.delay:
            return source
        from pync.endpoints.wrappers import Delayed

        return Delayed(self.loop, source, self.config.delay)

    async def head(self) -> bool:
        """Read the head of the request and show it; False if the client left and sent nothing.

        Raises ProtocolError for what is no request, and TimedOut when the whole head has not come in the time of the
        idle limit or of REQUEST_LIMIT, both after an answer that says so; PeerLost; OutputError.
        """
        limit = left = self.config.ending.idle_timeout or REQUEST_LIMIT
        try:
            while self.request.head is None:
                since = self.loop.clock()
                shown = await self.loop.within(left, self.source.read())
                left -= self.loop.clock() - since  # only the client's time counts, not that of stdout
                if shown is None:
                    return False
                await write_all(self.stdout, shown)
        except TimeoutError:
            raise await self._refused(BadRequest(late(limit), 408), TimedOut) from None
        except BadRequest as error:
            await write_all(self.stdout, self.source.show(self.source.latest, last=True))
            raise await self._refused(error) from None
        return True

    async def run(self, share: Share | None) -> None:
        """Show the rest of the request, and answer it with a client's share of stdin.

        Raises ProtocolError, PeerLost, TimedOut, InputError, OutputError.
        """
        answering = self._answer(share)
        # Most requests have no body, and need no second task.
        works = [answering if self.request.complete else self._both(self._receive(), answering)]
        if limit := self.config.ending.idle_timeout:
            from pync.relay.idle import movement, unsent, watch

            loop, flows = self.loop, self._flows
            works.append(watch(loop, "idle connection", limit, lambda: movement(*flows()), lambda: unsent(*flows())))
        try:
            await (self.loop.first(*works) if len(works) > 1 else works[0])
        except BadRequest as error:
            raise await self._refused(error) from None
        except BaseException:
            if self.sending:
                self.client.abort()  # an end-of-file could look as if nothing was missing
            raise
        await self._end()

    def _flows(self) -> list[Flow]:
        return [self.receiving, self.sending] if self.sending else [self.receiving]

    async def _both(self, *works: Work[None]) -> None:
        """Run the works until all have ended. The failure of one cancels the other, and is raised."""
        ended = Condition()
        tasks = [self.loop.spawn(work, ended) for work in works]
        try:
            while not all(task.done for task in tasks):
                await self.loop.wait(ended)
                for task in tasks:
                    if task.done:
                        task.result()
        finally:
            await self.loop.cancel_and_wait(*tasks)

    async def _refused(self, error: BadRequest, kind: type[PyncError] = ProtocolError) -> PyncError:
        """Answer that the request is a bad one, unless it is being answered already; the failure of the exchange."""
        if self.sending:
            self.client.abort()
        else:
            await self._write(error_page(error.status, str(error), time.time()))
            await self.client.linger()
        return kind(f"request from {self.client.address}", str(error))

    # -- The request

    async def _receive(self) -> None:
        """Show the body, and have a client send it that waits for that."""
        if interim := self.request.go_ahead():
            await self._write(interim)
        await self.receiving.copy()

    async def _write(self, data: bytes) -> None:
        """Send what is no part of the answer."""
        if self.context.logs:
            from pync.relay.log_files import SENT

            feed_all(self.context.logs.of(self.client).copy(SENT), data)
        await write_all(self.client, data)
        self.sent_before += len(data)

    async def _received(self) -> None:
        """Wait until the request has come."""
        while not self.receiving.ended:
            await self.loop.wait(self.receiving.progress)

    # -- The answer

    async def _answer(self, share: Share | None) -> None:
        """Answer the request, when it has come."""
        if not self.request.complete:
            await self.loop.first(self._received(), *([share.read_ahead()] if share else []))
        if share and share.length() is None:
            await self.loop.first(self._send(share), self._broken())
        else:
            await self._send(share)

    async def _broken(self) -> None:
        """Raise PeerLost when the client breaks the connection, which could else be found only by writing.

        One that has closed its socket looks like one that has half-closed, until it is probed (tcp(7)). The system of
        such a client answers with a reset a minute later at the latest.
        """
        probe(self.client.sock, PROBE)
        await self.client.wait_closed()
        raise PeerLost(f"connection to {self.client.address}", "the client closed it before the end of the answer")

    async def _send(self, share: Share | None) -> None:
        assert self.request.head is not None
        first, whole = await share.begin() if share else (b"", True)
        answer = answer_to(self.request.head, self._page(share, first, whole), time.time())
        start, page = answer.start, _part(share, first, answer.part, whole=whole)
        if whole and page and not (self.config.pace or self.config.delay):
            # A short page travels with its head: a client may leave when it has read what has come.
            start, page = start + (await page.read() or b""), None
        self.sending = flows(self.context, self.client, page or Null(), Null())[0]
        try:
            await self.sending.send(feed_all(self.sending.stages, start))
            if page:
                await self.sending.copy()
        except PeerLost as error:
            raise error.also_unsent(self.sending.unsent()) from None
        if page and page.stop is not None and (missing := page.stop - (page.position or 0)) > 0:
            why = f"stdin has become shorter, {missing} bytes of what was promised are missing"
            raise ProtocolError(f"answer to {self.client.address}", why)

    def _page(self, share: Share | None, first: bytes, whole: bool) -> Page:
        """What is known of the page that begins with `first`, which is the whole of it or not."""
        name = facts = None
        if isinstance(share, FileSource) and is_regular(STDIN):
            name, facts = name_of(STDIN), os.fstat(STDIN)
        kind = content_type(name, first)
        if self.config.crlf or self.config.telnet:  # these change the length
            return Page(content_type=kind)
        length = len(first) if whole else share.length() if share else 0
        if not whole and length is not None and length < len(first):
            length = None  # the size of a file of /proc is 0
        if not facts:
            return Page(content_type=kind, length=length)
        etag = f'"{facts.st_mtime_ns:x}-{length or 0:x}"'
        return Page(content_type=kind, length=length, etag=etag, modified=facts.st_mtime)

    # -- The end

    async def _end(self) -> None:
        """End the connection once the client has acknowledged the answer. Raises PeerLost, TimedOut."""
        ending = self.config.ending
        try:
            if ending.quit_after is None:
                await deliver(self.client, ending.idle_timeout)
            await end(self.client, lingers=True)
        except PeerLost as error:
            if error.unsent or self._is_incomplete():
                raise

    def _is_incomplete(self) -> bool:
        """Whether a client that broke the connection has not got the whole answer.

        A reset acknowledges what the client has received, but the kernel takes no account of that. So what was sent
        counts as received here. A unix socket is reset if not all was read: under TLS that may be our close_notify.
        """
        sock = self.client.sock
        if sock.family == socket.AF_UNIX:
            return self.config.tls is None
        return self.client.unsent() > 0


def _part(share: Share | None, first: bytes, part: tuple[int, int | None] | None, *, whole: bool) -> Source | None:
    """A source of a part of the page; None if nothing is sent."""
    if share is None or part is None:
        return None
    return Chain([first[slice(*part)]], None) if whole else share.rest(first, *part)
