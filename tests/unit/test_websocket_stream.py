"""The frames of WebSocket: however the input is split, what comes out is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import StubPeer, play
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from pync.connections.websocket_stream import WebSocketStream
from pync.errors import PeerLost, Truncated

if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

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
