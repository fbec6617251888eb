"""The patience of a client's half-close, by rule 1, and the report of a peer that takes it for goodbye."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conversations import FOREVER, converse, trickle
from doubles import END
from expectations import expect
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Ending, Proxy
from pync.errors import TimedOut
from pync.events import EndedAtHalfClose
from pync.relay.patience import QUESTION, is_request

if TYPE_CHECKING:
    from conversations import Script

GET = b"GET / HTTP/1.0\r\n\r\n"


# How long the peer has to be silent


def test_an_unanswered_question_is_half_closed_after_half_a_second() -> None:
    assert converse([b"ask", 1.0, END], FOREVER).half_closed == [1.5]


@pytest.mark.parametrize(
    ("took", "silence"), [(0.0, 0.1), (0.0078125, 0.1), (0.03125, 0.3125), (0.0625, 0.5), (0.25, 0.5), (0.5, 0.5)]
)
def test_an_answered_one_after_ten_times_what_the_first_byte_took(took: float, silence: float) -> None:
    outcome = converse([b"ask", END], [took, b"a"])
    assert outcome.half_closed == [pytest.approx(took + silence)]


def test_every_byte_of_the_answer_begins_the_silence_again() -> None:
    outcome = converse([b"ask", END], [0.03125, b"a", 0.25, b"b", 0.25, b"c"])
    assert outcome.half_closed == [0.53125 + 0.3125]


def test_an_answer_that_came_before_the_end_of_stdin_counts_and_the_silence_begins_with_the_end() -> None:
    assert converse([b"ask", 7.0, END], [0.03125, b"a"]).half_closed == [7 + 0.3125]


def test_a_byte_that_came_before_ours_is_no_answer() -> None:
    assert converse([1.0, b"ask", END], [b"hello", 1.03125, b"a"]).half_closed == [1.03125 + 0.5]


def test_an_empty_stdin_asks_nothing_so_nothing_answers_it() -> None:
    assert converse([END], [0.0078125, b"a"]).half_closed == [0.5078125]


def test_the_end_of_the_peer_ends_the_patience() -> None:
    outcome = converse([b"ask", END], [0.25, b"a", 0.125, END])
    expect(outcome, received=b"a", half_closed=[0.375], seconds=0.375)


def test_a_peer_whose_bytes_stdout_has_not_taken_is_not_silent() -> None:
    assert converse([b"ask", END], [b"abc"], local_takes=[1, 5.0]).half_closed == [5.1]


def test_a_proxy_gets_the_half_second_whatever_has_come_and_gone() -> None:
    proxy = Proxy(kind="socks5", host="proxy", port=1080)
    assert converse([b"ask", END], [b"a"], proxy=proxy).half_closed == [0.5]
    assert converse([b"x" * (QUESTION + 1), END], FOREVER, proxy=proxy).half_closed == [0.5]
    assert converse([GET, END], [9.0, b"a"], proxy=proxy).half_closed == [14]


# Where there is no patience


def test_a_transfer_is_half_closed_at_once() -> None:
    size = QUESTION // 2
    assert converse([b"a" * size, b"b" * size, END], FOREVER).half_closed == [0.5]
    assert converse([b"a" * size, b"b" * size, b"c", END], FOREVER).half_closed == [0]


def test_at_once_is_at_once() -> None:
    assert converse([b"ask", 1.0, END], trickle(0.01, 500), Ending(at_once=True)).half_closed == [1]


def test_a_session_that_only_sends_half_closes_at_once() -> None:
    expect(converse([b"ask", 1.0, END], FOREVER, listens=False), half_closed=[1], seconds=1)


def test_a_listener_half_closes_at_once() -> None:
    assert converse([b"page", 1.0, END], trickle(0.01, 500), client=False).half_closed == [1]


def test_no_half_close_is_none_however_long_the_silence() -> None:
    assert converse([GET, END], [b"a", 100.0, b"b"], Ending(half_close=False)).half_closed == []


# HTTP


def test_a_request_waits_for_the_first_byte_of_the_answer_and_then_for_five_seconds() -> None:
    outcome = converse([GET, END], [900.0, b"HTTP/1.0 200 OK", 4.75, b"body", 100.0, b"more", END])
    expect(outcome, half_closed=[904.75 + 5], seconds=1004.75)


def test_a_request_whose_server_ends_costs_nothing() -> None:
    expect(converse([GET, END], [3.0, b"answer", END]), received=b"answer", half_closed=[3], seconds=3)


def test_a_long_request_is_waited_for_too() -> None:
    post = [b"POST / HTTP/1.1\r\n", *[b"x" * QUESTION] * 9, END]
    assert converse(post, [3.0, b"answer"]).half_closed == [8]


@pytest.mark.parametrize("pieces", [[b"GET / HT", b"TP/1.1\r", b"\n\r\n"], [bytes([byte]) for byte in GET]])
def test_a_request_is_known_however_it_comes(pieces: list[bytes]) -> None:
    assert converse([*pieces, 1.0, END], [2.0, b"answer"]).half_closed == [7]


@pytest.mark.parametrize(
    "line", [b"GET /\r\n", b"GET / HTTP/2.0\r\n", b"get / http/1.1\r\n", b"\n", b"", b"A B C\n", b" / HTTP/1.1"]
)
def test_other_lines_are_no_requests(line: bytes) -> None:
    assert not is_request(line)


# The idle limit


def test_the_idle_limit_bounds_the_patience_and_makes_no_failure_of_it() -> None:
    outcome = converse([b"ask", END], [1.0, b"answer", END], Ending(idle_timeout=0.375))
    expect(outcome, half_closed=[0.375])
    outcome = converse([GET, END], [1.0, b"answer", 3.0, END], Ending(idle_timeout=3.0))
    expect(outcome, half_closed=[4], received=b"answer", seconds=4, error=None)


def test_a_request_that_is_not_answered_within_the_idle_limit_has_failed() -> None:
    outcome = converse([GET, END], FOREVER, Ending(idle_timeout=2.0))
    assert isinstance(outcome.error, TimedOut)
    expect(outcome, half_closed=[])


def test_after_the_half_close_the_idle_limit_counts_anew() -> None:
    outcome = converse([b"ask", END], FOREVER, Ending(idle_timeout=2.0))
    assert isinstance(outcome.error, TimedOut)
    expect(outcome, half_closed=[0.5])
    assert outcome.seconds is not None
    assert 2.5 <= outcome.seconds <= 2.5 + 2 * 0.25


# The laws

Moment = st.integers(0, 64).map(lambda n: n / 32)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    script: list[object] = []
    for _ in range(draw(st.integers(0, 8))):
        script += [draw(Moment), b"."]
    return script  # type: ignore[return-value]


def moments(script: Script) -> list[float]:
    """When the bytes of a script come."""
    now, found = 0.0, []
    for item in script:
        if isinstance(item, float):
            now += item
        else:
            found.append(now)
    return found


def due(asked: float | None, end: float, arrivals: list[float], *, http: bool) -> float | None:
    """When the half-close has to come, by the sentences of the rule; None: never."""
    answers = [moment for moment in arrivals if asked is not None and arrivals[0] >= asked]
    known = end
    for moment in [*arrivals, float("inf")]:
        seen = [answer for answer in answers if answer < moment]
        silence = 0.5
        if http:
            silence = 5.0 if seen else float("inf")
        elif seen and asked is not None:
            silence = min(max(10 * (seen[0] - asked), 0.1), 0.5)
        if max(known, end) + silence < moment:
            return max(known, end) + silence
        known = moment
    return None


@given(st.booleans(), Moment, Moment, scripts())
def test_the_half_close_is_never_early_and_never_late(http: bool, asks: float, ends: float, peer: Script) -> None:
    outcome = converse([asks, GET if http else b"ask", ends, END], peer)
    arrivals = moments(peer)
    expected = due(asks, asks + ends, arrivals, http=http)
    if expected in arrivals:
        return  # what happens at the same moment may come in either order
    assert outcome.half_closed == pytest.approx([] if expected is None else [expected])


# The report


def test_a_peer_that_ends_at_our_half_close_with_nothing_more_is_reported() -> None:
    outcome = converse([b"SUBSCRIBE x", END], [b"subscribed", 0.25, END])
    assert [type(event) for event in outcome.reports] == [EndedAtHalfClose]
    outcome = converse([b"SUBSCRIBE x", END], [0.125, END], Ending(at_once=True))
    assert [type(event) for event in outcome.reports] == [EndedAtHalfClose]


@pytest.mark.parametrize("peer", [[0.75, END], [0.55, b"a", END], FOREVER, [0.25, END]])
def test_any_other_end_is_not(peer: Script) -> None:
    assert converse([b"ask", END], peer).reports == []


def test_nor_is_the_end_of_a_transfer() -> None:
    assert converse([b"x" * (QUESTION + 1), END], [0.1, END]).reports == []
