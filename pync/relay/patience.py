"""Patience: how long a client waits for the peer's silence before it half-closes, and what silence is to any relay.

Theory. A server that needs the end of its input (sort, a receiver of a file) answers only after a half-close. But many
others take a half-close for a client that has left, and drop the answer: whatever is built on asyncio's default
`eof_received`, on Netty, Twisted or node, and nginx, Caddy and docker as proxies. Only time tells one kind from the
other: a server that can answer without the end does so soon, and one that has finished is silent.

So the half-close waits until the peer has been silent, since stdin's end, for
- half a second while the peer has not answered;
- ten times as long as the first byte of the answer took, 0.1 to 0.5 seconds, once it has. A byte that came before our
  first one is no answer, and after an empty stdin there is none: both leave the half second. So does a proxy, whose
  end of the connection would cost more than the time, and WebSocket, which has no half-close but only an end;
- 5 seconds once the answer has begun, and as long as it takes until then, if the question is a request of HTTP/1: such
  a request shows its own end (RFC 9112, section 6.3), and its server needs no other.

A module of its own, because a session that only sends does without it.
"""

from __future__ import annotations

from pync.events import EndedAtHalfClose
from pync.relay import SILENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.loop.kernel import Loop
    from pync.relay.flow import Flow
    from pync.relay.rules import Conversation

QUESTION = 64 * 1024  # bytes sent in all, at most, by a client whose half-close is patient: more is a transfer
SHORTEST = 0.1  # seconds of silence that any server is given
ANSWER_TIMES = 10  # the silence is so many times as long as the first byte took
HTTP_SILENCE = 5.0  # seconds of silence within or after an answer of HTTP
GOODBYE = 0.2  # seconds after our half-close within which the peer's end is an answer to it


async def copy_first_line(relay: Conversation) -> bool:
    """Copy the first line of stdin by hand, which shows whether this is a request of HTTP; whether it is.

    The answer to a request is watched if the connection may end improperly (TLS): whether nothing of it is missing is
    then seen from the answer itself.
    """
    line = b""
    while b"\n" not in line and len(line) < QUESTION and (data := await relay.sending.copy_chunk()) is not None:
        line += data
    http = is_request(line)
    if http and relay.peer.raw() is None:
        try:
            from pync.protocols.http_completeness import HttpAnswer
        except ImportError:  # without h11 an improper end is an error
            return http
        relay.answer = HttpAnswer(line)
        relay.receiving.stages = (relay.answer, *relay.receiving.stages)
    return http


async def half_close(relay: Conversation, *, http: bool) -> None:
    """Wait until the half-close is due, and send it. `http`: what was sent is a request of HTTP.

    Reports it if the peer answers with nothing but its own end, at once.
    """
    sending, receiving = relay.sending, relay.receiving
    short = sending.moved <= QUESTION
    if not relay.ending.at_once and (short or relay.half_close_ends_all or http):
        await silence(receiving, Patience(relay, http=http).enough)
        relay.idle_suspended = False
    ended = receiving.ended
    await sending.send_eof()
    warns = short and relay.is_client and relay.peer.has_half_close
    if warns and not ended and await _goodbye(relay.loop, receiving):
        relay.report(EndedAtHalfClose(peer=relay.peer.address))


class Patience:
    """How much silence of the peer is enough, by what has been sent and received."""

    def __init__(self, relay: Conversation, *, http: bool) -> None:
        self.relay = relay
        self.sending = relay.sending
        self.receiving = relay.receiving
        self.proxied = relay.half_close_ends_all
        self.http = http

    def enough(self) -> float | None:
        """Seconds of silence after which the half-close comes; None while the answer has to be waited for.

        The idle limit, which is for peers that do nothing, bounds this silence instead of making a failure of it.
        """
        seconds = self._enough()
        self.relay.idle_suspended = seconds is not None
        return seconds and min(seconds, self.relay.idle_limit or seconds)

    def _enough(self) -> float | None:
        asked, answered = self.sending.began, self.receiving.began
        if asked is None or answered is None or answered < asked:
            return None if self.http else SILENCE
        if self.http:
            return HTTP_SILENCE
        return SILENCE if self.proxied else min(max(ANSWER_TIMES * (answered - asked), SHORTEST), SILENCE)


def is_request(line: bytes) -> bool:
    """Whether the data begins with a request of HTTP/1: METHOD TARGET HTTP/1.x (RFC 9112, section 3)."""
    words = line.partition(b"\n")[0].rstrip(b"\r").split(b" ")
    return len(words) == 3 and words[0].isalpha() and words[0].isupper() and words[2][:-1] == b"HTTP/1."


async def _goodbye(loop: Loop, receiving: Flow) -> bool:
    """Whether the peer's answer to a half-close is nothing but its own end, at once."""
    until, reads = loop.clock() + GOODBYE, receiving.reads
    while not receiving.ended and receiving.reads == reads:
        if not await loop.wait(receiving.progress, until):
            return False
    return receiving.reads == reads


async def silence(flow: Flow, enough: Callable[[], float | None] = lambda: SILENCE) -> None:
    """Wait until the flow has ended, or is silent for `enough()` seconds (None: it is asked again later)."""
    loop = flow.loop
    start = loop.clock()
    while not flow.ended:
        until, seconds = None, enough()
        # A flow that is writing, or whose source holds bytes back (pacing), is not silent.
        if seconds is not None and flow.waiting_since is not None and not flow.unsent():
            until = max(flow.waiting_since, start) + seconds
            if loop.clock() >= until:
                return
        await loop.wait(flow.progress, until)


async def after_stdin(sending: Flow, seconds: float) -> None:
    """Wait until stdin has ended, and then for `seconds` (`-q`)."""
    while not sending.ended:
        await sending.loop.wait(sending.progress)
    # The two turns after it are for what the system knows already, such as a refused datagram.
    for pause in (seconds, 0, 0):
        await sending.loop.sleep(pause)
