"""Rule 4 for a client: how long it waits for answers to its datagrams once stdin has ended.

Theory: no datagram says that it is the last one. So an answer is complete when silence has followed it, and a question
is taken for unanswered when the wait that the user asked for (`answer_wait`) is over; neither is an error. Even a
client that does not wait gives the loop one turn, because the system may know already that the port is closed.

A module of its own, because a conversation over a stream does not import it.
"""

from __future__ import annotations

from pync.events import Unanswered
from pync.relay.patience import silence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop
    from pync.relay.flow import Flow
    from pync.relay.rules import Conversation


async def answered(conversation: Conversation) -> None:
    """Wait until the peer has answered and is silent since, or until `answer_wait` seconds without an answer."""
    loop, receiving = conversation.loop, conversation.receiving
    wait = conversation.ending.answer_wait
    # The wait for an answer takes the place of the limit for silence, which is an error.
    conversation.idle_suspended = wait is not None
    until = None if wait is None else loop.clock() + wait
    while not (receiving.reads and wait != 0):
        if not await loop.wait(receiving.progress, until):
            if wait:
                conversation.report(Unanswered(peer=conversation.peer.address, seconds=wait))
            return
    if wait and conversation.peer.has_members:
        await _last_answer(loop, receiving, wait)
    else:
        await silence(receiving)


async def _last_answer(loop: Loop, receiving: Flow, wait: float) -> None:
    """Wait until no member of a group has answered for `wait` seconds, because each answers in its own time."""
    answers = -1
    while receiving.reads != answers:
        answers, until = receiving.reads, loop.clock() + wait
        while receiving.reads == answers and await loop.wait(receiving.progress, until):
            pass
