"""The other side of a TLS stream, for the tests of `pync.tls`: Python's own `ssl`, on the same loop or in memory.

`FarTls` is the other end of a real connection, over any other `Far`. `Wire` is a stream in memory whose other end is an
`SSLObject`: nothing in it waits, so `at_once` runs a coroutine of a stream over it to its end. A `Handshake` is one of
two streams of pync.
"""

from __future__ import annotations

import functools
import itertools
import ssl
from typing import TYPE_CHECKING

from conformance import Far, FarSocket, bench, tcp_pair
from doubles import together

from pync.config import Tls
from pync.endpoints.streams import Stream, StreamSocket
from pync.errors import PeerLost, PyncError
from pync.events import Address, as_address
from pync.tls.context import client_context, server_context
from pync.tls.handshake import secure
from pync.tls.stream import TlsStream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any, TypeVar

    from certificates import Authority, Certificate
    from conformance import Bench

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

    T = TypeVar("T")

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
UNVERIFIED = Tls(verify=False)


def pair(near: Tls = UNVERIFIED, far: Tls = UNVERIFIED, *, server: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for us and for the other side; `server`: we are the server."""
    if server:
        return server_context(near, None)[0], client_context(far)
    return client_context(near), server_context(far, None)[0]


@functools.cache
def plain_pair(version: ssl.TLSVersion, *, server: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts that verify nothing and allow only this version."""
    contexts = pair(server=server)
    for context in contexts:
        context.maximum_version = context.minimum_version = version
    return contexts


class Engine:
    """TLS without a socket: what comes in goes to `incoming`, what is to be sent is in `outgoing`."""

    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server, server_hostname=name)
        self.ready = False

    def shake(self) -> bool:
        """Go on with the handshake. True when it is done."""
        try:
            self.tls.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass
        return self.ready

    def read(self) -> bytes | None:
        """All that can be read now; None at the end. b"" if nothing."""
        got = b""
        try:
            while data := self.tls.read(1 << 14):
                got += data
        except ssl.SSLWantReadError:
            return got
        except ssl.SSLZeroReturnError:
            pass
        return got or None

    def close_notify(self) -> None:
        """Announce the end of what we send."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass


class FarTls(Far):
    """The other side of a TLS stream, over another far side."""

    def __init__(self, loop: Loop, below: FarSocket | FarTls, context: ssl.SSLContext, *, server: bool) -> None:
        self.loop = loop
        self.below = below
        self.engine = Engine(context, server=server)
        self.truncated = False

    async def handshake(self) -> None:
        """Do the handshake, at the same time as the stream does."""
        while not self.engine.shake():
            await self._flush()
            data = await self.below.take()
            assert data, "the connection ended in the middle of the handshake"
            self.engine.incoming.write(data)
        await self._flush()

    async def _flush(self) -> None:
        if data := self.engine.outgoing.read():
            await self.below.give(data)

    async def give(self, data: bytes) -> None:
        self.engine.tls.write(data)
        await self._flush()

    async def take(self) -> bytes | None:
        while (got := self.engine.read()) == b"":
            data = await self.below.take()
            if data is None:
                self.truncated = True
                return None
            self.engine.incoming.write(data)
        return got

    async def end(self) -> None:
        """Send a close_notify, and nothing more, as soon as the socket takes it."""
        self.engine.close_notify()
        await self._flush()

    def hang_up(self) -> None:
        """Send a close_notify, and nothing more, at once: on a socket that takes it."""
        self.engine.close_notify()
        put(self.below, self.engine.outgoing.read())

    def put(self, data: bytes) -> None:
        """Send a little, at once."""
        self.engine.tls.write(data)
        put(self.below, self.engine.outgoing.read())

    def leave(self) -> None:
        self.below.leave()

    def close(self) -> None:
        self.below.close()


def put(far: FarSocket | FarTls, data: bytes) -> None:
    """Send a little, at once. Not after much: a socket that is full takes nothing."""
    if isinstance(far, FarTls):
        far.put(data)
    else:
        assert far.sock.send(data) == len(data)


class Wire(Stream):
    """A stream in memory, whose other side is an `Engine`.

    `takes` are the sizes of the pieces in which it takes what is written, `gives` of those in which it is read.
    """

    def __init__(self, engine: Engine, takes: Iterator[int] | None = None, gives: Iterator[int] | None = None) -> None:
        self.engine = engine
        self.loop: Any = None
        self.sock: Any = None
        self.address = Address(host="far", port=1)
        self.takes = takes or itertools.repeat(1 << 20)
        self.gives = gives or itertools.repeat(1 << 20)
        self.given = bytearray()  # on its way from the engine
        self.ended = False
        self.closed = False
        self.offers = 1 << 20  # bytes that one `send_nowait` takes at most

    def arrive(self) -> None:
        """Put what the other side has sent on its way to us."""
        if not self.engine.ready:
            self.engine.shake()
        self.given += self.engine.outgoing.read()

    async def read(self) -> bytes | None:
        self.arrive()
        if not self.given:
            assert self.ended, "nothing comes any more: this would wait for ever"
            return None
        size = next(self.gives)
        data = bytes(self.given[:size])
        del self.given[:size]
        return data

    async def write(self, data: Bytes) -> int:
        assert len(data), "an empty write"
        size = min(next(self.takes), len(data))
        self._deliver(bytes(data[:size]))
        return size

    def _deliver(self, data: bytes) -> None:
        self.engine.incoming.write(data)

    def send_nowait(self, data: Bytes) -> int:
        size = min(self.offers, len(data))
        self._deliver(bytes(data[:size]))
        return size

    def unacknowledged(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of what must not wait."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    work.close()
    raise AssertionError("it waits")


def wired(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, server: bool = False, **sizes: Any
) -> tuple[TlsStream, Wire]:
    """A stream under TLS, after the handshake, and the wire below it."""
    near, far = plain_pair(version, server=server)
    wire = Wire(Engine(far, server=not server), **sizes)
    stream = TlsStream(wire, near, server_side=server, server_name=None if server else "localhost")
    at_once(stream.handshake())
    assert wire.engine.shake()
    return stream, wire


def identity(certificate: Certificate, **more: Any) -> Tls:
    """Shows this certificate, and asks for none unless `more` does."""
    return Tls(**{"certificate": str(certificate.chain), "key": str(certificate.key), "verify": False, **more})


def trusting(authority: Authority, **more: Any) -> Tls:
    return Tls(trust_file=str(authority.trust), **more)


class Handshake:
    """A client and a server: what came of the handshake on each side, and what was reported."""

    def __init__(
        self,
        client: Tls,
        server: Tls | ssl.SSLContext,
        name: str | None = "localhost",
        version: ssl.TLSVersion | None = None,
    ) -> None:
        self.client_context = client_context(client)
        self.server_context = server_context(server, None)[0] if isinstance(server, Tls) else server
        if version:
            self.client_context.maximum_version = version
        self.pin, self.name = client.pin, name
        self.ours: PyncError | None = None  # how the client failed
        self.theirs: PyncError | None = None  # how the server failed
        self.first: bytes | None | PyncError = None  # what the client read first
        self.events: dict[bool, Any] = {}  # by whether it is the server's
        bench(self._main)

    async def _main(self, loop: Bench) -> None:
        near, far = tcp_pair()
        await together(
            loop,
            self._side(StreamSocket(loop, near, as_address(("127.0.0.1", 1))), server=False),
            self._side(StreamSocket(loop, far, as_address(("127.0.0.1", 2))), server=True),
        )

    async def _side(self, below: StreamSocket, *, server: bool) -> None:
        try:
            stream = await secure(
                below,
                self.server_context if server else self.client_context,
                server_side=server,
                server_name=None if server else self.name,
                pin=None if server else self.pin,
                limit=10,
                report=lambda event: self.events.__setitem__(server, event),
            )
        except PyncError as error:
            assert below.sock.fileno() < 0, "it is closed"
            if server:
                self.theirs = error
            else:
                self.ours = error
            return
        await self._talk(stream, server=server)
        stream.close()

    async def _talk(self, stream: TlsStream, *, server: bool) -> None:
        try:
            if server:
                await stream.write(b"welcome")
                await stream.send_eof()
                await stream.read()
            else:
                self.first = await stream.read()
                await stream.send_eof()
        except PeerLost as error:
            self.first = error


def why(error: object) -> str:
    assert isinstance(error, PyncError)
    return error.why
