"""Being a proxy: each client asks for a target, and is bridged to it.

Theory: the client and the proxy first hold a dialogue (`protocols/http_proxy.py`, `protocols/socks_server.py`). It has
a deadline, as has the connection that is then made. A tunnel is a bridge like any other, as fast as the kernel copies.
The answer to a plain HTTP request passes through here, because its head is rewritten.

A proxy must not become an open relay by accident: `is_open` recognises one, and the face has a proxy listen on loopback
unless another address was asked for. Nor must it lead other machines to what trusts this one: see `net/targets.py`.
"""

from __future__ import annotations

import errno
import os

from pync.connections.outgoing import open_connection, prepare
from pync.connections.permitted import NotPermitted, open_permitted
from pync.connections.proxy_client import hold
from pync.endpoints import Source, write_all
from pync.errors import AddressError, ConnectError, PeerLost, ProtocolError, ProxyError, TimedOut, TlsError
from pync.listener_events import Denied
from pync.protocols import http_proxy, socks_server
from pync.protocols.dialogue import REQUEST_LIMIT, Refused, Unidentified, late
from pync.protocols.http_auth import Nonces
from pync.protocols.http_request import PIECE, BadRequest, ChunkedBody
from pync.services import Service
from pync.services.forward import bridge, outgoing_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.errors import PyncError
    from pync.events import Address
    from pync.net.access import Rules
    from pync.protocols.dialogue import ConnectRequest, Dialogue, FailureKind

CONNECT_LIMIT = 30.0  # seconds that a connection to a target may take, unless the user has set another limit
TARGET_FAILURES = (AddressError, ConnectError, PeerLost, ProxyError, TimedOut, TlsError)
FAILURE_KINDS: dict[str, FailureKind] = {
    os.strerror(errno.ECONNREFUSED): "refused",
    os.strerror(errno.ENETUNREACH): "no network",
    os.strerror(errno.EHOSTUNREACH): "no host",
}


def is_open(config: Config, address: Address) -> bool:
    """Whether any host can use a proxy that listens on this address."""
    restricted = config.access.allow or config.access.allow_files or config.tls and config.tls.verify
    known = config.serve_proxy is not None and config.serve_proxy.user is not None
    return not (restricted or known or is_of_this_machine(address))


def is_of_this_machine(address: Address) -> bool:
    """Whether only this machine can connect to an address on which we listen: a loopback one, or a unix path."""
    return address.host.startswith("127.") or address.host == "::1" or address.port is None


