"""TLS over a stream: the laws of every endpoint, and what is special to it.

How contexts are made and failures are worded is in `test_tls_context.py`.
"""

from __future__ import annotations

import itertools
import ssl
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from conformance import (
    TAIL,
    Bench,
    Can,
    FarSocket,
    Kind,
    Rig,
    cases,
    check_endpoint,
    join,
    same,
    tcp_pair,
    turns,
)
from doubles import together
from harness import PAYLOAD, Running, connect, require
from hypothesis import given, settings
from hypothesis import strategies as st
from tls import VERSIONS, FarTls, Wire, at_once, plain_pair, put, wired

from pync.config import Tls
from pync.endpoints import LINGER
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost
from pync.events import as_address
from pync.loop.tasks import Condition
from pync.tls import stream as tls_stream
from pync.tls.context import client_context
from pync.tls.stream import PIECE, TlsStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from certificates import Authority, Certificate
    from conformance import Law

    from pync.loop.kernel import Loop

TLS12, TLS13 = VERSIONS
LAYERS = {
    "TLS 1.3, client": [(TLS13, False)],
    "TLS 1.3, server": [(TLS13, True)],
    "TLS 1.2, client": [(TLS12, False)],
    "TLS 1.2, server": [(TLS12, True)],
    "TLS 1.3 in TLS 1.2, client": [(TLS12, False), (TLS13, False)],
    "TLS 1.2 in TLS 1.3, server": [(TLS13, True), (TLS12, True)],
}
every_kind = pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
both_roles = pytest.mark.parametrize("server", [False, True], ids=["client", "server"])

CAN = Can.READ | Can.WAIT | Can.END | Can.TRY | Can.WRITE | Can.PUSH_BACK | Can.HALF_CLOSE | Can.CLOSE


@asynccontextmanager
async def connected(
    loop: Loop, layers: list[tuple[ssl.TLSVersion, bool]], size: int = 1 << 16
) -> AsyncIterator[tuple[TlsStream, FarTls]]:
    """A stream under these layers of TLS, and its other side."""
    near, other = tcp_pair(size=size)
    endpoint: StreamSocket | TlsStream = StreamSocket(loop, near, as_address(other.getsockname()))
    far: FarSocket | FarTls = FarSocket(loop, other)
    with closing(endpoint), closing(far):
        for version, server in layers:
            ours, theirs = plain_pair(version, server=server)
            name = None if server else "localhost"
            endpoint = TlsStream(endpoint, ours, server_side=server, server_name=name)
            far = FarTls(loop, far, theirs, server=not server)
            await together(loop, endpoint.handshake(), far.handshake())
        assert isinstance(endpoint, TlsStream) and isinstance(far, FarTls)
        yield endpoint, far


@asynccontextmanager
async def rig(layers: list[tuple[ssl.TLSVersion, bool]], loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    async with connected(loop, layers) as (endpoint, far):
        yield Rig(loop, far, endpoint, endpoint)


KINDS = [Kind(name, CAN, partial(rig, layers), PeerLost, PeerLost) for name, layers in LAYERS.items()]


@pytest.mark.parametrize(("kind", "law"), cases(KINDS))
async def test_it_keeps_the_law(real_loop: Bench, kind: Kind, law: Law, tmp_path: Path) -> None:
    await check_endpoint(real_loop, kind, law, tmp_path)


# -- Any split gives the same ------------------------------------------------------------------------------------

# Of the ciphertext's pieces: within a record's header, around the end of a record, many records at once.
SIZES = st.lists(st.sampled_from([1, 4, 5, 6, 1000, 16_405, 16_406, 16_407]), max_size=6).map(
    lambda sizes: itertools.cycle([*sizes, 1 << 20])
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "send", "look"]), st.integers(1, 70_000) | st.just(400_000)),
        st.sampled_from([("read", 0), ("send_eof", 0), ("hang_up", 0)]),
    ),
    max_size=12,
)


