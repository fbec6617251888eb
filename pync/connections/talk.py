"""Holding a dialogue (`protocols/dialogue.py`) on a stream."""

from __future__ import annotations

from pync.endpoints import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from pync.endpoints.streams import Stream
    from pync.protocols.dialogue import Dialogue

    Result = TypeVar("Result")


async def talk(stream: Stream, dialogue: Dialogue[Result]) -> Result:
    """The dialogue's result. What has come and is none of its business is still there to be read.

    Raises Refused, PeerLost.
    """
    shown = b""  # and not taken yet
    try:
        said = next(dialogue)
        while True:
            if said:
                await write_all(stream, said)
                said = next(dialogue)
            else:  # it has used all that it was shown
                await stream.skip(len(shown))
                shown = await stream.peek() or b""
                said = dialogue.send(shown)
    except StopIteration as end:
        result, rest = end.value
    await stream.skip(len(shown) - len(rest))
    return result  # type: ignore[no-any-return]
