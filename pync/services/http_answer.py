"""Answering HTTP requests with stdin: `pync -l --http 8080 < page.html`.

Theory: a browser opens connections that it may never use. So a listener for one client gives its one answer to the
first client whose request it has read. If that client's connection breaks before it has the whole answer, the next
request gets the answer. But an upload that broke off has left a part on stdout, and a long page that comes by a pipe
cannot be sent again: then the failure of the one client is that of the run.
"""

from __future__ import annotations

from pync.endpoints.kept_stdin import KeptStdin
from pync.errors import ProtocolError, PyncError
from pync.listener_events import StdinNotKept
from pync.relay.flow import Session
from pync.services.shared_stdio import SharedStdioService
from pync.sessions.http_exchange import Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer, Source
    from pync.endpoints.shared_stdio import SharedStdin


class HttpService(SharedStdioService):
    """An HTTP answer for each client, or without `keep_open` for one."""

    ready_at_once = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.answering: Peer | None = None  # the client that gets the one answer

    def share(self, source: Source) -> SharedStdin:
        """A terminal is for the clients of the moment. Anything else that cannot be read again is kept for all."""
        if self.stdio.terminal:
            return super().share(source)
        return KeptStdin(self.loop, source, self._not_kept, on_disk=self.config.keep_open)

    def _not_kept(self, why: str) -> None:
        if self.config.keep_open:
            self.context.report(StdinNotKept(why=why))

    async def ready(self, client: Peer) -> bool:
        """Answer the client's request; False if there is none to answer. Raises as `Exchange` does."""
        stdout = self.stdout.join()
        exchange = Exchange(self.context, client, stdout)
        share = None
        try:
            with Session(self.context, client.address, exchange):
                if not await exchange.head() or self.answering:
                    return False
                if not self.config.keep_open:
                    self.answering = client
                share = self.stdin.join(client) if self.stdin else None
                await (share.attend(exchange.run(share), exchange) if share else exchange.run(None))
                return True
        except PyncError as error:
            self.used_up = self.used_up or self._is_used_up(exchange, error)
            raise
        finally:
            await self.leave(client, share, stdout)
            if self.answering is client:
                self.answering = None

    def _is_used_up(self, exchange: Exchange, error: PyncError) -> bool:
        """Whether this exchange, which has failed, leaves nothing to a later client of a listener for one."""
        if self.config.keep_open or self.answering not in (None, exchange.client) or not exchange.request.head:
            return False
        broken = isinstance(error, ProtocolError) or not exchange.request.complete
        return broken or (isinstance(self.stdin, KeptStdin) and self.stdin.streaming)

    async def session(self, client: Peer) -> int | None:
        """Nothing: a client that is ready has its answer."""
        return None