class Talk:
    """A conversation with the other side of a wire, step by step."""

    def __init__(self, stream: TlsStream, wire: Wire) -> None:
        self.stream = stream
        self.far = wire.engine
        self.written, self.taken = b"", b""  # by the stream, and by the other side
        self.sent, self.read = b"", b""  # by the other side, and by the stream
        self.hung_up = False

    def step(self, what: str, size: int = 0) -> None:
        if what == "write" and not self.stream.half_closed:
            count = at_once(self.stream.write(PAYLOAD(size)))
            assert 0 < count <= size
            self.written += PAYLOAD(size)[:count]
        elif what == "send" and not self.hung_up:
            self.far.tls.write(PAYLOAD(size))
            self.sent += PAYLOAD(size)
        elif what == "look" and self.read != self.sent:
            shown = at_once(self.stream.peek()) or b""
            assert at_once(self.stream.peek()) == shown, "it was left where it is"
            at_once(self.stream.skip(min(size, len(shown))))
            self.read += shown[:size]
        elif what == "read" and self.read != self.sent:
            data = at_once(self.stream.read())
            assert data, "an end-of-file before the last byte"
            self.read += data
        elif what == "send_eof":
            at_once(self.stream.send_eof())
        elif what == "hang_up":
            self.taken += self.far.read() or b""
            self.far.close_notify()
            self.hung_up = True

    def end(self) -> None:
        """Read all that is on its way, and end both directions."""
        while self.read != self.sent:
            self.step("read")
        self.step("hang_up")
        self.step("send_eof")
        self.taken += self.far.read() or b""


@settings(max_examples=60)
@given(version=st.sampled_from(VERSIONS), server=st.booleans(), takes=SIZES, gives=SIZES, steps=STEPS)
def test_any_split_gives_the_same_with_half_closes_wherever_they_come(
    version: ssl.TLSVersion, server: bool, takes: Iterator[int], gives: Iterator[int], steps: list[tuple[str, int]]
) -> None:
    stream, wire = wired(version, server=server, takes=takes, gives=gives)
    talk = Talk(stream, wire)
    for what, size in steps:
        talk.step(what, size)
    talk.end()
    assert [at_once(stream.read()), at_once(stream.peek())] == [None, None]
    stream.check_clean_end()
    same([talk.read], [talk.sent])
    same([talk.taken], [talk.written])
    assert wire.engine.read() is None, "our end-of-file has arrived"


@both_versions
@both_roles
def test_what_came_before_our_end_of_file_can_still_be_read(version: ssl.TLSVersion, server: bool) -> None:
    stream, wire = wired(version, server=server)
    talk = Talk(stream, wire)
    talk.step("send", 900_000)
    talk.step("look", 1)  # OpenSSL has all of it now, and has decrypted a part
    talk.step("send_eof")
    talk.step("send", 50_000)
    talk.end()
    same([talk.read], [talk.sent])


# -- Both ways at once -------------------------------------------------------------------------------------------