class ProxyService(Service):
    """For each client a connection to the target that it asks for."""

    descriptors = 1

    def __init__(self, context: Context, targets: Rules) -> None:
        """`targets` decides which targets the clients get; a next proxy decides by itself."""
        super().__init__(context)
        self.targets = targets
        served = context.config.serve_proxy
        assert served is not None
        self.login = None if served.user is None else (served.user, served.password)
        self.protocol = http_proxy if served.kind == "http" else socks_server
        self.nonces = Nonces(os.urandom(32))
        limit = context.config.connect_timeout or CONNECT_LIMIT
        self.outgoing_context = context.derive(outgoing_config(context.config, tls=None, connect_timeout=limit))
        prepare(self.outgoing_context)

    async def session(self, client: Peer) -> int | None:
        """Serve one client. Raises ProtocolError, PeerLost, TimedOut, what `open_connection` and `bridge` raise."""
        try:
            asked = await self._asked(client)
            target = await self._reach(client, asked) if asked else None
            if asked and target:
                await self._relay(client, target, asked)
        finally:
            client.close()
        return None

    async def _relay(self, client: Peer, target: Peer, asked: ConnectRequest) -> None:
        try:
            await write_all(client, self.protocol.success_reply(asked))
            await write_all(target, asked.head)
        except BaseException:
            target.close()
            raise
        if asked.head:
            await bridge(self.context, client, target, RequestBody(client, asked.size), Answer(target), asked.head)
        else:
            await bridge(self.context, client, target)

    async def _asked(self, client: Peer) -> ConnectRequest | None:
        """What the client asks for; None if it was answered, or has to come again with a user and a password."""
        limit = self.config.ending.idle_timeout or REQUEST_LIMIT
        try:
            asked = await self.loop.within(limit, hold(client, self._dialogue()))
        except Refused as error:
            await _turn_away(client)
            if isinstance(error, Unidentified) and self.config.keep_open:
                self.context.report(Denied(peer=client.address, why=str(error)))
                return None
            raise ProtocolError(f"proxy request from {client.address}", str(error)) from None
        except TimeoutError:
            await _turn_away(client, self.protocol.late_reply(late(limit)))
            raise TimedOut(f"proxy request from {client.address}", late(limit)) from None
        if asked is None:
            await _turn_away(client)
        return asked

    def _dialogue(self) -> Dialogue[ConnectRequest | None]:
        if self.protocol is http_proxy:
            return http_proxy.serve(self.login, self.nonces, self.loop.clock())
        return socks_server.serve(self.login)

    async def _reach(self, client: Peer, asked: ConnectRequest) -> Peer | None:
        """The connection that is asked for; None if the client has left before it is made."""
        config = self.outgoing_context.config.but(host=asked.host, ports=(asked.port,))
        context = self.outgoing_context.derive(config)
        if config.proxy:
            opening = open_connection(context, asked.port)
        else:
            opening = open_permitted(context, asked.port, self.targets)
        try:
            target: Peer | None = await self.loop.first(opening, client.wait_closed())
        except TARGET_FAILURES as error:
            await _turn_away(client, self.protocol.failure_reply(_failure_kind(error), error.why))
            raise
        return target


async def _turn_away(client: Peer, answer: bytes = b"") -> None:
    """Send the client a last answer. A failure is ignored: the caller reports why the client was turned away."""
    try:
        await write_all(client, answer)
        await client.linger()
    except PeerLost:
        pass


def _failure_kind(error: PyncError) -> FailureKind:
    match error:
        case NotPermitted():
            return "forbidden"
        case TimedOut():
            return "timed out"
        case AddressError():
            return "no host"
    return FAILURE_KINDS.get(error.why, "failed")


class RequestBody(Source):
    """The body of a plain HTTP request. What the client sends after it is dropped."""

    def __init__(self, client: Peer, size: int | None) -> None:
        """`size` is in bytes; None for a body in chunks."""
        self.client = client
        self.left = size or 0
        self.chunks = ChunkedBody() if size is None else None
        self.received = memoryview(b"")  # what has come and was not parsed yet

    async def read(self) -> bytes | None:
        """The rest of the body; None when the client has ended. Raises PeerLost, ProtocolError."""
        while data := await (self._piece() if self.chunks else self.client.read()):
            if part := self._part(data):
                return part
        return None

    async def _piece(self) -> bytes | None:
        """What is to be parsed next; None when the client has ended."""
        if self.received:
            await self.client.loop.sleep(0)  # parsing gives the other clients their turn
        else:
            self.received = memoryview(await self.client.read() or b"")
        piece, self.received = bytes(self.received[:PIECE]), self.received[PIECE:]
        return piece or None

    def _part(self, data: bytes) -> bytes:
        """What of `data` belongs to the body."""
        if self.chunks:
            try:
                return self.chunks.feed(data)
            except BadRequest as error:
                raise ProtocolError(f"proxy request from {self.client.address}", str(error)) from None
        part = data[: self.left]
        self.left -= len(part)
        return part


class Answer(Source):
    """The target's answer to a plain HTTP request, with the head that the client shall see."""

    def __init__(self, target: Peer) -> None:
        self.target = target
        self.begun = False  # the final head has come; some 1xx heads may come before it
        self.refused = False

    async def read(self) -> bytes | None:
        """The head, rewritten, and then the body. Raises PeerLost."""
        if self.refused:
            return None
        if self.begun:
            return await self.target.read()
        try:
            head, self.begun = await hold(self.target, http_proxy.answer())
        except Refused as error:
            self.refused = True
            return http_proxy.failure_reply("failed", str(error))
        return head
