"""Rule 4 for a client that was told how long to wait for an answer: when it leaves, and that this is no failure."""

from __future__ import annotations

import pytest
from conversations import FOREVER, converse, trickle
from doubles import END
from expectations import expect

from pync.config import Ending
from pync.errors import PeerLost, TimedOut

REFUSED = PeerLost("datagrams to x", "Connection refused")
WAIT = Ending(answer_wait=3.0, idle_timeout=3.0)


def test_a_client_without_an_answer_leaves_when_its_wait_is_over() -> None:
    outcome = converse([b"ask", 5.0, END], FOREVER, Ending(answer_wait=3.0), connection=None)
    expect(outcome, sent=b"ask", seconds=8, error=None)


@pytest.mark.parametrize("stdin", [[b"ask", END], [b"ask", 2.75, END], [1.0, b"ask", 2.5, END], [END]])
def test_the_wait_begins_at_stdins_end_and_not_with_the_silence_before_it(stdin: list[object]) -> None:
    outcome = converse(stdin, FOREVER, WAIT, connection=None)  # type: ignore[arg-type]
    pauses = sum(item for item in stdin if isinstance(item, float))
    expect(outcome, seconds=pauses + 3, error=None)


def test_an_answer_within_the_wait_is_received_until_silence_follows_it() -> None:
    outcome = converse([b"ask", END], [2.875, b"a", 0.375, b"b", 0.375, b"c", 0.75, b"late"], WAIT, connection=None)
    expect(outcome, received=b"abc", seconds=3.625 + 0.5, error=None)


def test_a_wait_that_is_shorter_than_the_silence_after_an_answer_cuts_no_answer_off() -> None:
    short = Ending(answer_wait=0.125, idle_timeout=0.125)
    outcome = converse([b"ask", END], [b"a", 0.375, b"b"], short, connection=None)
    expect(outcome, received=b"ab", seconds=0.375 + 0.5, error=None)


def test_an_answer_after_the_wait_is_not_waited_for() -> None:
    outcome = converse([b"ask", END], [3.125, b"late"], WAIT, connection=None)
    expect(outcome, received=b"", seconds=3, error=None)


@pytest.mark.parametrize("peer", [FOREVER, trickle(0.25, 100)])
def test_a_wait_of_zero_is_none_at_all(peer: list[object]) -> None:
    outcome = converse([b"one", 0.75, b"two", END], peer, Ending(answer_wait=0), connection=None)  # type: ignore[arg-type]
    expect(outcome, sent=b"onetwo", seconds=0.75, error=None)


@pytest.mark.parametrize("ending", [Ending(answer_wait=0), Ending(quit_after=0), WAIT])
def test_a_refusal_that_is_known_already_is_reported_by_a_client_that_does_not_wait(ending: Ending) -> None:
    assert converse([b"ask", END], [0.0, REFUSED], ending, connection=None).error is not None


def test_while_stdin_is_open_silence_is_a_failure() -> None:
    outcome = converse([b"ask"], FOREVER, WAIT, connection=None)
    assert isinstance(outcome.error, TimedOut)


def test_a_stream_waits_for_no_answer() -> None:
    assert converse([b"ask", END], FOREVER, Ending(answer_wait=3.0)).seconds is None
