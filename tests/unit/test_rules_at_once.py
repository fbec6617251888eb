"""All rules of ending at once: what the ends have seen says when a conversation may end, and when it must."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from conversations import FOREVER, RESET, converse
from doubles import END, MemorySink, MemorySource
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pync.config import Ending
from pync.errors import InputError, OutputError, PeerLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversations import Room, Said
    from doubles import Given, Taken


class Half:
    """What one flow's ends have seen: `bounds` are (not before, not after), apart only where two things coincide."""

    def __init__(self, source: MemorySource, sink: MemorySink, limit: int | None = None) -> None:
        self.given = [(moment - 1000, item) for moment, item in source.history]
        self.taken = [(moment - 1000, item) for moment, item in sink.history if isinstance(item, bytes)]
        self.reads = [moment for moment, item in self.given if isinstance(item, bytes)]
        self.said = b"".join(item for _, item in self.given if isinstance(item, bytes))
        self.unreadable = [moment for moment, item in self.given if isinstance(item, Exception)]
        self.unwritable = [moment - 1000 for moment, item in sink.history if isinstance(item, Exception)]
        self.written = list(self._written())
        self.over = next((moment for moment, item in self.given if item is END), INFINITE)
        if limit is not None and len(self.written) == limit:
            self.over = self.written[-1]

    def _written(self) -> Iterator[float]:
        """When each chunk that was read had been taken whole."""
        sizes = [len(item) for _, item in self.given if isinstance(item, bytes)]
        taken = list(accumulate(len(item) for _, item in self.taken))
        for size in accumulate(sizes):
            yield from [moment for (moment, _), whole in zip(self.taken, taken, strict=True) if whole >= size][:1]

    def silent(self, start: float) -> tuple[float, float]:
        """When the source has, from `start` on, been waited for in vain for half a second, or has ended."""
        bounds = [max(start, self.over)] * 2
        ends = [moment for moment, _ in self.given] + [INFINITE]
        for begin, end in zip([0.0, *self.written], ends, strict=False):
            moment = max(begin, start) + 0.5
            if moment <= end:
                bounds[0] = min(bounds[0], moment)
            if moment < end:
                bounds[1] = min(bounds[1], moment)
        return bounds[0], bounds[1]


INFINITE = float("inf")
PAUSES = st.sampled_from([0.125, 0.25, 0.375, 0.5, 0.625, 1.0, 2.0])
CHUNKS = st.sampled_from([b"a", b"bcd", b"efghijk"])


def scripts(error: Exception) -> st.SearchStrategy[list[Given]]:
    """What an end says and when: it may end, or break, or wait for ever."""
    middle = st.lists(CHUNKS | PAUSES, max_size=6)
    last: st.SearchStrategy[list[Given]] = st.sampled_from([[END], [END], [END], [], [error]])
    return st.tuples(middle, last).map(lambda parts: [*parts[0], *parts[1]])


def rooms(error: Exception) -> st.SearchStrategy[list[Taken]]:
    """How an end takes what it gets: so many bytes, not for so long, or not at all any more."""
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
GONE: st.SearchStrategy[Said | None] = st.sampled_from([FOREVER, [0.25, END], [2.0, END], [1.0, RESET], None])
FACTS = st.fixed_dictionaries(
    {},
    optional={name: st.booleans() for name in ("speaks", "listens", "terminal", "client")},
)


@settings(max_examples=300)
@given(
    stdin=scripts(InputError("reading stdin", "?")),
    peer=scripts(RESET),
    sent=rooms(RESET),
    shown=rooms(OutputError("writing stdout", "?")),
    ending=ENDINGS,
    gone=GONE,
    facts=FACTS,
)
def test_a_conversation_ends_when_the_rules_say_and_never_before(
    stdin: Said, peer: Said, sent: Room, shown: Room, ending: Ending, gone: Said | None, facts: dict[str, bool]
) -> None:
    over = converse(stdin, peer, ending, gone=gone, sent=sent, shown=shown, **facts)
    sending = Half(over.ends.said, over.ends.sent)
    receiving = Half(over.ends.heard, over.ends.shown, ending.receive_limit)
    end = INFINITE if over.seconds is None else over.seconds

    assert sending.said.startswith(over.sent) and receiving.said.startswith(over.shown), "every byte, once, in order"
    check_closed(over.closed, receiving, end)
    spoken = check_half_closed(over.half_closed, sending, receiving, ending, gone, facts, end)
    earliest, latest = over_at(sending, receiving, ending, gone, facts, spoken)
    event(f"{type(over.error).__name__ if over.error else 'over' if over.seconds is not None else 'goes on'}")

    first, last = broken_at(sending, receiving, gone, facts, spoken)
    assert end <= min(last, latest), "it is over as soon as it may be"
    assert (first if over.error else earliest) <= end, "it is over too soon"
    assert over.error or not any(moment < end for moment in sending.unwritable), "what broke is told"
    if isinstance(over.error, PeerLost):
        assert over.error.unsent == len(sending.said) - len(over.sent)


