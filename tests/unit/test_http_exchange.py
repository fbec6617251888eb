"""One HTTP exchange on a real connection: what is awaited, what is probed, and what is taken for delivered."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conformance import Bench, join, tcp_pair, turns, unix_pair
from doubles import END, MemorySink, MemorySource, a_context

from pync.endpoints import shared_stdio
from pync.endpoints.kept_stdin import KeptStdin
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost, ProtocolError
from pync.events import Address
from pync.loop.tasks import Condition
from pync.sessions import http_end
from pync.sessions.http_end import check_nothing_is_lost
from pync.sessions.http_exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.mark.parametrize(("unsent", "is_lost"), [(0, False), (5, True)])
async def test_a_reset_loses_what_has_not_left(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch, unsent: int, is_lost: bool
) -> None:
    monkeypatch.setattr(http_end, "_not_sent", lambda sock: unsent)
    with exchange(real_loop, END) as rig:
        if is_lost:
            with pytest.raises(PeerLost, match="5 bytes were not sent"):
                check_nothing_is_lost(rig.client, encrypted=False)
        else:
            check_nothing_is_lost(rig.client, encrypted=False)
        await real_loop.cancel_and_wait(rig.reading)


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_unix_client_that_has_not_read_all_is_an_error_unless_that_may_be_our_close_notify(
    real_loop: Bench, encrypted: bool
) -> None:
    with exchange(real_loop, END, pair=unix_pair) as rig:
        if encrypted:
            check_nothing_is_lost(rig.client, encrypted=True)
        else:
            with pytest.raises(PeerLost, match=os.strerror(errno.ECONNRESET)):
                check_nothing_is_lost(rig.client, encrypted=False)
        await real_loop.cancel_and_wait(rig.reading)
