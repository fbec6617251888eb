"""Holding a dialogue in a test: what it sends, what comes of it, and that no split of its input makes a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pync.protocols.dialogue import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pync.protocols.dialogue import Dialogue


class Outcome(NamedTuple):
    said: list[bytes]  # what the dialogue has sent
    result: Any = None
    rest: bytes = b""  # what it was sent and has not used, with what it would have been sent next
    refusal: str | None = None


def hold(dialogue: Dialogue[Any], parts: Iterable[bytes]) -> Outcome:
    """Send a dialogue these parts, each when it asks for more, and then the end-of-file."""
    said = []
    left = [part for part in parts if part]
    last = b""
    try:
        words = next(dialogue)
        while True:
            if words:
                said.append(words)
                words = next(dialogue)
            else:
                last = left.pop(0) if left else b""
                words = dialogue.send(last)
    except Refused as refusal:
        return Outcome(said, refusal=str(refusal))
    except StopIteration as end:
        result, rest = end.value
        assert last.endswith(rest), "the rest must be the end of what was sent last"
        return Outcome(said, result, b"".join([rest, *left]))


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def every_way(make: Callable[[], Dialogue[Any]], data: bytes) -> Outcome:
    """The one outcome of a dialogue that is sent `data`: whole, in two parts, byte by byte."""
    whole = hold(make(), [data])
    cuts = range(1, len(data)) if len(data) < 200 else (1, len(data) // 2, len(data) - 1)
    assert [hold(make(), [data[:cut], data[cut:]]) for cut in cuts] == [whole] * len(cuts)
    assert hold(make(), bytewise(data)) == whole
    return whole