def check_closed(closed: list[float], receiving: Half, end: float) -> None:
    """Our stdout is closed when the peer has ended and all is written, once."""
    assert closed in ([receiving.over], []), "stdout is closed in its place"
    assert closed or end <= receiving.over, "stdout is closed at all"


def check_half_closed(
    half_closed: list[float],
    sending: Half,
    receiving: Half,
    ending: Ending,
    gone: Said | None,
    facts: dict[str, bool],
    end: float,
) -> float:
    """The half-close comes once, in its place: when we have spoken, which is answered (unless only that is over)."""
    if not ending.half_close:
        assert half_closed == []
        return sending.over
    bounds = (sending.over, sending.over)
    asked = ending.at_once or ending.quit_after is not None or not facts.get("listens", True)
    if not sending.reads and not asked and gone is not None and sending.over < INFINITE:
        bounds = receiving.silent(sending.over)
    assert len(half_closed) <= 1
    assert all(bounds[0] <= moment <= bounds[1] for moment in half_closed), "the half-close is in its place"
    assert half_closed or end <= bounds[1], "the half-close comes at all"
    return half_closed[0] if half_closed else INFINITE


def over_at(
    sending: Half, receiving: Half, ending: Ending, gone: Said | None, facts: dict[str, bool], spoken: float
) -> tuple[float, float]:
    """When the conversation is over by rules 1 to 4, if nothing breaks."""
    both = max(receiving.over, spoken)
    bounds = [(both, both)]
    if not facts.get("listens", True):
        bounds.append((spoken, spoken))
    if ending.quit_after is not None:
        bounds.append((spoken + ending.quit_after,) * 2)
    if gone is None and facts.get("client", True) and receiving.reads:
        bounds.append(receiving.silent(max(spoken, receiving.reads[0])))
    bounds += [stdin_over(sending, receiving, ending, gone, facts)]
    return min(low for low, _ in bounds), min(high for _, high in bounds)


def stdin_over(
    sending: Half, receiving: Half, ending: Ending, gone: Said | None, facts: dict[str, bool]
) -> tuple[float, float]:
    """When, after the peer's end, stdin may have nothing more to say."""
    limited = ending.receive_limit is not None and len(receiving.reads) == ending.receive_limit
    if not facts.get("speaks", True) or facts.get("terminal", False) or limited or gone is None:
        return receiving.over, receiving.over
    if receiving.reads:
        return sending.silent(receiving.over)
    well = receiving.over + float(gone[0] or 0) if gone and gone[-1] is END and isinstance(gone[0], float) else INFINITE
    return well, well


def broken_at(
    sending: Half, receiving: Half, gone: Said | None, facts: dict[str, bool], spoken: float
) -> tuple[float, float]:
    """When it is broken, by rule 6; who does not take our bytes any more is heard out first."""
    moments = [*sending.unreadable, *receiving.unreadable, *receiving.unwritable, INFINITE]
    watched = facts.get("speaks", True) and not facts.get("terminal", False) and not receiving.reads
    if watched and receiving.over < spoken and gone and gone[-1] is RESET:
        moments.append(receiving.over + 1.0)
    bounds = [(min(moments),) * 2]
    heard_out = facts.get("listens", True) and gone is not None
    bounds += [receiving.silent(moment) if heard_out else (moment, moment) for moment in sending.unwritable]
    return min(low for low, _ in bounds), min(high for _, high in bounds)
