"""Being a proxy: each client says where it wants to be connected to, and is bridged to that.

Theory: what the client and we say to each other first is a dialogue (`protocols/http_proxy.py`, `socks_server.py`), and
has a deadline, as has the connection that is then made. A tunnel is a bridge like any other, as fast as the kernel
copies. Of a plain HTTP request the head of the answer has to pass through our hands, so its body does, too.

Must not become an open relay by accident: `is_open` tells, and the face has it listen on loopback unless told
otherwise.
"""

from __future__ import annotations

import errno
import os
import time

from pync.connections.outgoing import prepare, reach
from pync.connections.talk import talk
from pync.endpoints import Half, write_all
from pync.errors import AddressError, ConnectError, PeerLost, ProtocolError, ProxyError, TimedOut, TlsError
from pync.protocols import http_proxy, socks_server
from pync.protocols.dialogue import Refused
from pync.services.forward import bridge
from pync.services.server import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.context import Context
    from pync.endpoints.streams import Stream
    from pync.errors import PyncError
    from pync.events import Address
    from pync.protocols.dialogue import Asked, Dialogue, Trouble
    from pync.sessions.conversation import Peer

PATIENCE = 30.0  # seconds for a client to say what it wants, and for the connection that it wants
UNREACHED = (AddressError, ConnectError, PeerLost, ProxyError, TimedOut, TlsError)
TROUBLES: dict[str, Trouble] = {
    os.strerror(errno.ECONNREFUSED): "refused",
    os.strerror(errno.ENETUNREACH): "no network",
    os.strerror(errno.EHOSTUNREACH): "no host",
}


def is_open(config: Config, address: Address) -> bool:
    """Whether everybody can use a proxy that listens on this address."""
    restricted = config.access.allow or config.access.allow_files or config.tls and config.tls.verify
    known = config.serve_proxy is not None and config.serve_proxy.user is not None
    here = address.host.startswith("127.") or address.host == "::1" or address.port is None
    return not (restricted or known or here)


class ProxyService(Service):
    """A connection for each client, to where it asks."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        asked = context.config.serve_proxy
        assert asked is not None
        self.login = None if asked.user is None else (asked.user, asked.password)
        self.protocol = http_proxy if asked.kind == "http" else socks_server
        self.secret = os.urandom(32)
        self.onward = context.towards(
            context.config.but(
                mode="connect",
                family=context.config.family if context.config.family in ("ipv4", "ipv6") else "any",
                source_host=None,
                source_port=None,
                tls=None,
                connect_timeout=context.config.connect_timeout or PATIENCE,
            )
        )
        prepare(self.onward)
        self.protocol.failed("failed", "")  # imports what answers need
        if self.login:  # and this is what judging one needs
            import base64  # noqa: F401
            import hmac  # noqa: F401

    async def session(self, far: Peer) -> None:
        """Serve one client. Raises ProtocolError, what `reach` raises, PeerLost, TimedOut."""
        asked = await self._asked(far)  # type: ignore[arg-type]
        near = await self._reach(far, asked)  # type: ignore[arg-type]
        if near is None:
            return
        try:
            await write_all(far, self.protocol.granted(asked))
            await write_all(near, asked.head)
        except BaseException:
            near.close()
            raise
        question = None if asked.size is None else Question(far, asked.size)  # type: ignore[arg-type]
        await bridge(self.context, far, near, question, Answer(near) if asked.head else None)  # type: ignore[arg-type]

    async def _asked(self, far: Stream) -> Asked:
        limit = self.config.ending.idle_timeout or PATIENCE
        try:
            return await self.loop.within(limit, talk(far, self._dialogue()))
        except Refused as error:
            await _turn_away(far)
            raise ProtocolError(f"proxy request from {far.address}", str(error)) from None
        except TimeoutError:
            raise TimedOut(f"proxy request from {far.address}", f"nothing came for {limit:g} s") from None

    def _dialogue(self) -> Dialogue[Asked]:
        if self.protocol is http_proxy:
            return http_proxy.serve(self.login, self.secret, time.time())
        return socks_server.serve(self.login)

    async def _reach(self, far: Stream, asked: Asked) -> Stream | None:
        """The connection that is asked for; None if the client is gone before it stands."""
        config = self.onward.config.but(host=asked.host, ports=(asked.port,))
        try:
            near: Stream | None = await self.loop.first(
                reach(self.onward.towards(config), asked.port), far.wait_closed()
            )
        except UNREACHED as error:
            await _turn_away(far, self.protocol.failed(_trouble(error), error.why))
            raise
        return near


async def _turn_away(far: Stream, words: bytes = b"") -> None:
    """The last words to a client. One that does not hear them out is no news beside what they are about."""
    try:
        await write_all(far, words)
        await far.linger()
    except PeerLost:
        pass


def _trouble(error: PyncError) -> Trouble:
    match error:
        case TimedOut():
            return "timed out"
        case AddressError():
            return "no host"
    return TROUBLES.get(error.why, "failed")


class Question(Half):
    """The body of a plain HTTP request. What the client says after it is dropped."""

    def __init__(self, far: Stream, size: int) -> None:
        self.far = far
        self.left = size

    async def read(self) -> bytes | None:
        """The rest of the body; None when the client has ended. Raises PeerLost."""
        while (data := await self.far.read()) is not None:
            if data := data[: self.left]:
                self.left -= len(data)
                return data
        return None


class Answer(Half):
    """What the target answers to a plain HTTP request, with the head that the client is to see."""

    def __init__(self, near: Stream) -> None:
        self.near = near
        self.begun = False  # the last head has come: there may be some 1xx before it
        self.refused = False

    async def read(self) -> bytes | None:
        """The head, rewritten, and then the body. Raises PeerLost."""
        if self.refused:
            return None
        if self.begun:
            return await self.near.read()
        try:
            head, self.begun = await talk(self.near, http_proxy.answer())
        except Refused as error:
            self.refused = True
            return http_proxy.failed("failed", str(error))
        return head
