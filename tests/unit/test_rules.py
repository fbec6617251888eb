"""The rules of ending, one by one; `pync/relay/rules.py` numbers them."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from conversations import FOREVER, RESET, Connection, Ends, converse, serve, trickle
from doubles import END, a_context
from expectations import expect

from pync.config import Ending
from pync.endpoints import Peer
from pync.endpoints.child import TAKING
from pync.endpoints.stdio import Stdio
from pync.errors import InputError, OutputClosed, OutputError, PeerLost, TimedOut
from pync.loop.tasks import Condition
from pync.relay.rules import Conversation, Relay
from pync.sessions.program import ProgramRelay

if TYPE_CHECKING:
    from typing import Any

    from conversations import Script, Takes
    from doubles import Taken

    from pync.loop.kernel import Loop


DO_ECHO, WONT_ECHO = b"\xff\xfd\x01", b"\xff\xfc\x01"
DO_NAWS, WONT_NAWS = b"\xff\xfd\x1f", b"\xff\xfc\x1f"

# Rule 1: the end of stdin


def test_at_the_end_of_stdin_we_half_close_and_go_on_receiving() -> None:
    outcome = converse([b"ask", 1.0, END], [3.0, b"answer", 100.0, b"more", END])
    expect(outcome, sent=b"ask", half_closed=[1.5])
    expect(outcome, received=b"answermore", closed=[103])
    expect(outcome, seconds=103, error=None)


def test_the_half_close_comes_after_all_bytes_however_slowly_the_peer_takes_them() -> None:
    outcome = converse([b"abc", b"def", END], [END], peer_takes=[1, 5.0, 2, 5.0, 1])
    expect(outcome, sent=b"abcdef", half_closed=[10], seconds=10)


def test_without_half_close_the_peer_gets_none_and_its_end_is_waited_for() -> None:
    outcome = converse([b"ask", END], [9.0, b"answer", END], Ending(half_close=False))
    expect(outcome, sent=b"ask", half_closed=[], received=b"answer", seconds=9)


def test_a_peer_that_does_not_end_is_received_from_for_ever() -> None:
    assert converse([b"ask", END], [b"answer"]).seconds is None


def test_an_empty_stdin_half_closes_when_the_peer_has_been_silent_for_half_a_second() -> None:
    outcome = converse([END], [0.25, b"a", 0.25, b"b", 0.375, b"c", 2.0, b"d", END])
    assert outcome.half_closed == [0.875 + 0.5]
    expect(outcome, received=b"abcd", seconds=2.875)


def test_an_empty_stdin_half_closes_after_half_a_second_if_the_peer_never_sends() -> None:
    assert converse([END], FOREVER).half_closed == [0.5]


def test_the_silence_is_counted_from_the_end_of_an_empty_stdin_on() -> None:
    assert converse([3.0, END], FOREVER).half_closed == [3.5]


def test_a_peer_whose_bytes_stdout_does_not_take_yet_is_not_silent() -> None:
    outcome = converse([END], [b"abc", 0.125, b"d"], local_takes=[1, 5.0])
    assert outcome.half_closed == [5 + 0.125 + 0.5]


def test_bytes_that_a_delay_holds_back_are_no_silence() -> None:
    outcome = converse([END], [0.25, b"a", 0.25, b"b", END], delay=2)
    expect(outcome, received=b"ab", half_closed=[4.5], closed=[4.5])


def test_the_half_close_of_an_empty_stdin_comes_at_the_latest_when_the_peer_ends() -> None:
    outcome = converse([END], [0.25, b"a", 0.125, END])
    expect(outcome, half_closed=[0.375], closed=[0.375], seconds=0.375)


def test_an_empty_stdin_half_closes_at_once_if_asked_to() -> None:
    outcome = converse([END], [0.25, b"a", END], Ending(at_once=True))
    expect(outcome, half_closed=[0], seconds=0.25)


def test_one_byte_of_stdin_and_the_half_close_of_a_listener_does_not_wait() -> None:
    assert converse([b"x", 0.25, END], trickle(0.25, 8), client=False).half_closed == [0.25]


def test_an_answer_to_the_peers_negotiation_is_not_a_byte_of_stdin() -> None:
    outcome = converse([1.0, END], [b"login: " + DO_ECHO, 1.25, b"more"], telnet=True)
    assert outcome.sent == WONT_ECHO
    assert outcome.half_closed == [1.75], "stdin ended empty, so the peer's silence is waited for"


def test_with_send_only_we_half_close_and_leave_when_stdin_ends() -> None:
    outcome = converse([b"x", 1.0, END], [b"unwanted"], listens=False)
    expect(outcome, sent=b"x", half_closed=[1], seconds=1)
    outcome = converse([2.0, END], FOREVER, listens=False)
    # An empty stdin does not wait for a silence of the peer then.
    expect(outcome, half_closed=[2], seconds=2)


def test_with_send_only_and_no_half_close_we_just_leave_when_stdin_ends() -> None:
    outcome = converse([b"x", 1.0, END], FOREVER, Ending(half_close=False), listens=False)
    expect(outcome, sent=b"x", half_closed=[], seconds=1)


# quit_after


@pytest.mark.parametrize("quit_after", [0.0, 2.0])
def test_quit_after_leaves_so_long_after_the_end_of_stdin_whatever_the_peer_does(quit_after: float) -> None:
    outcome = converse([b"x", 1.0, END], trickle(0.3, 1000), Ending(quit_after=quit_after))
    expect(outcome, half_closed=[], seconds=1 + quit_after, error=None)


@pytest.mark.parametrize("stdin", [[END], [b"x", END]])
def test_quit_after_leaves_the_half_close_as_it_is(stdin: Script) -> None:
    outcome = converse(stdin, [0.25, b"."], Ending(quit_after=2.0))
    expect(outcome, half_closed=[0.75], seconds=2)
    outcome = converse(stdin, trickle(0.25, 1000), Ending(quit_after=2.0))
    expect(outcome, half_closed=[], seconds=2)
    assert outcome.received[:7] == b"......."


def test_quit_after_waits_no_longer_than_the_peer() -> None:
    assert converse([b"x", END], [1.0, END], Ending(quit_after=2.0)).seconds == 1


def test_quit_after_counts_from_when_the_last_byte_was_taken() -> None:
    assert converse([b"x", END], FOREVER, Ending(quit_after=2.0), peer_takes=[5.0]).seconds == 7


def test_quit_after_does_nothing_while_stdin_goes_on() -> None:
    assert converse([b"x"], [b"y"], Ending(quit_after=2.0)).seconds is None


def test_quit_after_leaves_even_when_stdout_takes_nothing() -> None:
    assert converse([b"x", END], [b"y"], Ending(quit_after=2.0), local_takes=[1000.0]).seconds == 2


# Rules 2 and 3: the end of the peer


def test_at_the_peers_end_stdout_is_closed_after_all_that_was_received() -> None:
    outcome = converse(FOREVER, [b"abc", END], local_takes=[1, 5.0, 1, 5.0])
    expect(outcome, received=b"abc", closed=[10])


def test_a_peer_that_had_sent_something_gets_what_stdin_yields_until_stdin_is_silent_for_half_a_second() -> None:
    stdin: Script = [0.25, b"a", 0.25, b"b", 0.375, b"c", 0.75, b"never", END]
    outcome = converse(stdin, [b"request", END])
    expect(outcome, sent=b"abc", closed=[0], seconds=0.875 + 0.5, error=None)


def test_the_silence_of_stdin_is_counted_from_the_peers_end_on() -> None:
    outcome = converse([1.25, b"a"], [b"request", 1.0, END])
    expect(outcome, sent=b"a", seconds=1.75)


def test_a_peer_that_takes_its_time_gets_all_that_was_read() -> None:
    outcome = converse([b"abc", 0.25, b"d", END], [b"request", END], peer_takes=[1, 60.0, 1, 60.0])
    expect(outcome, sent=b"abcd", half_closed=[120.25], seconds=120.25)


def test_lines_that_are_held_back_by_pacing_are_no_silence() -> None:
    outcome = converse([b"1\n2\n3\n", END], [b"request", END], pace=5)
    assert outcome.moments == [(0, b"1\n"), (5, b"2\n"), (10, b"3\n")]
    expect(outcome, half_closed=[10], seconds=10)


def test_a_peer_that_never_sent_a_byte_gets_all_until_stdin_ends() -> None:
    outcome = converse([*trickle(100.0, 3), END], [END])
    expect(outcome, sent=b"...", closed=[0], half_closed=[300], seconds=300)


def test_a_peer_that_sent_only_negotiation_has_sent_something() -> None:
    assert converse(FOREVER, [DO_ECHO, END], telnet=True).seconds == 0.5


def test_a_peer_that_only_receives_is_served_until_the_connection_closes() -> None:
    outcome = converse(trickle(1.0, 1000), [END], connection=[5.5, END])
    expect(outcome, sent=b".....", seconds=5.5, error=None)


@pytest.mark.parametrize("how", [{"terminal": True}, {"speaks": False}, {}])
@pytest.mark.parametrize("stdin", [[b"x"], [], [b"x", END], [b"x", InputError("reading stdin", "?")]])
def test_what_breaks_off_stdin_breaks_the_connection(stdin: Script, how: dict[str, bool]) -> None:
    outcome = converse(stdin, FOREVER, Ending(idle_timeout=8.0), **how)  # type: ignore[arg-type]
    broken_off = stdin != [b"x", END] and not how
    assert outcome.error
    expect(outcome.peer, aborted=broken_off)


def test_in_a_loop_of_stdin_and_stdout_all_of_stdin_is_sent_however_long_it_takes() -> None:
    outcome = converse([900.0, b"answer", END], [b"question", END], loops=True)
    expect(outcome, closed=[0], sent=b"answer", half_closed=[900], seconds=900)


def test_a_loop_ends_when_the_connection_is_closed() -> None:
    expect(converse(FOREVER, [b"question", END], connection=[5.0, END], loops=True), seconds=5, error=None)


def test_a_reset_is_an_error_also_while_the_connection_is_not_read() -> None:
    outcome = converse(FOREVER, [END], connection=[5.0, RESET])
    assert str(outcome.error) == str(RESET)
    assert outcome.seconds == 5


def test_both_ended_is_done() -> None:
    outcome = converse([1.0, b"a", END], [2.0, b"b", END])
    expect(outcome, half_closed=[1.5], closed=[2], seconds=2)
    outcome = converse([2.0, b"a", END], [1.0, END])
    expect(outcome, half_closed=[2], closed=[1], seconds=2)
    outcome = converse([b"a", END], [b"b", END])
    expect(outcome, sent=b"a", received=b"b", seconds=0)


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, b"x", END]])
def test_a_terminal_has_ended_once_the_peer_has(peer: Script) -> None:
    assert converse(FOREVER, peer, terminal=True).seconds == 1


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, b"x", END]])
def test_with_recv_only_stdin_is_never_read_and_has_ended_once_the_peer_has(peer: Script) -> None:
    outcome = converse([b"x", END], peer, speaks=False)
    expect(outcome, sent=b"", half_closed=[], seconds=1)


def test_with_recv_only_we_receive_as_long_as_the_peer_sends() -> None:
    assert converse(FOREVER, [b"x"], speaks=False).seconds is None


@pytest.mark.parametrize("stdin", [FOREVER, [b"a", END], [END], trickle(0.25, 100)])
def test_when_the_receive_limit_is_reached_we_leave(stdin: Script) -> None:
    outcome = converse(stdin, [1.0, b"one", 1.0, b"two", 1.0, b"three"], Ending(receive_limit=2))
    expect(outcome, received=b"onetwo", closed=[2], seconds=2, error=None)


def test_a_receive_limit_that_is_not_reached_changes_nothing() -> None:
    outcome = converse([0.25, b"a"], [b"one", END], Ending(receive_limit=2))
    expect(outcome, sent=b"a", seconds=0.75)


# Rule 4: datagrams


def test_a_client_leaves_when_it_was_answered_and_then_left_alone_for_half_a_second() -> None:
    outcome = converse([b"ask", END], [3.0, b"a", 0.25, b"b", 0.375, b"c", 0.75, b"late"], connection=None)
    expect(outcome, received=b"abc", seconds=3.625 + 0.5, error=None)


def test_a_client_that_is_not_answered_waits() -> None:
    assert converse([b"ask", END], FOREVER, connection=None).seconds is None


def test_an_empty_datagram_is_an_answer() -> None:
    outcome = converse([b"ask", END], [3.0, b""], connection=None)
    assert outcome.ends.local_sink.taken == [b""]
    assert outcome.seconds == 3.5


def test_a_client_that_was_answered_before_its_stdin_ended_is_left_alone_from_then_on() -> None:
    assert converse([b"ask", 9.0, END], [3.0, b"a"], connection=None).seconds == 9.5


def test_a_client_whose_stdin_goes_on_stays() -> None:
    assert converse([b"ask"], [3.0, b"a"], connection=None).seconds is None


def test_a_client_with_an_empty_stdin_does_not_wait_for_a_silence_first() -> None:
    outcome = converse([END], trickle(0.25, 4), connection=None)
    expect(outcome, half_closed=[0], seconds=1.5)


def test_a_delayed_answer_is_waited_for() -> None:
    outcome = converse([b"ask", END], [b"a", 0.25, b"b"], connection=None, delay=2)
    expect(outcome, received=b"ab", seconds=4.75)


def test_a_listener_stays() -> None:
    outcome = converse([b"said", END], [b"a", 1.0, b"b"], connection=None, client=False)
    expect(outcome, sent=b"said", received=b"ab", seconds=None)


@pytest.mark.parametrize("client", [True, False])
def test_quit_after_ends_both(client: bool) -> None:
    outcome = converse([b"ask", END], trickle(0.25, 1000), Ending(quit_after=2.0), connection=None, client=client)
    expect(outcome, seconds=2, error=None)


@pytest.mark.parametrize("client", [True, False])
def test_the_idle_limit_ends_both(client: bool) -> None:
    outcome = converse([b"ask", END], FOREVER, Ending(idle_timeout=8.0), connection=None, client=client)
    assert isinstance(outcome.error, TimedOut)


def test_an_answered_client_does_not_wait_for_its_limit() -> None:
    assert converse([b"ask", END], [b"a"], Ending(quit_after=9.0), connection=None).seconds == 0.5


def test_the_receive_limit_counts_datagrams_and_needs_no_end() -> None:
    assert converse([b"ask"], [1.0, b"a", 1.0, b"b"], Ending(receive_limit=2), connection=None).seconds == 2


# The idle limit


def test_the_idle_limit_strikes_when_nothing_was_sent_or_received_for_its_time() -> None:
    outcome = converse([1.0, b"a"], [2.0, b"b"], Ending(idle_timeout=8.0))
    assert isinstance(outcome.error, TimedOut)
    assert str(outcome.error) == "idle connection: nothing came or went for 8 s"
    assert outcome.seconds is not None
    assert 2 + 8 <= outcome.seconds <= 2 + 8 * 1.25
    expect(outcome, half_closed=[], closed=[])


@pytest.mark.parametrize("pause", [0.75, 4.0, 7.0, 7.5, 7.875])
@pytest.mark.parametrize("sender", ["stdin", "peer"])
def test_progress_that_trickles_keeps_the_idle_limit_away(sender: str, pause: float) -> None:
    script = trickle(pause, 40)
    stdin, peer = (script, FOREVER) if sender == "stdin" else (FOREVER, script)
    outcome = converse(stdin, peer, Ending(idle_timeout=8.0))
    assert outcome.sent + outcome.received == b"." * 40
    assert outcome.seconds is not None
    assert 40 * pause + 8 <= outcome.seconds <= 40 * pause + 8 * 1.25


def test_every_byte_that_a_slow_end_takes_is_progress() -> None:
    slowly: list[Taken] = [7.5, 1] * 4
    outcome = converse([b"....", END], FOREVER, Ending(idle_timeout=8.0), peer_takes=slowly)
    expect(outcome, sent=b"....", half_closed=[30.5])
    outcome = converse(FOREVER, [b"....", END], Ending(idle_timeout=8.0), local_takes=slowly)
    expect(outcome, received=b"....", closed=[30])


@pytest.mark.parametrize("sender", ["stdin", "peer"])
def test_an_empty_datagram_is_progress(sender: str) -> None:
    script: Script = [5.0, b""] * 8
    stdin, peer = (script, FOREVER) if sender == "stdin" else (FOREVER, script)
    outcome = converse(stdin, peer, Ending(idle_timeout=8.0), connection=None)
    assert outcome.seconds is not None
    assert 48 <= outcome.seconds <= 50


def test_a_peer_that_takes_nothing_is_idle() -> None:
    outcome = converse([b"a"], FOREVER, Ending(idle_timeout=8.0), peer_takes=[1000.0])
    assert isinstance(outcome.error, TimedOut)
    assert outcome.seconds is not None
    assert 8 <= outcome.seconds <= 10


def test_the_idle_limit_ends_with_the_conversation() -> None:
    outcome = converse([b"a", END], [1.0, END], Ending(idle_timeout=8.0))
    expect(outcome, seconds=1, error=None)


# Rule 6: errors


def test_a_reset_while_reading_is_raised_with_what_was_not_sent() -> None:
    outcome = converse([b"abcdef", b"gh"], [1.0, RESET], peer_takes=[2, 1000.0], file=True)
    assert isinstance(outcome.error, PeerLost)
    assert outcome.error.unsent == 6
    assert str(outcome.error) == "connection to x: Connection reset by peer, 6 bytes were not sent"
    expect(outcome, seconds=1, sent=b"ab", half_closed=[], closed=[])


def test_a_peer_that_breaks_while_it_is_written_to_is_raised_with_what_was_not_sent() -> None:
    broken = PeerLost("connection to x", "Broken pipe", unsent=3)
    outcome = converse([b"abcdef", b"gh"], FOREVER, peer_takes=[2, broken])
    assert isinstance(outcome.error, PeerLost)
    assert outcome.error.unsent == 4 + 3, "of the chunk, and of what the kernel had taken"


def test_what_was_received_before_the_connection_broke_reaches_stdout() -> None:
    outcome = converse(FOREVER, [b"abc", b"def", RESET], local_takes=[1, 3.0])
    expect(outcome, received=b"abcdef", seconds=3)
    assert isinstance(outcome.error, PeerLost)


def test_what_a_peer_sends_is_received_even_after_it_has_stopped_reading() -> None:
    outcome = converse([b"a long upload"], [0.25, b"413 ", 0.375, b"too long", 0.25, END], peer_takes=[2, RESET])
    expect(outcome, received=b"413 too long", closed=[0.875], half_closed=[], seconds=0.875)
    assert isinstance(outcome.error, PeerLost)
    assert outcome.error.unsent == 11


def test_receiving_from_a_broken_peer_ends_with_half_a_second_of_silence() -> None:
    outcome = converse([b"a long upload"], [0.25, b"413", 0.75, b"never"], peer_takes=[RESET])
    expect(outcome, received=b"413", seconds=0.75)
    assert isinstance(outcome.error, PeerLost)


def test_with_send_only_or_datagrams_a_broken_peer_is_an_error_at_once() -> None:
    assert converse([b"a"], [0.25, b"b"], peer_takes=[RESET], listens=False).seconds == 0
    assert converse([b"a"], [0.25, b"b"], peer_takes=[RESET], connection=None).seconds == 0


@pytest.mark.parametrize(
    ("stdin", "local_takes", "error"),
    [
        ([b"a", 2.0, InputError("reading stdin", "Input/output error")], [], InputError),
        ([b"a"], [2.0, OutputError("writing stdout", "No space left on device")], OutputError),
        ([b"a"], [2.0, OutputClosed("writing stdout", "Broken pipe")], OutputClosed),
    ],
)
def test_an_error_of_our_own_ends_the_conversation_as_it_is(
    stdin: Script, local_takes: Takes, error: type[Exception]
) -> None:
    outcome = converse(stdin, [b"b"], local_takes=local_takes)
    assert type(outcome.error) is error
    expect(outcome, seconds=2, half_closed=[], closed=[])


def test_an_error_after_the_end_of_the_other_half_is_raised_too() -> None:
    assert isinstance(converse([END], [2.0, RESET]).error, PeerLost)
    assert isinstance(converse([b"a", END], [2.0, RESET]).error, PeerLost)
    assert isinstance(converse([2.0, b"a"], [END], peer_takes=[RESET]).error, PeerLost)
    assert isinstance(converse([0.25, b"a"], [b"b", END], peer_takes=[RESET]).error, PeerLost)
    assert isinstance(converse([b"ask", END], [b"a", 0.25, RESET], connection=None).error, PeerLost)
    assert isinstance(converse([2.0, InputError("reading stdin", "?")], [END]).error, InputError)


# When it is over


class Endless(Peer):
    """What never ends. `watchers` counts the tasks that wait for its end."""

    has_eof = True

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.watchers = 0

    async def wait_closed(self) -> None:
        self.watchers += 1
        try:
            await self.loop.wait(Condition())
        finally:
            self.watchers -= 1

    def close(self) -> None:
        pass


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, b"x", END], [1.0, RESET], [1.0, b"x", RESET]])
@pytest.mark.parametrize("stdin", [[b"a", END], [3.0, b"a", END], [3.0, b"a", RESET], [3.0, END]])
async def test_when_a_conversation_is_over_nothing_of_it_goes_on(loop: Loop, stdin: Script, peer: Script) -> None:
    ends, life = Ends(loop, stdin, peer, Ending(idle_timeout=100.0)), Endless(loop)
    stdio = Stdio(ends.local_source, ends.local_sink)
    context = a_context(loop, ending=Ending(idle_timeout=100.0))
    relay = Conversation(context, life, stdio, ends.flows)
    await check_nothing_goes_on(loop, relay, ends, life)


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, RESET]])
@pytest.mark.parametrize("output", [[b"a", END], [b"a", 3.0, END], [b"a", 3.0, RESET]])
async def test_when_a_programs_session_is_over_nothing_of_it_goes_on(loop: Loop, output: Script, peer: Script) -> None:
    ends, life = Ends(loop, output, peer, Ending()), Endless(loop)
    process: Any = SimpleNamespace(ended=life.wait_closed)
    relay = ProgramRelay(a_context(loop), Connection(loop, None), process, ends.flows)
    await check_nothing_goes_on(loop, relay, ends, life)


async def check_nothing_goes_on(loop: Loop, relay: Relay, ends: Ends, life: Endless) -> None:
    with suppress(PeerLost):
        await relay.run()
    before = ends.histories()
    ends.local_source.put(b"late")
    ends.peer_source.put(b"late")
    await loop.sleep(1000)
    assert ends.histories() == before
    assert life.watchers == 0


# TELNET answers


def test_answers_are_sent_in_between_and_whole_and_not_escaped() -> None:
    outcome = converse(
        [b"abc", 5.0, b"\xff", END], [1.0, b"x" + DO_ECHO + b"y", 9.0, END], peer_takes=[1, 2.0], telnet=True
    )
    assert outcome.moments == [(0, b"a"), (2, b"bc"), (2, WONT_ECHO), (7, b"\xff\xff")]
    assert outcome.received == b"xy"


def test_an_answer_goes_out_even_when_the_one_before_was_refused_for_a_while() -> None:
    outcome = converse(FOREVER, [DO_ECHO, 1.0, DO_NAWS], peer_takes=[1, 5.0], telnet=True)
    assert outcome.moments == [(0, WONT_ECHO[:1]), (5, WONT_ECHO[1:]), (5, WONT_NAWS)]


def test_a_half_close_waits_for_the_answer_that_is_being_sent() -> None:
    outcome = converse([0.25, b"a", 0.25, END], [DO_ECHO, END], peer_takes=[1, 5.0], telnet=True)
    expect(outcome, sent=WONT_ECHO + b"a", half_closed=[5.25], seconds=5.25)


def test_after_our_half_close_the_peers_requests_stay_unanswered() -> None:
    outcome = converse([b"a", END], [1.0, DO_ECHO, 1.0, b"x" + DO_NAWS, END], telnet=True)
    expect(outcome, sent=b"a", received=b"x", half_closed=[0.5])
    expect(outcome, seconds=2, error=None)


MANY = DO_ECHO * 20_000  # their answers are nearly 64 KB


def test_a_peer_that_takes_no_answers_is_not_read_while_64_kib_of_them_wait() -> None:
    outcome = converse(FOREVER, [MANY] * 9 + [b"x", END], peer_takes=[1, 5.0], telnet=True)
    taken = [moment - 1000 for moment, data in outcome.ends.peer_source.history if data == MANY]
    assert taken == [0] * 2 + [5] * 7
    expect(outcome, sent=WONT_ECHO * 9 * 20_000, received=b"x")


def test_a_program_does_not_read_such_a_peer_either() -> None:
    outcome = serve(FOREVER, [MANY] * 9 + [END], FOREVER, peer_takes=[1, 5.0], telnet=True)
    assert [moment - 1000 for moment, data in outcome.ends.peer_source.history] == [0] * 2 + [5] * 8


def test_a_peer_whose_answers_are_not_sent_any_more_is_read() -> None:
    outcome = converse([END], [1.0] + [MANY] * 9 + [b"x", END], telnet=True)
    expect(outcome, sent=b"", received=b"x", half_closed=[0.5], seconds=1)


# Rule 5: a program


def test_a_session_is_over_when_the_output_and_the_program_have_ended() -> None:
    outcome = serve([b"answer", 1.0, END], FOREVER, [2.0, END])
    expect(outcome, sent=b"answer", half_closed=[1], seconds=2, error=None)


def test_a_session_is_over_when_the_output_and_the_peers_half_have_ended() -> None:
    outcome = serve([b"answer", 1.0, END], [b"ask", 3.0, END], FOREVER)
    expect(outcome, received=b"ask", closed=[3], half_closed=[1], seconds=3)


def test_a_session_goes_on_while_a_program_that_has_closed_its_output_reads() -> None:
    outcome = serve([END], trickle(1.0, 5), FOREVER)
    expect(outcome, received=b".....", half_closed=[0], seconds=None)


def test_a_session_goes_on_while_the_output_of_a_program_that_has_ended_is_held_open() -> None:
    outcome = serve(trickle(1.0, 5), FOREVER, [END])
    expect(outcome, sent=b".....", seconds=None)


def test_the_peers_end_is_the_programs_end_of_file_and_its_answer_is_waited_for() -> None:
    outcome = serve([60.0, b"answer", END], [b"ask", 1.0, END], FOREVER)
    expect(outcome, closed=[1], sent=b"answer", half_closed=[60], seconds=60)


def test_no_silence_ends_a_program() -> None:
    assert serve(FOREVER, [b"ask", END], FOREVER).seconds is None


def test_a_reset_by_the_peer_ends_a_programs_session() -> None:
    outcome = serve([b"abcdef"], FOREVER, FOREVER, peer_takes=[2, RESET])
    assert isinstance(outcome.error, PeerLost)
    assert outcome.error.unsent == 4
    for output in (FOREVER, [END]):
        assert isinstance(serve(output, [3.0, RESET], FOREVER).error, PeerLost)


def test_a_reset_is_noticed_while_the_program_does_not_read() -> None:
    outcome = serve(FOREVER, [b"unread"], FOREVER, connection=[2.0, RESET], local_takes=[1000.0])
    assert isinstance(outcome.error, PeerLost)
    assert outcome.seconds == pytest.approx(2 + TAKING)


def test_what_came_before_a_reset_reaches_a_program_and_no_end_of_file_follows() -> None:
    """The kernel reports a reset once: to the task that watches here, and reading finds a mere end."""
    upload: Script = [b"a", 2.0, b"b", TAKING / 2, b"c", TAKING / 2, END]
    outcome = serve(FOREVER, upload, FOREVER, connection=[2.0, RESET])
    assert isinstance(outcome.error, PeerLost)
    expect(outcome, received=b"abc", closed=[])


def test_a_programs_datagrams_are_relayed_by_the_same_rule() -> None:
    outcome = serve([b"answer", 1.0, END], FOREVER, [2.0, END], connection=None)
    expect(outcome, sent=b"answer", seconds=2, error=None)


def test_a_programs_session_has_an_idle_limit_too() -> None:
    outcome = serve([1.0, b"a"], [2.0, b"b"], FOREVER, Ending(idle_timeout=8.0))
    assert isinstance(outcome.error, TimedOut)
    assert outcome.seconds is not None
    assert 10 <= outcome.seconds <= 12


def test_a_programs_peer_may_negotiate() -> None:
    outcome = serve([1.0, b"hi", END], [DO_ECHO + b"ask", END], FOREVER, telnet=True)
    expect(outcome, sent=WONT_ECHO + b"hi", received=b"ask", seconds=1)
