"""The handshake of WebSocket: its bounds in time and size, and any split of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import Clock, StubPeer, a_context
from hypothesis import given
from hypothesis import strategies as st
from websocket_frames import ACCEPT, REQUEST

from pync.connections.websocket import HANDSHAKE_LIMIT, HEAD_LIMIT, open_to_client, open_to_server
from pync.errors import ConnectError, PeerLost, ProtocolError, PyncError, TimedOut
from pync.loop.kernel import Loop
from pync.websocket_config import WebSocket

if TYPE_CHECKING:
    from pync.endpoints import Bytes

HEAD = (REQUEST % "Sec-WebSocket-Protocol: a, b\r\n").encode()


class Other(StubPeer):
    """Sends its pieces, and then nothing; keeps what it is sent."""

    sock = None  # type: ignore[assignment]

    def __init__(self, loop: Loop, pieces: list[bytes], *, ends: bool = False) -> None:
        super().__init__(loop)
        self.pieces, self.ends = pieces, ends
        self.sent, self.closed = b"", False

    def raw(self) -> int | None:
        return 0

    async def read(self) -> bytes | None:
        if self.pieces:
            return self.pieces.pop(0)
        if not self.ends:
            await self.loop.sleep(1e9)
        return None

    async def write(self, data: Bytes) -> int:
        self.sent += data
        return len(data)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_client_that_does_not_go_on_is_given_up(loop: Loop, clock: Clock, sent: bytes) -> None:
    client, start = Other(loop, [sent] if sent else []), clock()
    with pytest.raises(TimedOut, match="no answer for 30 s"):
        await open_to_client(a_context(loop, websocket=WebSocket()), client)
    assert client.closed and clock() - start == pytest.approx(HANDSHAKE_LIMIT)


@pytest.mark.parametrize(("limit", "seconds"), [(None, HANDSHAKE_LIMIT), (3.0, 3.0)])
async def test_a_server_that_does_not_answer_is_given_up(
    loop: Loop, clock: Clock, limit: float | None, seconds: float
) -> None:
    context = a_context(loop, websocket=WebSocket(), host="h", connect_timeout=limit)
    server, start = Other(loop, [b"HTTP/1.1 101 "]), clock()
    with pytest.raises(TimedOut):
        await open_to_server(context, server, 80)
    assert server.closed and clock() - start == pytest.approx(seconds)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01", b"POST / HTTP/1.1\r\n", b"SSH-2.0-x\r\n"])
async def test_what_is_no_request_is_refused_before_its_end(loop: Loop, clock: Clock, sent: bytes) -> None:
    client, start = Other(loop, [sent]), clock()
    with pytest.raises(ProtocolError, match="it does not ask for WebSocket"):
        await open_to_client(a_context(loop, websocket=WebSocket()), client)
    assert client.sent.startswith(b"HTTP/1.1 426 ") and clock() == start


async def test_a_head_of_a_server_has_a_bound(loop: Loop) -> None:
    server = Other(loop, [b"HTTP/1.1 101 Hi\r\nX: ", *[bytes(1000)] * 20])
    with pytest.raises(ConnectError, match=f"its head has more than {HEAD_LIMIT} bytes"):
        await open_to_server(a_context(loop, websocket=WebSocket(), host="h"), server, 80)
    assert len(server.pieces) == 3, "no more is read"


@given(st.lists(st.integers(0, len(HEAD) + 8), max_size=6))
def test_any_split_of_a_request_is_answered_alike(places: list[int]) -> None:
    whole = HEAD + b"\x81\x83\0\0\0\0abc"
    ends = sorted({*places, 0, len(whole)})
    clock = Clock()
    loop = Loop(clock, clock)

    async def main() -> tuple[bytes | None, bytes]:
        pieces = [whole[start:end] for start, end in zip(ends, ends[1:], strict=False) if whole[start:end]]
        client = Other(loop, pieces, ends=True)
        stream = await open_to_client(a_context(loop, websocket=WebSocket(protocols=("b",))), client)
        received = b""
        while (more := await stream.read()) is not None:
            received += more
        return received, client.sent

    received, answer = loop.run(main())
    assert received == b"abc"
    assert ACCEPT in answer and b"sec-websocket-protocol: b\r\n" in answer.lower()


@given(st.binary(max_size=60))
def test_whatever_a_server_sends_is_one_failure(sent: bytes) -> None:
    clock = Clock()
    loop = Loop(clock, clock)

    async def main() -> None:
        server = Other(loop, [sent] if sent else [], ends=True)
        await open_to_server(a_context(loop, websocket=WebSocket(), host="h"), server, 80)

    with pytest.raises(PyncError) as raised:
        loop.run(main())
    assert isinstance(raised.value, ConnectError | PeerLost) and "\n" not in str(raised.value)
