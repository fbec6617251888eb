"""Dialogues: what is said on a connection before the conversation itself begins, as generators.

Theory: a dialogue is resumed by whoever holds the connection.

- It yields bytes: they are to be sent, and then it goes on with `next`.
- It yields b"": it wants to hear more, and is sent what came; b"" is the end-of-file.
- It returns `(result, rest)`: `rest` is what it was sent and did not use. It asks for more only when it has used all
  there was, so `rest` is always the end of the last bytes it was sent. Whoever looks at what has come, and takes it
  only when it is known to be used, thus leaves the rest where it was.
- It raises Refused: there will be no conversation. What has to be said about that has been yielded before.

How the bytes were cut into reads is an accident of the network: any split of the same input has the same result.
A side that talks ahead of the other (a client that sends its greeting, its request and its first bytes at once) is
understood too: that is why yielding bytes does not ask for an answer.

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
    Trouble = Literal["forbidden", "no network", "no host", "refused", "timed out", "failed"]


class Refused(Exception):
    """The other side does not do what it should: why, in words, with the other side as "it"."""


class Asked(Frozen):
    """Where a proxy's client wants to be connected to."""

    host: str  # a name or the literal of an address
    port: int
    head: bytes = b""  # what the proxy has to say there first; b"" if all that is wanted is a tunnel
    size: int | None = None  # bytes that follow the head, if that is known: what comes then is for somebody else


def receive_more(have: bytes) -> Part[bytes]:
    """`have` and what comes next. Raises Refused at the end-of-file."""
    came = yield b""
    if not came:
        raise Refused("it broke off in the middle of a message" if have else "it ended the connection")
    return have + came


def exactly(count: int, have: bytes) -> Dialogue[bytes]:
    """The first `count` bytes of `have` and what comes after it."""
    while len(have) < count:
        have = yield from receive_more(have)
    return have[:count], have[count:]