async def send(stream: TlsStream, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[await stream.write(rest) :]
    await stream.send_eof()


async def take_all(far: FarTls) -> bytes:
    return b"".join([data async for data in until_none(far.take)])


async def read_all(stream: TlsStream) -> bytes:
    return b"".join([data async for data in until_none(stream.read)])


async def until_none(read: Callable[[], Awaitable[bytes | None]]) -> AsyncIterator[bytes]:
    while (data := await read()) is not None:
        yield data


@every_kind
async def test_much_goes_both_ways_at_once_through_small_buffers(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    data = PAYLOAD(1_000_000)

    async def send_all(far: FarTls) -> None:
        await far.give(data)
        await far.end()

    async with connected(real_loop, layers, size=4096) as (stream, far):
        taken, read, *_ = await together(real_loop, take_all(far), read_all(stream), send(stream, data), send_all(far))
        same([taken, read], [data, data])


@every_kind
async def test_a_reader_does_not_wait_for_a_peer_that_does_not_read(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    async with connected(real_loop, layers) as (stream, far):
        writing = real_loop.spawn(send(stream, PAYLOAD(1 << 21)), Condition())
        await turns(real_loop, 50)
        assert not writing.done
        for _ in range(3):
            await far.give(TAIL)
            assert await stream.read() == TAIL
        await real_loop.cancel_and_wait(writing)


@every_kind
async def test_after_a_cancelled_write_the_stream_is_whole(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    data = PAYLOAD(1 << 21)
    async with connected(real_loop, layers) as (stream, far):
        writing = real_loop.spawn(send(stream, data), Condition())
        await turns(real_loop, 50)
        await real_loop.cancel_and_wait(writing)
        taken, _ = await together(real_loop, take_all(far), stream.send_eof())
        same([taken], [data[: len(taken)]])
        assert taken and not far.truncated


# -- The end -----------------------------------------------------------------------------------------------------


@every_kind
async def test_a_connection_that_ends_without_a_close_notify_was_cut_off(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    async with connected(real_loop, layers) as (stream, far):
        await far.give(TAIL)
        put(far.below, far.engine.outgoing.read() + b"\x17\x03\x03")  # and the beginning of a record
        far.below.hang_up()
        assert [await stream.read(), await stream.read(), await stream.peek()] == [TAIL, None, None]
        await stream.send_eof()
        with pytest.raises(PeerLost) as raised:
            stream.check_clean_end()
        words = f"connection to {stream.address}: truncated: it ended without a TLS close_notify"
        assert str(raised.value) == words


@every_kind
async def test_what_follows_a_close_notify_is_ignored(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    async with connected(real_loop, layers) as (stream, far):
        await far.give(TAIL)
        far.hang_up()
        put(far.below, b"not TLS at all")
        assert [await stream.read(), await stream.read(), await stream.read()] == [TAIL, None, None]
        stream.check_clean_end()
        await send(stream, PAYLOAD(100_000))
        assert await take_all(far) == PAYLOAD(100_000)


@every_kind
async def test_closing_without_a_half_close_looks_cut_off(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    async with connected(real_loop, layers) as (stream, far):
        stream.close()
        assert await far.take() is None
        assert far.truncated


@every_kind
async def test_a_shutdown_sends_a_close_notify_and_raises_if_the_peer_sent_none(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    for polite in (True, False):
        async with connected(real_loop, layers) as (stream, far):
            if polite:
                far.hang_up()
            else:
                far.below.hang_up()
            assert await stream.read() is None
            if polite:
                await stream.shutdown()
            else:
                with pytest.raises(PeerLost, match="truncated"):
                    await stream.shutdown()
            stream.close()
            assert await far.take() is None and not far.truncated


async def test_a_shutdown_does_not_wait_for_a_peer_that_takes_nothing(loop: Loop) -> None:
    async with connected(loop, LAYERS["TLS 1.3, client"]) as (stream, _):
        await fill(stream)
        assert stream.unacknowledged() > stream.below.unacknowledged() > 0, "a part of the last write waits above"
        assert 0 < stream.taken <= PIECE
        start = loop.clock()
        await stream.shutdown()
        assert loop.clock() - start == pytest.approx(LINGER)


async def fill(stream: TlsStream) -> None:
    """Write until the stream takes no more."""
    with pytest.raises(TimeoutError):
        await stream.loop.within(0.1, send(stream, PAYLOAD(1 << 22)))


@every_kind
async def test_lingering_half_closes_both_streams_and_waits_for_the_peer(
    real_loop: Bench, layers: list[tuple[ssl.TLSVersion, bool]]
) -> None:
    async with connected(real_loop, layers) as (stream, far):
        await stream.write(TAIL)
        lingering = real_loop.spawn(stream.linger(None), Condition())
        await far.give(PAYLOAD(100_000))  # which stays unread
        assert await far.take() == TAIL
        assert await far.take() is None and not far.truncated
        assert await join(real_loop, lingering) is True


async def test_lingering_has_a_limit_even_while_the_peer_takes_nothing(loop: Loop) -> None:
    async with connected(loop, LAYERS["TLS 1.3, client"]) as (stream, _):
        await fill(stream)
        start = loop.clock()
        assert await stream.linger(1.5) is False
        assert loop.clock() - start == pytest.approx(1.5)


async def test_what_is_sent_at_once_is_encrypted(real_loop: Bench) -> None:
    async with connected(real_loop, LAYERS["TLS 1.3, client"]) as (stream, far):
        assert stream.send_nowait(TAIL) == len(TAIL)
        assert await far.take() == TAIL
        await stream.send_eof()
        assert stream.send_nowait(TAIL) == 0


async def test_an_aborted_connection_is_reset(real_loop: Bench) -> None:
    async with connected(real_loop, LAYERS["TLS 1.3, client"]) as (stream, far):
        assert stream.raw() is None and stream.unread() == 0
        closed = real_loop.spawn(stream.wait_closed(), Condition())
        await turns(real_loop, 10)
        await real_loop.cancel_and_wait(closed)
        stream.abort()
        with pytest.raises(ConnectionResetError):
            await far.take()


@every_kind
async def test_a_half_close_of_a_reset_connection_leaves_the_error_to_the_next_read(
    real_loop: Bench,
    layers: list[tuple[ssl.TLSVersion, bool]],
) -> None:
    async with connected(real_loop, layers) as (stream, far):
        far.leave()
        await real_loop.readable(stream.sock.fileno())
        await stream.send_eof()
        with pytest.raises(PeerLost, match="Connection reset by peer"):
            await stream.read()
        await stream.send_eof()


# -- What breaks a record ----------------------------------------------------------------------------------------


@both_versions
@both_roles
def test_a_changed_record_is_an_error_after_what_came_before(version: ssl.TLSVersion, server: bool) -> None:
    stream, wire = wired(version, server=server)
    wire.engine.tls.write(TAIL)
    wire.arrive()
    wire.engine.tls.write(b"changed on its way")
    wire.arrive()
    wire.given[-1] ^= 1
    assert at_once(stream.read()) == TAIL
    for _ in range(2):
        with pytest.raises(PeerLost, match=r"^connection to far:1: a record was changed on its way$"):
            at_once(stream.read())
    with pytest.raises(ssl.SSLError, match="(?i)bad.record.mac"):
        wire.engine.read()


@both_versions
def test_what_is_no_record_is_an_error(version: ssl.TLSVersion) -> None:
    stream, wire = wired(version)
    wire.given += b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(PeerLost, match="what the peer sends is not TLS"):
        at_once(stream.read())
    with pytest.raises(PeerLost, match="^connection to far:1: "):
        at_once(stream.write(TAIL))


def test_an_answer_that_is_not_taken_goes_before_the_next_write_and_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, wire = wired(takes=itertools.cycle([3]))
    alert = b"an alert that reading has produced"
    sent: list[bytes] = []
    monkeypatch.setattr(wire, "_deliver", sent.append)
    wire.offers = 5
    stream._outgoing.write(alert)
    wire.engine.tls.write(TAIL)
    assert at_once(stream.read()) == TAIL
    assert sent == [alert[:5]], "a reader does not wait"
    stream._outgoing.write(alert)
    wire.engine.tls.write(TAIL)
    assert at_once(stream.read()) == TAIL
    assert sent == [alert[:5]], "nothing comes in between"
    at_once(stream.write(TAIL))
    assert b"".join(sent).startswith(2 * alert + b"\x17\x03\x03")


# -- Peers that ask for more -------------------------------------------------------------------------------------


@contextmanager
def s_server(certificate: Certificate, *options: str) -> Iterator[Running]:
    """OpenSSL's server; a line of one letter on its stdin is a command."""
    openssl = [require("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", str(certificate.both), "-msg"]
    with Running([*openssl, *options]) as process:
        process.read_until(b"ACCEPT 127.0.0.1:")
        process.port = int(process.read_until(b"\n"))
        yield process


@asynccontextmanager
async def client_of(loop: Loop, port: int) -> AsyncIterator[TlsStream]:
    sock = connect(port)
    with closing(StreamSocket(loop, sock, as_address(sock.getpeername()))) as below:
        stream = TlsStream(below, client_context(Tls(verify=False)), server_side=False)
        await stream.handshake()
        yield stream


async def test_keys_are_changed_while_data_goes_both_ways(real_loop: Bench, authority: Authority) -> None:
    with s_server(authority.server, "-tls1_3") as server:
        async with client_of(real_loop, server.port) as stream:
            for turn in range(3):
                server.send(b"K\n")  # OpenSSL's command: change the keys of both directions
                server.read_until(b">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
                server.send(b"sent %d\n" % turn)
                assert await stream.read() == b"sent %d\n" % turn
                await stream.write(b"written %d\n" % turn)
                log = server.read_until(b"written %d\n" % turn)
                assert b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate" in log


async def test_a_renegotiation_is_refused(real_loop: Bench, authority: Authority) -> None:
    with s_server(authority.server, "-tls1_2") as server:
        async with client_of(real_loop, server.port) as stream:
            server.send(b"r\n")
            await real_loop.readable(stream.sock.fileno())
            reading = real_loop.spawn(stream.read(), Condition())
            await turns(real_loop, 10)
            server.read_until(b"<<< TLS 1.2, Alert [length 0002], warning no_renegotiation")
            await real_loop.cancel_and_wait(reading)


def test_a_peer_that_asks_again_and_again_and_takes_no_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls_stream, "ANSWERS_LIMIT", 50)
    stream, wire = wired()
    wire.offers = 0
    wire.engine.tls.write(TAIL)
    stream._outgoing.write(bytes(60))
    assert at_once(stream.read()) == TAIL, "one answer is on its way"
    stream._outgoing.write(bytes(60))
    with pytest.raises(PeerLost, match="it takes none of the answers that it asks for"):
        at_once(stream.read())
