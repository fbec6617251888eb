"""One HTTP exchange on a real connection: what is awaited, what is probed, and what is taken for delivered."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conformance import Bench, join, tcp_pair, turns, unix_pair
from doubles import END, MemorySink, MemorySource, StubPeer, a_context

from pync.config import Config, Ending, Tls
from pync.endpoints import shared_stdio
from pync.endpoints.kept_stdin import KeptStdin
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost, ProtocolError, TimedOut
from pync.events import Address
from pync.loop.tasks import Condition
from pync.sessions.http_exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doubles import Clock

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n"


@pytest.fixture(autouse=True)
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let stdin be a pipe, whatever the tests were started with."""
    ends = os.pipe()
    monkeypatch.setattr(shared_stdio, "STDIN", ends[0])
    yield
    for fd in ends:
        os.close(fd)


class Rig:
    """An exchange with `far`, and the page that answers it."""

    def __init__(self, loop: Bench, ends: tuple[socket.socket, socket.socket], *page: Any) -> None:
        near, self.far = ends
        self.far.settimeout(5)
        self.client = StreamSocket(loop, near, Address(host="far", port=1))
        self.page = MemorySource(loop, *page)
        self.stdout = MemorySink(loop)
        kept = KeptStdin(loop, self.page, lambda why: None, on_disk=False)
        self.reading = loop.spawn(kept.run(), Condition())
        self.share = kept.join(self.client)
        self.exchange = Exchange(a_context(loop, mode="listen", http=True), self.client, self.stdout)

    async def run(self) -> None:
        """The whole exchange."""
        assert await self.exchange.head()
        await self.exchange.run(self.share)


@contextmanager
def exchange(loop: Bench, *page: Any, pair: Any = tcp_pair) -> Iterator[Rig]:
    rig = Rig(loop, pair(), *page)
    try:
        yield rig
    finally:
        rig.client.close()
        rig.far.close()


async def received(loop: Bench, far: socket.socket, end: bytes) -> bytes:
    """What has arrived up to `end`."""
    far.setblocking(False)
    data = b""
    while not data.endswith(end):
        try:
            data += far.recv(1 << 16)
        except BlockingIOError:
            await loop.sleep(0.001)
    return data


async def test_the_client_of_a_page_that_goes_on_is_probed(real_loop: Bench) -> None:
    with exchange(real_loop, b"begun") as rig:
        rig.far.sendall(GET)
        running = real_loop.spawn(rig.run(), Condition())
        await received(real_loop, rig.far, b"begun")
        sock = rig.client.sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
        await real_loop.cancel_and_wait(running, rig.reading)


async def test_a_unix_client_of_a_page_that_goes_on_is_found_to_have_closed(real_loop: Bench) -> None:
    with exchange(real_loop, b"begun", pair=unix_pair) as rig:
        rig.exchange.context = a_context(real_loop, mode="listen", http=True, family="unix")
        rig.far.sendall(GET)
        running = real_loop.spawn(rig.run(), Condition())
        await received(real_loop, rig.far, b"begun")
        rig.far.close()
        with pytest.raises(PeerLost):
            await join(real_loop, running)
        await real_loop.cancel_and_wait(rig.reading)


async def test_an_answer_is_not_begun_before_the_body_has_come(real_loop: Bench) -> None:
    with exchange(real_loop, b"page", END) as rig:
        rig.far.sendall(POST + b"bo")
        running = real_loop.spawn(rig.run(), Condition())
        await turns(real_loop, 30)
        assert rig.exchange.sending is None
        rig.far.sendall(b"dy")
        assert (await received(real_loop, rig.far, b"page")).startswith(b"HTTP/1.1 200 OK\r\n")
        await join(real_loop, running)
        assert rig.stdout.data == POST + b"body"
        await real_loop.cancel_and_wait(rig.reading)


