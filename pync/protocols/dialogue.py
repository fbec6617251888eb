"""Dialogues: what both sides of a connection send each other before the conversation itself, as generators.

Theory: the caller holds the connection, and reads and writes for the dialogue (`hold` in `proxy_client.py`).

- It yields bytes: the caller sends them and resumes it with `next`.
- It yields b"": it needs more input. The caller sends it what was received, or b"" for the end-of-file.
- It returns `(result, rest)`: `rest` is the input that it did not use. It asks for more only when it has used all of
  its input, so `rest` is always the end of the last input. A caller that first peeks at what was received, and skips it
  when it is known to be used, thus leaves the rest where it was.
- It raises Refused: there will be no conversation. What the peer has to be sent about that has been yielded before.

How the bytes were cut into reads is an accident of the network: any split of the same input has the same result.
A peer may send ahead: a client may send its greeting, its request and its first bytes at once. That is why a dialogue
that yields bytes gets no input for them.

A dialogue must never do I/O, wait or know the clock.
"""

from __future__ import annotations

from pync.config import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Literal, TypeVar

    Result = TypeVar("Result")
    Part = Generator[bytes, bytes | None, Result]
    Dialogue = Part[tuple[Result, bytes]]
    Login = tuple[str, str]  # a user and a password
    FailureKind = Literal["forbidden", "no network", "no host", "refused", "timed out", "failed"]

# Seconds that a client has for the whole of its request: the head of HTTP, or all that it says by SOCKS.
REQUEST_LIMIT = 30.0


class Refused(Exception):
    """The peer does not do what it should. The text is the reason, and calls the peer "it".

    `answer` is what it has sent instead: a code of SOCKS, or a status line of HTTP; None if it has not answered. `rest`
    is the input after it, of which the dialogue knows nothing.
    """

    def __init__(self, why: str, answer: int | str | None = None, rest: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer
        self.rest = rest


class Unidentified(Refused):
    """The client has sent no user and password, or for a challenge that is too old. Most clients wait to be asked."""


class ConnectRequest(Frozen):
    """The connection that a proxy's client asks for."""

    host: str  # a name, or an address as text
    port: int
    head: bytes = b""  # what the proxy must send to the host first; b"" if the client asks for a tunnel
    # How many bytes after its head belong to the client's request; None if they come in chunks. It may mean what it
    # sends after them for another host.
    size: int | None = None


def late(limit: float) -> str:
    """Why a client that has not made its request within `limit` seconds is refused."""
    return f"no whole request came within {limit:g} s"


def receive_more(have: bytes) -> Part[bytes]:
    """`have` and the input after it. Raises Refused at the end-of-file."""
    received = yield b""
    if not received:
        raise Refused("it broke off in the middle of a message" if have else "it ended the connection")
    return have + received


def exactly(count: int, have: bytes) -> Dialogue[bytes]:
    """The first `count` bytes of `have` and of the input after it."""
    while len(have) < count:
        have = yield from receive_more(have)
    return have[:count], have[count:]


def counted(dialogue: Dialogue[Result], sizes: list[int]) -> Dialogue[Result]:
    """The same dialogue; the sizes of the pieces that it is given are added to `sizes`."""
    try:
        reply = next(dialogue)
        while True:
            given = yield reply
            sizes.append(len(given or b""))
            reply = dialogue.send(given)
    except StopIteration as end:
        result: tuple[Result, bytes] = end.value
        return result
