"""All rules of ending at once: what the ends have seen says when a conversation may end, and when it must.

A model reads the histories of the scripted ends after the conversation. From them it computes the moments of each
half-close and of the end. A moment is a pair of bounds, which are apart only where two things happen at one moment.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from conversations import FOREVER, RESET, converse
from doubles import END, MemorySink, MemorySource
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pync.config import Ending
from pync.errors import InputError, OutputError, PeerLost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from conversations import Outcome, Script, Takes
    from doubles import Given, Taken

NEVER = float("inf")
PAUSES = st.sampled_from([0.125, 0.25, 0.375, 0.5, 0.625, 1.0, 2.0])
CHUNKS = st.sampled_from([b"a", b"bcd", b"efghijk"])


def scripts(error: Exception) -> st.SearchStrategy[list[Given]]:
    """What an end gives and when: it may end, or break, or wait for ever."""
    middle = st.lists(CHUNKS | PAUSES, max_size=6)
    last: st.SearchStrategy[list[Given]] = st.sampled_from([[END], [END], [END], [], [error]])
    return st.tuples(middle, last).map(lambda parts: [*parts[0], *parts[1]])


def takes(error: Exception) -> st.SearchStrategy[list[Taken]]:
    """What an end takes and when: some bytes, nothing for a while, or nothing any more."""
    middle = st.lists(st.integers(1, 4) | PAUSES, max_size=6)
    last: st.SearchStrategy[list[Taken]] = st.sampled_from([[], [], [], [error]])
    return st.tuples(middle, last).map(lambda parts: [*parts[0], *parts[1]])


ENDINGS = st.builds(
    Ending,
    half_close=st.sampled_from([True, True, False]),
    at_once=st.booleans(),
    quit_after=st.sampled_from([None, None, 0.0, 0.75]),
    receive_limit=st.sampled_from([None, None, 1, 3]),
)
CONNECTIONS: st.SearchStrategy[Script | None] = st.sampled_from([FOREVER, [0.25, END], [2.0, END], [1.0, RESET], None])
FACTS = st.fixed_dictionaries(
    {},
    optional={name: st.booleans() for name in ("speaks", "listens", "terminal", "client")},
)


class Bounds(NamedTuple):
    """When something happens: not before `earliest`, and not after `latest`."""

    earliest: float
    latest: float


def at(moment: float) -> Bounds:
    return Bounds(moment, moment)


def first_of(bounds: list[Bounds]) -> Bounds:
    """When the first of several things happens."""
    return Bounds(min(one.earliest for one in bounds), min(one.latest for one in bounds))


class Half:
    """What the two ends of one flow have seen."""

    def __init__(self, source: MemorySource, sink: MemorySink, limit: int | None = None) -> None:
        self.given = [(round(moment - 1000, 9), item) for moment, item in source.history]
        self.taken = [(round(moment - 1000, 9), item) for moment, item in sink.history if isinstance(item, bytes)]
        self.reads = [moment for moment, item in self.given if isinstance(item, bytes)]
        self.data = b"".join(item for _, item in self.given if isinstance(item, bytes))
        self.unreadable = [moment for moment, item in self.given if isinstance(item, Exception)]
        self.unwritable = [round(moment - 1000, 9) for moment, item in sink.history if isinstance(item, Exception)]
        self.written = list(self._written())
        self.over = next((moment for moment, item in self.given if item is END), NEVER)
        if limit is not None and len(self.written) == limit:
            self.over = self.written[-1]

    def _written(self) -> Iterator[float]:
        """When each chunk that was read had been taken whole."""
        sizes = [len(item) for _, item in self.given if isinstance(item, bytes)]
        taken = list(accumulate(len(item) for _, item in self.taken))
        for size in accumulate(sizes):
            yield from [moment for (moment, _), whole in zip(self.taken, taken, strict=True) if whole >= size][:1]

    def silent(self, start: float, asked: float = NEVER) -> Bounds:
        """When, from `start` on, the source was waited for in vain for long enough, or has ended.

        Enough is half a second, or less if this is the answer to what was `asked`.
        """
        earliest = latest = max(start, self.over)
        ends = [moment for moment, _ in self.given] + [NEVER]
        begins = [0.0, *self.written]
        for number, (begin, end) in enumerate(zip(begins, ends, strict=False)):
            answered = number and self.reads[0] >= asked
            silence = min(max(10 * (self.reads[0] - asked), 0.1), 0.5) if answered else 0.5
            moment = round(max(begin, start) + silence, 9)
            if moment <= end:
                earliest = min(earliest, moment)
            if moment < end:
                latest = min(latest, moment)
        return Bounds(earliest, latest)


class Model:
    """What the rules say of a conversation that has these halves."""

    def __init__(self, outcome: Outcome, ending: Ending, connection: Script | None, facts: dict[str, bool]) -> None:
        ends = outcome.ends
        self.sending = Half(ends.local_source, ends.peer_sink)
        self.receiving = Half(ends.peer_source, ends.local_sink, ending.receive_limit)
        self.ending = ending
        self.connection = connection
        self.datagrams = connection is None
        self.speaks, self.listens = facts.get("speaks", True), facts.get("listens", True)
        self.terminal, self.client = facts.get("terminal", False), facts.get("client", True)

    def half_close(self) -> Bounds:
        """When the half-close comes: a client's, and that of an empty stdin, waits for the peer's silence."""
        sending = self.sending
        hurried = self.ending.at_once or not self.listens or self.datagrams
        if (self.client or not sending.reads) and not hurried and sending.over < NEVER:
            return self.receiving.silent(sending.over, sending.reads[0] if sending.reads else NEVER)
        return at(sending.over)

    def over(self, half_closed: float) -> Bounds:
        """When the conversation is over by rules 1 to 4, if nothing breaks."""
        receiving = self.receiving
        bounds = [at(max(receiving.over, half_closed)), self.stdin_over()]
        if not self.listens:
            bounds.append(at(half_closed))
        if self.ending.quit_after is not None:
            bounds.append(at(round(self.sending.over + self.ending.quit_after, 9)))
        if self.datagrams and self.client and receiving.reads:
            bounds.append(receiving.silent(max(half_closed, receiving.reads[0])))
        return first_of(bounds)

    def stdin_over(self) -> Bounds:
        """When, after the peer's end, stdin may have nothing more to send."""
        receiving, limit = self.receiving, self.ending.receive_limit
        limited = limit is not None and len(receiving.reads) == limit
        if not self.speaks or self.terminal or limited or self.datagrams:
            return at(receiving.over)
        if receiving.reads:
            return self.sending.silent(receiving.over)
        script = self.connection
        if script and script[-1] is END and isinstance(script[0], float):
            return at(receiving.over + float(script[0] or 0))
        return at(NEVER)

    def broken(self, half_closed: float) -> Bounds:
        """When it is broken, by rule 6: after a peer has stopped taking our bytes, what it sends is received first."""
        receiving, script = self.receiving, self.connection
        moments = [*self.sending.unreadable, *receiving.unreadable, *receiving.unwritable, NEVER]
        watched = self.speaks and not self.terminal and not receiving.reads
        if watched and receiving.over < half_closed and script and script[-1] is RESET:
            moments.append(receiving.over + 1.0)
        received_first = self.listens and not self.datagrams
        bounds = [receiving.silent(one) if received_first else at(one) for one in self.sending.unwritable]
        return first_of([at(min(moments)), *bounds])


