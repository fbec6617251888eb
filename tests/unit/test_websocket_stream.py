"""WebSocket over a stream: the laws of every endpoint, and what is special to it."""

from __future__ import annotations

import socket
import ssl
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from conformance import TAIL, Bench, Can, FarSocket, Kind, Rig, cases, check_endpoint, join, same, tcp_pair, turns
from doubles import StubPeer, play, together
from harness import PAYLOAD
from hypothesis import given
from hypothesis import strategies as st
from tls import FarTls, plain_pair
from websocket_far import FarWebSocket
from websocket_frames import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame
from websocket_frames import closing as closing_frame
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from pync.connections.websocket_stream import ANSWERS_LIMIT, CLOSE_LIMIT, TURN, WebSocketStream
from pync.endpoints import write_all
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost, Truncated
from pync.events import as_address
from pync.loop.tasks import Condition
from pync.tls.stream import TlsStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conformance import Law

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

CAN = Can.READ | Can.WAIT | Can.END | Can.TRY | Can.WRITE | Can.PUSH_BACK | Can.HALF_CLOSE | Can.CLOSE
ROLES = {  # each with whether it lies over TLS, and whether we are the server
    "WebSocket, client": (False, False),
    "WebSocket, server": (False, True),
    "WebSocket in TLS, client": (True, False),
    "WebSocket in TLS, server": (True, True),
}
every_kind = pytest.mark.parametrize(("tls", "server"), ROLES.values(), ids=ROLES.keys())


@asynccontextmanager
async def connected(loop: Loop, tls: bool, server: bool) -> AsyncIterator[tuple[WebSocketStream, FarWebSocket]]:
    """A stream, and its other side."""
    near, other = tcp_pair()
    below: StreamSocket | TlsStream = StreamSocket(loop, near, as_address(other.getsockname()))
    far: FarSocket | FarTls = FarSocket(loop, other)
    with closing(below), closing(far):
        if tls:
            ours, theirs = plain_pair(ssl.TLSVersion.TLSv1_3, server=server)
            name = None if server else "localhost"
            below = TlsStream(below, ours, server_side=server, server_name=name)
            far = FarTls(loop, far, theirs, server=not server)
            await together(loop, below.handshake(), far.handshake())
        yield WebSocketStream(below, server_side=server, text=False), FarWebSocket(loop, far, server=not server)


