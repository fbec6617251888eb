"""Laws of `talk`: a dialogue gets every byte that it uses, and the rest is still there to be read."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from doubles import together
from expectations import expect
from hypothesis import given
from hypothesis import strategies as st

from pync.connections.proxy_client import hold as talk
from pync.endpoints.streams import StreamSocket
from pync.errors import PeerLost
from pync.events import Address
from pync.loop.kernel import Loop
from pync.protocols.dialogue import Refused, exactly
from pync.protocols.http_connect import connect
from pync.protocols.socks_client import socks5_connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.protocols.dialogue import Dialogue

EARLY = b"\0bytes of the target that came with the answer\r\n\r\n"
GRANTED = b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 Go\r\nVia: 1.1 here\r\n\r\n"
AGREED = b"\5\2" + b"\1\0" + b"\5\0\0\3\4name\0\7"


def scripted(script: Sequence[int | bytes]) -> Dialogue[list[bytes]]:
    """Send each of the bytes, and read as many as each number says; the result is what was read."""
    parts, have = [], b""
    for step in script:
        if isinstance(step, bytes):
            yield step
        else:
            part, have = yield from exactly(step, have)
            parts.append(part)
    return parts, have


class Held:
    """What came of a dialogue with a peer that sends these pieces one by one, and then its end-of-file."""

    def __init__(self, dialogue: Dialogue[Any], pieces: Sequence[bytes]) -> None:
        self.result: Any = None
        self.refusal: str | None = None
        self.left = b""  # what can still be read from the connection
        near, far = socket.socketpair()
        with closing(far):
            far.setblocking(False)
            loop = Loop()
            with closing(StreamSocket(loop, near, Address(host="there"))) as stream:
                loop.run(self._hold(loop, stream, dialogue, far, pieces))
            self.sent = b"".join(iter(lambda: far.recv(1 << 16), b""))

    async def _hold(
        self, loop: Loop, stream: StreamSocket, dialogue: Dialogue[Any], far: socket.socket, pieces: Sequence[bytes]
    ) -> None:
        async def feed() -> None:
            for piece in pieces:
                far.sendall(piece)
                for _ in range(3):  # turns of the loop, so that each piece is seen before the next one comes
                    await loop.sleep(0)
            far.shutdown(socket.SHUT_WR)

        async def hold() -> None:
            try:
                self.result = await talk(stream, dialogue)
            except Refused as refusal:
                self.refusal = str(refusal)

        await together(loop, feed(), hold())
        while data := await stream.read():
            self.left += data


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(data)), len(data)]
    return [data[start:stop] for start, stop in zip(places, places[1:], strict=False) if stop > start]


STEPS = st.lists(st.one_of(st.integers(1, 9), st.binary(min_size=1, max_size=9)), max_size=8)


@given(STEPS, st.binary(max_size=20), st.lists(st.integers(0, 90), max_size=12))
def test_what_a_dialogue_does_not_use_is_left_however_it_was_cut(
    script: list[int | bytes], early: bytes, cuts: list[int]
) -> None:
    wanted = [bytes(range(step)) for step in script if isinstance(step, int)]
    held = Held(scripted(script), split(b"".join(wanted) + early, cuts))
    expect(held, result=wanted, refusal=None, left=early)
    assert held.sent == b"".join(step for step in script if isinstance(step, bytes))


@pytest.mark.parametrize(
    ("make", "answer"),
    [(lambda: connect("example.org", 443), GRANTED), (lambda: socks5_connect("example.org", 443, ("u", "p")), AGREED)],
    ids=["connect", "socks5"],
)
def test_early_bytes_are_kept_at_every_split_of_a_proxys_answer(
    make: Callable[[], Dialogue[None]], answer: bytes
) -> None:
    data = answer + EARLY
    whole = Held(make(), [data])
    assert (whole.refusal, whole.left) == (None, EARLY)
    for cut in range(1, len(data)):
        held = Held(make(), [data[:cut], data[cut:]])
        expect(held, refusal=None, left=EARLY, sent=whole.sent)
    assert Held(make(), [data[at : at + 1] for at in range(len(data))]).left == EARLY


@given(st.integers(1, 30), st.integers(0, 29))
def test_an_end_in_the_middle_is_passed_on_to_the_dialogue(size: int, came: int) -> None:
    came = min(came, size - 1)
    held = Held(scripted([size]), [bytes(came)] if came else [])
    why = "it broke off in the middle of a message" if came else "it ended the connection"
    assert (held.result, held.refusal) == (None, why)


def test_more_than_one_peek_shows_is_read_in_full() -> None:
    size = 150_000
    held = Held(scripted([size]), [bytes(size), EARLY])
    assert (held.result, held.left) == ([bytes(size)], EARLY)


def test_a_connection_that_breaks_is_an_error() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        near = socket.create_connection(server.getsockname())
        far = stack.enter_context(server.accept()[0])
        loop = Loop()
        stream = stack.enter_context(closing(StreamSocket(loop, near, Address(host="127.0.0.1", port=1))))

        def dialogue() -> Dialogue[None]:
            yield b"a question"
            far.close()  # a reset, because the question is unread
            yield b""
            raise AssertionError("something came")

        with pytest.raises(PeerLost, match="Connection reset by peer"):
            loop.run(talk(stream, dialogue()))