@settings(max_examples=300)
@given(
    stdin=scripts(InputError("reading stdin", "?")),
    peer=scripts(RESET),
    peer_takes=takes(RESET),
    local_takes=takes(OutputError("writing stdout", "?")),
    ending=ENDINGS,
    connection=CONNECTIONS,
    facts=FACTS,
)
def test_a_conversation_ends_when_the_rules_say_and_never_before(
    stdin: Script,
    peer: Script,
    peer_takes: Takes,
    local_takes: Takes,
    ending: Ending,
    connection: Script | None,
    facts: dict[str, Any],
) -> None:
    outcome = converse(
        stdin, peer, ending, connection=connection, peer_takes=peer_takes, local_takes=local_takes, **facts
    )
    model = Model(outcome, ending, connection, facts)
    sending, receiving, error = model.sending, model.receiving, outcome.error
    end = NEVER if outcome.seconds is None else round(outcome.seconds, 9)

    assert sending.data.startswith(outcome.sent), "every byte goes out, once, in order"
    assert receiving.data.startswith(outcome.received), "every byte comes in, once, in order"
    check_closed(outcome.closed, receiving, end)
    half_closed = check_half_closed(outcome.half_closed, model, end)
    event(f"{type(error).__name__ if error else 'over' if outcome.seconds is not None else 'goes on'}")

    over, broken = model.over(half_closed), model.broken(half_closed)
    assert end <= min(broken.latest, over.latest), "it is over as soon as it may be"
    assert (broken.earliest if error else over.earliest) <= end, "it is over too soon"
    assert error or not any(moment < end for moment in sending.unwritable), "what broke is raised"
    if isinstance(error, PeerLost):
        assert error.unsent == len(sending.data) - len(outcome.sent)


def check_closed(closed: list[float], receiving: Half, end: float) -> None:
    """Our stdout is closed when the peer has ended and all is written, once."""
    assert closed in ([receiving.over], []), "stdout is closed in its place"
    assert closed or end <= receiving.over, "stdout is closed at all"


def check_half_closed(half_closed: list[float], model: Model, end: float) -> float:
    """The half-close comes once, in its place. The answer is the moment from which on our half has ended."""
    if not model.ending.half_close:
        assert half_closed == []
        return model.sending.over
    bounds = model.half_close()
    assert len(half_closed) <= 1
    assert all(bounds.earliest <= moment <= bounds.latest for moment in half_closed), "the half-close is in its place"
    assert half_closed or end <= bounds.latest, "the half-close comes at all"
    return half_closed[0] if half_closed else NEVER