@asynccontextmanager
async def rig(tls: bool, server: bool, loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    async with connected(loop, tls, server) as (stream, far):
        yield Rig(loop, far, stream, stream)


KINDS = [Kind(name, CAN, partial(rig, *role), PeerLost, PeerLost) for name, role in ROLES.items()]


@pytest.mark.parametrize(("kind", "law"), cases(KINDS))
async def test_it_keeps_the_law(real_loop: Bench, kind: Kind, law: Law, tmp_path: Path) -> None:
    await check_endpoint(real_loop, kind, law, tmp_path)


# -- The end -----------------------------------------------------------------------------------------------------


@every_kind
async def test_a_connection_that_ends_without_a_close_was_cut_off(real_loop: Bench, tls: bool, server: bool) -> None:
    async with connected(real_loop, tls, server) as (stream, far):
        await far.give(TAIL)
        far.put(FIN | PING)
        far.below.hang_up()
        assert [await stream.read(), await stream.read(), await stream.peek()] == [TAIL, None, None]
        with pytest.raises(Truncated) as raised:
            stream.check_clean_end()
        words = f"connection to {stream.address}: truncated: it ended without a Close of WebSocket"
        assert str(raised.value) == words


@every_kind
async def test_a_close_of_a_reset_connection_leaves_the_error_to_the_next_read(
    real_loop: Bench, tls: bool, server: bool
) -> None:
    async with connected(real_loop, tls, server) as (stream, far):
        far.leave()
        await real_loop.readable(stream.sock.fileno())
        await stream.send_eof()
        with pytest.raises(PeerLost, match="Connection reset by peer"):
            await stream.read()
        await stream.send_eof()


@every_kind
async def test_a_shutdown_sends_a_close_and_raises_if_the_peer_sent_none(
    real_loop: Bench, tls: bool, server: bool
) -> None:
    for polite in (True, False):
        async with connected(real_loop, tls, server) as (stream, far):
            if polite:
                far.hang_up()
            else:
                far.below.hang_up()
            assert await stream.read() is None
            if polite:
                await stream.shutdown()
            else:
                with pytest.raises(Truncated, match="truncated"):
                    await stream.shutdown()
            stream.close()
            assert await far.take() is None and far.closed == 1000
            if isinstance(far.below, FarTls):
                assert await far.below.take() is None and not far.below.truncated, "TLS has its own end"


@every_kind
async def test_after_a_cancelled_write_the_stream_is_whole(real_loop: Bench, tls: bool, server: bool) -> None:
    data = PAYLOAD(1 << 21)
    async with connected(real_loop, tls, server) as (stream, far):
        writing = real_loop.spawn(write_all(stream, data), Condition())
        await turns(real_loop, 50)
        await real_loop.cancel_and_wait(writing)
        ending = real_loop.spawn(stream.send_eof(), Condition())
        taken = b""
        while (more := await far.take()) is not None:
            taken += more
        same([taken], [data[: len(taken)]])
        assert taken and far.closed == 1000
        await real_loop.cancel_and_wait(ending)


# -- What comes in -----------------------------------------------------------------------------------------------

MESSAGES = st.lists(
    st.one_of(
        st.builds(BytesMessage, data=st.binary(max_size=300), message_finished=st.just(True)),
        st.builds(TextMessage, data=st.text(max_size=100), message_finished=st.just(True)),
        st.builds(Ping, payload=st.binary(max_size=9)),
    ),
    max_size=8,
)


class Below(StubPeer):
    """Gives the pieces of its input, and keeps what is written."""

    sock = None  # type: ignore[assignment]

    def __init__(self, loop: Loop, pieces: list[bytes]) -> None:
        super().__init__(loop)
        self.pieces = pieces
        self.sent = b""

    def raw(self) -> int | None:
        return 0

    async def read(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else None

    def send_nowait(self, data: Bytes) -> int:
        self.sent += data
        return len(data)

    async def write(self, data: Bytes) -> int:
        self.sent += bytes(data[:7])
        return min(7, len(data))


def split(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def outcome(pieces: list[bytes]) -> tuple[bytes, str, bytes]:
    """What is received, how that ends, and what is answered."""

    async def main(loop: Loop) -> tuple[bytes, str, bytes]:
        below = Below(loop, pieces)
        stream, data, end = WebSocketStream(below, server_side=True, text=False), b"", "end"
        try:
            while (more := await stream.read()) is not None:
                data += more
            stream.check_clean_end()
        except Truncated:
            end = "truncated"
        except PeerLost as error:
            end = str(error)
        return data, end, below.sent

    return play(main)


@given(MESSAGES, st.booleans(), st.lists(st.integers(0, 900), max_size=9))
def test_any_split_gives_the_same_output(events: list[object], closed: bool, places: list[int]) -> None:
    client = Connection(ConnectionType.CLIENT)
    data = b"".join(client.send(event) for event in events)  # type: ignore[arg-type]
    data += client.send(CloseConnection(code=1000)) if closed else b""
    result = outcome([data] if data else [])
    assert result == outcome(split(data, places)) == outcome([data[at : at + 1] for at in range(len(data))])
    texts = [event.data.encode() for event in events if isinstance(event, TextMessage)]
    if len(texts) == len([event for event in events if not isinstance(event, Ping)]):
        assert result[0] == b"".join(texts)
    assert result[1] == ("end" if closed else "truncated")


def test_of_many_pings_that_are_not_answered_yet_the_last_alone_is_answered() -> None:
    class Full(Below):
        takes = 0

        def send_nowait(self, data: Bytes) -> int:
            return super().send_nowait(data[: self.takes])

    async def main(loop: Loop) -> tuple[bytes, int]:
        pings = [frame(FIN | PING, b"%125d" % number) for number in range(2000)]
        below = Full(loop, [*pings, b"".join(pings), frame(FIN | TEXT, b"data"), frame(FIN | PING, b"last")])
        below.takes = 10
        stream = WebSocketStream(below, server_side=True, text=False)
        assert await stream.read() == b"data"
        held = len(stream._outgoing) + len(stream._unsent)
        await stream.read()
        await stream.flush()
        return below.sent, held

    sent, held = play(main)
    assert held < ANSWERS_LIMIT + 300
    assert sent.startswith(frame(FIN | PONG, b"%125d" % 0, masked=False))
    assert sent.endswith(frame(FIN | PONG, b"last", masked=False))


def test_pings_are_all_answered_if_the_answers_are_taken() -> None:
    pings = b"".join(frame(FIN | PING, b"%125d" % number) for number in range(2000))
    pongs = b"".join(frame(FIN | PONG, b"%125d" % number, masked=False) for number in range(2000))
    assert outcome([pings]) == (b"", "truncated", pongs)


@pytest.mark.parametrize("data", [b"", b"x"])
def test_many_frames_of_one_read_leave_the_other_tasks_their_turn(data: bytes) -> None:
    async def main(loop: Loop) -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await loop.sleep(0)
                turns += 1

        ticking = loop.spawn(others())
        flood = frame(FIN | BINARY, data) * 20 * TURN
        stream, got = WebSocketStream(Below(loop, [flood]), server_side=True, text=False), b""
        while (more := await stream.read()) is not None:
            got += more
        assert got == data * 20 * TURN
        ticking.cancel()
        return turns

    assert play(main) >= 19


def test_a_frame_of_which_only_the_length_came_takes_no_memory() -> None:
    """Nor do its first bytes wait for the others."""

    async def main(loop: Loop) -> bytes | None:
        huge = bytes([FIN | BINARY, 127 | 128]) + (1 << 62).to_bytes(8, "big") + bytes(4)
        return await WebSocketStream(Below(loop, [huge + b"begin"]), server_side=True, text=False).read()

    assert play(main) == b"begin"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_received_or_refused(data: bytes, places: list[int]) -> None:
    assert outcome([data] if data else []) == outcome(split(data, places))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_character_is_not_split_between_messages(size: int) -> None:
    data = "aé€𝄞z".encode()

    async def main(loop: Loop) -> bytes:
        below = Below(loop, [])
        stream = WebSocketStream(below, server_side=False, text=True)
        for at in range(0, len(data), size):
            await stream.write(data[at : at + size])
        return below.sent

    server = Connection(ConnectionType.SERVER)
    server.receive_data(play(main))
    assert "".join(event.data for event in server.events() if isinstance(event, TextMessage)).encode() == data


# -- A peer that does not answer -----------------------------------------------------------------------------------


class Quiet(Below):
    """Is silent after its pieces, until its socket is shut down."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop, [])
        self.came, self.ended = Condition(), False
        self.sock = self  # type: ignore[assignment]

    async def read(self) -> bytes | None:
        while not self.pieces and not self.ended:
            await self.loop.wait(self.came)
        return await super().read()

    def give(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.came.notify()

    def shutdown(self, how: int) -> None:  # type: ignore[override]
        assert how == socket.SHUT_RD
        self.ended = True
        self.came.notify()


async def test_a_peer_that_leaves_our_close_unanswered_is_given_up(loop: Loop) -> None:
    below = Quiet(loop)
    stream = WebSocketStream(below, server_side=True, text=False)
    reading = loop.spawn(stream.read(), Condition())
    await loop.sleep(CLOSE_LIMIT * 3)  # nothing is missed before our Close
    await stream.send_eof()
    start = loop.clock()
    await loop.sleep(CLOSE_LIMIT / 2)
    below.give(frame(FIN | BINARY, b"data"))
    assert await join(loop, reading) == b"data", "which puts it off"
    await loop.sleep(CLOSE_LIMIT * 3)  # what is not read is not missed
    assert await stream.read() is None
    assert loop.clock() - start == pytest.approx(CLOSE_LIMIT * 4.5)
    with pytest.raises(Truncated, match="it ended without an answer to our Close of WebSocket"):
        stream.check_clean_end()


async def test_a_peer_that_answers_our_close_is_waited_for_no_longer(loop: Loop) -> None:
    below = Quiet(loop)
    stream = WebSocketStream(below, server_side=True, text=False)
    await stream.send_eof()
    below.give(closing_frame(1000))
    assert await stream.read() is None
    await loop.sleep(CLOSE_LIMIT * 3)
    assert not below.ended
    stream.check_clean_end()


# -- What is against the protocol ----------------------------------------------------------------------------------

both_roles = pytest.mark.parametrize("server", [False, True], ids=["client", "server"])
FAULTS: list[tuple[int, list[tuple[int, bytes]]]] = [
    *((1002, [(FIN | bit | kind, b"x")]) for bit in (16, 32, 64, 112) for kind in (TEXT, PING, CLOSE)),
    *((1002, [(FIN | opcode, b"")]) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    *((1002, [(FIN | kind, bytes(126))]) for kind in (PING, PONG, CLOSE)),
    *((1002, [(kind, b"")]) for kind in (PING, PONG, CLOSE)),
    (1002, [(FIN | CONTINUATION, b"x")]),
    (1002, [(CONTINUATION, b"x")]),
    (1002, [(TEXT, b"x"), (FIN | TEXT, b"y")]),
    (1002, [(BINARY, b"x"), (TEXT, b"y")]),
    (1002, [(FIN | CLOSE, b"x")]),
    *((1002, [(FIN | CLOSE, code.to_bytes(2, "big"))]) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)),
    (1007, [(FIN | CLOSE, b"\x03\xe8\xce\xba\xff")]),
    (1007, [(FIN | TEXT, b"\xff")]),
    (1007, [(FIN | TEXT, b"\xc0\xaf")]),
    (1007, [(FIN | TEXT, b"\xed\xa0\x80")]),
    (1007, [(FIN | TEXT, b"\xf4\x90\x80\x80")]),
    (1007, [(TEXT, b"\xce"), (FIN | CONTINUATION, b"\xff")]),
    (1007, [(TEXT, b"\xce"), (FIN | CONTINUATION, b"")]),
]


def met(raw: bytes, *, server: bool) -> tuple[str | None, list[tuple[int, int]]]:
    """How reading fails (None: it ends), and the first byte and close code of each answer."""

    async def main(loop: Loop) -> tuple[str | None, bytes]:
        below = Below(loop, [raw])
        stream = WebSocketStream(below, server_side=server, text=False)
        try:
            while await stream.read() is not None:
                pass
        except PeerLost as error:
            return error.why, below.sent
        return None, below.sent

    failure, sent = play(main)
    answers = []
    while sent:
        size, mask = sent[1] & 127, sent[2:6] if not server else bytes(4)
        at = 2 if server else 6
        body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(sent[at : at + size]))
        answers.append((sent[0], int.from_bytes(body[:2], "big")))
        sent = sent[at + size :]
    return failure, answers


@both_roles
@pytest.mark.parametrize(("code", "frames"), FAULTS, ids=str)
def test_a_fault_is_closed_with_its_code_and_is_an_error(
    server: bool, code: int, frames: list[tuple[int, bytes]]
) -> None:
    failure, answers = met(b"".join(frame(first, data, masked=server) for first, data in frames), server=server)
    assert failure and f"against the protocol of WebSocket (close code {code})" in failure
    assert ("text that is not UTF-8" in failure) == (code == 1007)
    assert "codec" not in failure
    assert answers == [(FIN | CLOSE, code)]


@both_roles
@pytest.mark.parametrize("field", [b"\x7e\x00\x7d", b"\x7f" + bytes(7) + b"\x7d", b"\x7f\x80" + bytes(7)])
def test_a_length_that_is_not_the_shortest_or_too_long_is_a_fault(server: bool, field: bytes) -> None:
    _, answers = met(bytes([FIN | BINARY, field[0] | 128 * server]) + field[1:] + bytes(4), server=server)
    assert answers == [(FIN | CLOSE, 1002)]


@both_roles
def test_a_frame_must_be_masked_by_a_client_and_by_no_server(server: bool) -> None:
    assert met(frame(FIN | TEXT, b"x", masked=not server), server=server)[1] == [(FIN | CLOSE, 1002)]


@both_roles
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code_and_nothing_behind_it_is_read(server: bool, code: int) -> None:
    raw = closing_frame(code, "reason κ".encode(), masked=server) + frame(FIN | PING, masked=server)
    failure, answers = met(raw, server=server)
    assert (failure is None) is (code in (1000, 1001))
    assert answers == [(FIN | CLOSE, code)]


@both_roles
def test_a_close_without_a_code_is_answered_with_none(server: bool) -> None:
    assert met(frame(FIN | CLOSE, masked=server), server=server) == (None, [(FIN | CLOSE, 0)])