async def test_a_body_that_breaks_off_is_refused_and_raised(real_loop: Bench) -> None:
    with exchange(real_loop, b"page", END) as rig:
        rig.far.sendall(POST + b"bo")
        rig.far.shutdown(socket.SHUT_WR)
        running = real_loop.spawn(rig.run(), Condition())
        assert (await received(real_loop, rig.far, b"2 bytes\n")).startswith(b"HTTP/1.1 400 ")
        with pytest.raises(ProtocolError, match="the body broke off after 2 bytes"):
            await join(real_loop, running)
        await real_loop.cancel_and_wait(rig.reading)


class Scripted(StubPeer):
    """A client that sends what its script says, and keeps what it is sent."""

    def __init__(self, loop: Loop, *script: Any) -> None:
        super().__init__(loop)
        self.source = MemorySource(loop, *script)
        self.sink = MemorySink(loop)

    async def read(self) -> bytes | None:
        return await self.source.read()

    async def write(self, data: Bytes) -> int:
        return await self.sink.write(data)


def byte_by_byte(data: bytes) -> list[Any]:
    """The script of a client that sends a byte each second."""
    return [item for byte in data for item in (bytes([byte]), 1.0)]


@pytest.mark.parametrize(("asked", "limit"), [(None, 30), (5.0, 5)])
async def test_a_head_that_comes_too_slowly_is_refused_at_the_limit(
    loop: Loop, clock: Clock, asked: float | None, limit: int
) -> None:
    client, start = Scripted(loop, *byte_by_byte(GET[:-2] + 99 * b"x")), clock.now
    config = Config(mode="listen", http=True, ending=Ending(idle_timeout=asked))
    with pytest.raises(TimedOut, match=f"^request from peer:1: no whole request came within {limit} s$"):
        await Exchange(a_context(loop, config), client, MemorySink(loop)).head()
    assert clock.now == start + limit
    assert client.sink.data.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_the_time_that_stdout_takes_is_not_the_clients(loop: Loop) -> None:
    client = Scripted(loop, *byte_by_byte(GET[:20]), GET[20:])
    assert await Exchange(a_context(loop, mode="listen", http=True), client, MemorySink(loop, *[10.0] * 9)).head()


class Broken(StreamSocket):
    """A client that breaks the connection when the answer was sent."""

    __slots__ = ("held", "unsent_bytes")
    held: int
    unsent_bytes: int

    def unsent(self) -> int:
        return self.held

    async def linger(self, limit: float | None = None) -> bool:
        raise PeerLost("connection to far", os.strerror(errno.ECONNRESET), unsent=self.unsent_bytes)


@pytest.mark.parametrize(
    ("pair", "unsent", "held", "encrypted", "is_lost"),
    [
        (tcp_pair, 0, 0, False, False),
        (tcp_pair, 5, 0, False, True),
        (tcp_pair, 0, 5, True, True),
        (tcp_pair, 0, 0, True, False),
        (unix_pair, 0, 0, False, True),
        (unix_pair, 0, 0, True, False),
    ],
    ids=["sent", "not sent", "not sent under TLS", "sent under TLS", "not read", "close_notify not read"],
)
async def test_a_client_that_breaks_off_after_the_answer_has_it_if_it_was_sent(
    real_loop: Bench, pair: Any, unsent: int, held: int, encrypted: bool, is_lost: bool
) -> None:
    with exchange(real_loop, b"page", END, pair=pair) as rig:
        client = Broken(real_loop, rig.client.sock, rig.client.address)
        client.unsent_bytes, client.held = unsent, held
        family = "unix" if pair is unix_pair else "any"
        context = a_context(real_loop, mode="listen", http=True, family=family, tls=Tls() if encrypted else None)
        rig.exchange = Exchange(context, client, rig.stdout)
        rig.far.sendall(GET)
        running = real_loop.spawn(rig.run(), Condition())
        if is_lost:
            with pytest.raises(PeerLost):
                await join(real_loop, running)
        else:
            await join(real_loop, running)
        await real_loop.cancel_and_wait(rig.reading)
