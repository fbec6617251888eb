"""The rules of ending, one by one; `pync/relay/rules.py` numbers them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from conversations import FOREVER, RESET, Ends, converse, serve, trickle
from doubles import END

from pync.config import Ending
from pync.errors import InputError, OutputClosed, OutputError, PeerLost, TimedOut
from pync.loop.tasks import Condition
from pync.relay.rules import Conversation, ProgramRelay, Relay

if TYPE_CHECKING:
    from conversations import Room, Said
    from doubles import Taken

    from pync.loop.kernel import Loop


DO_ECHO, WONT_ECHO = b"\xff\xfd\x01", b"\xff\xfc\x01"
DO_NAWS, WONT_NAWS = b"\xff\xfd\x1f", b"\xff\xfc\x1f"

# Rule 1: the end of stdin


def test_at_the_end_of_stdin_we_half_close_and_go_on_receiving() -> None:
    over = converse([b"ask", 1.0, END], [3.0, b"answer", 100.0, b"more", END])
    assert (over.sent, over.half_closed) == (b"ask", [1])
    assert (over.shown, over.closed) == (b"answermore", [103])
    assert (over.seconds, over.error) == (103, None)


def test_the_half_close_comes_after_all_bytes_however_slowly_the_peer_takes_them() -> None:
    over = converse([b"abc", b"def", END], [END], sent=[1, 5.0, 2, 5.0, 1])
    assert (over.sent, over.half_closed, over.seconds) == (b"abcdef", [10], 10)


def test_without_half_close_the_peer_gets_none_and_its_end_is_waited_for() -> None:
    over = converse([b"ask", END], [9.0, b"answer", END], Ending(half_close=False))
    assert (over.sent, over.half_closed, over.shown, over.seconds) == (b"ask", [], b"answer", 9)


def test_a_peer_that_does_not_end_is_listened_to_for_ever() -> None:
    assert converse([b"ask", END], [b"answer"]).seconds is None


def test_an_empty_stdin_half_closes_when_the_peer_has_been_silent_for_half_a_second() -> None:
    over = converse([END], [0.25, b"a", 0.25, b"b", 0.375, b"c", 2.0, b"d", END])
    assert over.half_closed == [0.875 + 0.5]
    assert (over.shown, over.seconds) == (b"abcd", 2.875)


def test_an_empty_stdin_half_closes_after_half_a_second_if_the_peer_never_says_a_word() -> None:
    assert converse([END], FOREVER).half_closed == [0.5]


def test_the_silence_is_counted_from_the_end_of_an_empty_stdin_on() -> None:
    assert converse([3.0, END], FOREVER).half_closed == [3.5]


def test_a_peer_whose_words_stdout_does_not_take_yet_is_not_silent() -> None:
    over = converse([END], [b"abc", 0.125, b"d"], shown=[1, 5.0])
    assert over.half_closed == [5 + 0.125 + 0.5]


def test_words_that_a_delay_holds_back_are_no_silence() -> None:
    over = converse([END], [0.25, b"a", 0.25, b"b", END], delay=2)
    assert (over.shown, over.half_closed, over.closed) == (b"ab", [4.5], [4.5])


def test_the_half_close_of_an_empty_stdin_is_owed_at_the_latest_when_the_peer_ends() -> None:
    over = converse([END], [0.25, b"a", 0.125, END])
    assert (over.half_closed, over.closed, over.seconds) == ([0.375], [0.375], 0.375)


def test_an_empty_stdin_half_closes_at_once_if_asked_to() -> None:
    over = converse([END], [0.25, b"a", END], Ending(at_once=True))
    assert (over.half_closed, over.seconds) == ([0], 0.25)


@pytest.mark.parametrize("ending", [Ending(), Ending(at_once=True)])
def test_one_byte_of_stdin_and_the_half_close_does_not_wait(ending: Ending) -> None:
    assert converse([b"x", 0.25, END], trickle(0.25, 8), ending).half_closed == [0.25]


def test_an_answer_to_the_peers_negotiation_is_not_a_byte_of_stdin() -> None:
    over = converse([1.0, END], [b"login: " + DO_ECHO, 1.25, b"more"], telnet=True)
    assert over.sent == WONT_ECHO
    assert over.half_closed == [1.75], "stdin ended empty, so the peer's silence is waited for"


def test_who_only_sends_half_closes_and_leaves_when_stdin_ends() -> None:
    over = converse([b"x", 1.0, END], [b"unwanted"], listens=False)
    assert (over.sent, over.half_closed, over.seconds) == (b"x", [1], 1)
    over = converse([2.0, END], FOREVER, listens=False)
    assert (over.half_closed, over.seconds) == ([2], 2), "an empty stdin waits for nobody's silence then"


def test_who_only_sends_leaves_without_half_close_if_asked_to() -> None:
    over = converse([b"x", 1.0, END], FOREVER, Ending(half_close=False), listens=False)
    assert (over.sent, over.half_closed, over.seconds) == (b"x", [], 1)


# quit_after


@pytest.mark.parametrize("quit_after", [0.0, 2.0])
def test_quit_after_leaves_so_long_after_the_end_of_stdin_whatever_the_peer_does(quit_after: float) -> None:
    over = converse([b"x", 1.0, END], trickle(0.3, 1000), Ending(quit_after=quit_after))
    assert (over.half_closed, over.seconds, over.error) == ([1], 1 + quit_after, None)


def test_quit_after_half_closes_an_empty_stdin_at_once() -> None:
    over = converse([END], trickle(0.25, 1000), Ending(quit_after=2.0))
    assert (over.half_closed, over.seconds) == ([0], 2)
    assert over.shown[:7] == b"......."


def test_quit_after_waits_no_longer_than_the_peer() -> None:
    assert converse([b"x", END], [1.0, END], Ending(quit_after=2.0)).seconds == 1


def test_quit_after_counts_from_when_the_last_byte_was_taken() -> None:
    assert converse([b"x", END], FOREVER, Ending(quit_after=2.0), sent=[5.0]).seconds == 7


def test_quit_after_says_nothing_of_a_stdin_that_goes_on() -> None:
    assert converse([b"x"], [b"y"], Ending(quit_after=2.0)).seconds is None


def test_quit_after_leaves_even_when_stdout_takes_nothing() -> None:
    assert converse([b"x", END], [b"y"], Ending(quit_after=2.0), shown=[1000.0]).seconds == 2


# Rules 2 and 3: the end of the peer


def test_at_the_peers_end_stdout_is_closed_after_all_that_was_received() -> None:
    over = converse(FOREVER, [b"abc", END], shown=[1, 5.0, 1, 5.0])
    assert (over.shown, over.closed) == (b"abc", [10])


def test_a_peer_that_had_spoken_gets_what_stdin_yields_until_it_is_silent_for_half_a_second() -> None:
    stdin: Said = [0.25, b"a", 0.25, b"b", 0.375, b"c", 0.75, b"never", END]
    over = converse(stdin, [b"request", END])
    assert (over.sent, over.closed, over.seconds, over.error) == (b"abc", [0], 0.875 + 0.5, None)


def test_the_silence_of_stdin_is_counted_from_the_peers_end_on() -> None:
    over = converse([1.25, b"a"], [b"request", 1.0, END])
    assert (over.sent, over.seconds) == (b"a", 1.75)


def test_a_peer_that_takes_its_time_gets_all_that_was_read() -> None:
    over = converse([b"abc", 0.25, b"d", END], [b"request", END], sent=[1, 60.0, 1, 60.0])
    assert (over.sent, over.half_closed, over.seconds) == (b"abcd", [120.25], 120.25)


def test_lines_that_are_held_back_by_pacing_are_no_silence() -> None:
    over = converse([b"1\n2\n3\n", END], [b"request", END], pace=5)
    assert over.moments == [(0, b"1\n"), (5, b"2\n"), (10, b"3\n")]
    assert (over.half_closed, over.seconds) == ([10], 10)


def test_a_peer_that_never_sent_a_byte_only_listens_and_gets_all_until_stdin_ends() -> None:
    over = converse([*trickle(100.0, 3), END], [END])
    assert (over.sent, over.closed, over.half_closed, over.seconds) == (b"...", [0], [300], 300)


def test_a_peer_that_sent_only_negotiation_has_sent_something() -> None:
    assert converse(FOREVER, [DO_ECHO, END], telnet=True).seconds == 0.5


def test_a_peer_that_only_listens_is_served_until_the_connection_is_gone() -> None:
    over = converse(trickle(1.0, 1000), [END], gone=[5.5, END])
    assert (over.sent, over.seconds, over.error) == (b".....", 5.5, None)


def test_a_connection_that_is_reset_while_nobody_reads_it_is_lost() -> None:
    over = converse(FOREVER, [END], gone=[5.0, RESET])
    assert (over.seconds, str(over.error)) == (5, str(RESET))


def test_both_ended_is_done() -> None:
    over = converse([1.0, b"a", END], [2.0, b"b", END])
    assert (over.half_closed, over.closed, over.seconds) == ([1], [2], 2)
    over = converse([2.0, b"a", END], [1.0, END])
    assert (over.half_closed, over.closed, over.seconds) == ([2], [1], 2)
    over = converse([b"a", END], [b"b", END])
    assert (over.sent, over.shown, over.seconds) == (b"a", b"b", 0)


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, b"x", END]])
def test_a_terminal_has_ended_once_the_peer_has(peer: Said) -> None:
    assert converse(FOREVER, peer, terminal=True).seconds == 1


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, b"x", END]])
def test_a_stdin_that_is_not_read_has_ended_once_the_peer_has_and_is_never_read(peer: Said) -> None:
    over = converse([b"x", END], peer, speaks=False)
    assert (over.sent, over.half_closed, over.seconds) == (b"", [], 1)


def test_who_does_not_read_stdin_receives_as_long_as_the_peer_sends() -> None:
    assert converse(FOREVER, [b"x"], speaks=False).seconds is None


@pytest.mark.parametrize("stdin", [FOREVER, [b"a", END], [END], trickle(0.25, 100)])
def test_after_so_many_reads_from_the_peer_we_leave(stdin: Said) -> None:
    over = converse(stdin, [1.0, b"one", 1.0, b"two", 1.0, b"three"], Ending(receive_limit=2))
    assert (over.shown, over.closed, over.seconds, over.error) == (b"onetwo", [2], 2, None)


def test_a_read_limit_that_is_not_reached_changes_nothing() -> None:
    over = converse([0.25, b"a"], [b"one", END], Ending(receive_limit=2))
    assert (over.sent, over.seconds) == (b"a", 0.75)


# Rule 4: datagrams


def test_a_client_leaves_when_it_was_answered_and_then_left_alone_for_half_a_second() -> None:
    over = converse([b"ask", END], [3.0, b"a", 0.25, b"b", 0.375, b"c", 0.75, b"late"], gone=None)
    assert (over.shown, over.seconds, over.error) == (b"abc", 3.625 + 0.5, None)


def test_a_client_that_is_not_answered_waits() -> None:
    assert converse([b"ask", END], FOREVER, gone=None).seconds is None


def test_an_empty_datagram_is_an_answer() -> None:
    over = converse([b"ask", END], [3.0, b""], gone=None)
    assert (over.ends.shown.taken, over.seconds) == ([b""], 3.5)


def test_a_client_that_was_answered_before_its_stdin_ended_is_left_alone_from_then_on() -> None:
    assert converse([b"ask", 9.0, END], [3.0, b"a"], gone=None).seconds == 9.5


def test_a_client_whose_stdin_goes_on_stays() -> None:
    assert converse([b"ask"], [3.0, b"a"], gone=None).seconds is None


def test_a_client_with_an_empty_stdin_owes_nobody_a_silence() -> None:
    over = converse([END], trickle(0.25, 4), gone=None)
    assert (over.half_closed, over.seconds) == ([0], 1.5)


def test_a_delayed_answer_is_waited_for() -> None:
    over = converse([b"ask", END], [b"a", 0.25, b"b"], gone=None, delay=2)
    assert (over.shown, over.seconds) == (b"ab", 4.75)


def test_a_listener_stays() -> None:
    over = converse([b"said", END], [b"a", 1.0, b"b"], gone=None, client=False)
    assert (over.sent, over.shown, over.seconds) == (b"said", b"ab", None)


@pytest.mark.parametrize("client", [True, False])
def test_quit_after_ends_both(client: bool) -> None:
    over = converse([b"ask", END], trickle(0.25, 1000), Ending(quit_after=2.0), gone=None, client=client)
    assert (over.seconds, over.error) == (2, None)


@pytest.mark.parametrize("client", [True, False])
def test_the_idle_limit_ends_both(client: bool) -> None:
    over = converse([b"ask", END], FOREVER, Ending(idle_timeout=8.0), gone=None, client=client)
    assert isinstance(over.error, TimedOut)


def test_an_answered_client_does_not_wait_for_its_limit() -> None:
    assert converse([b"ask", END], [b"a"], Ending(quit_after=9.0), gone=None).seconds == 0.5


def test_so_many_datagrams_are_enough_without_an_end() -> None:
    assert converse([b"ask"], [1.0, b"a", 1.0, b"b"], Ending(receive_limit=2), gone=None).seconds == 2


# The idle limit


def test_the_idle_limit_strikes_when_nothing_has_come_or_gone_for_so_long() -> None:
    over = converse([1.0, b"a"], [2.0, b"b"], Ending(idle_timeout=8.0))
    assert isinstance(over.error, TimedOut)
    assert str(over.error) == "idle connection: nothing came or went for 8 s"
    assert over.seconds is not None
    assert 2 + 8 <= over.seconds <= 2 + 8 * 1.25
    assert (over.half_closed, over.closed) == ([], [])


@pytest.mark.parametrize("pause", [0.75, 4.0, 7.0, 7.5, 7.875])
@pytest.mark.parametrize("who", ["stdin", "peer"])
def test_progress_that_trickles_keeps_the_idle_limit_away(who: str, pause: float) -> None:
    script = trickle(pause, 40)
    stdin, peer = (script, FOREVER) if who == "stdin" else (FOREVER, script)
    over = converse(stdin, peer, Ending(idle_timeout=8.0))
    assert over.sent + over.shown == b"." * 40
    assert over.seconds is not None
    assert 40 * pause + 8 <= over.seconds <= 40 * pause + 8 * 1.25


def test_every_byte_that_a_slow_end_takes_is_progress() -> None:
    slowly: list[Taken] = [7.5, 1] * 4
    over = converse([b"....", END], FOREVER, Ending(idle_timeout=8.0), sent=slowly)
    assert (over.sent, over.half_closed) == (b"....", [30])
    over = converse(FOREVER, [b"....", END], Ending(idle_timeout=8.0), shown=slowly)
    assert (over.shown, over.closed) == (b"....", [30])


@pytest.mark.parametrize("who", ["stdin", "peer"])
def test_an_empty_datagram_is_progress(who: str) -> None:
    script: Said = [5.0, b""] * 8
    stdin, peer = (script, FOREVER) if who == "stdin" else (FOREVER, script)
    over = converse(stdin, peer, Ending(idle_timeout=8.0), gone=None)
    assert over.seconds is not None
    assert 48 <= over.seconds <= 50


def test_a_peer_that_takes_nothing_is_idle() -> None:
    over = converse([b"a"], FOREVER, Ending(idle_timeout=8.0), sent=[1000.0])
    assert isinstance(over.error, TimedOut)
    assert over.seconds is not None
    assert 8 <= over.seconds <= 10


def test_the_idle_limit_is_gone_with_the_conversation() -> None:
    over = converse([b"a", END], [1.0, END], Ending(idle_timeout=8.0))
    assert (over.seconds, over.error) == (1, None)


# Rule 6: errors


def test_a_reset_while_reading_is_raised_with_what_was_not_sent() -> None:
    over = converse([b"abcdef", b"gh"], [1.0, RESET], sent=[2, 1000.0], file=True)
    assert isinstance(over.error, PeerLost)
    assert over.error.unsent == 6
    assert str(over.error) == "connection to x: Connection reset by peer, 6 bytes were not sent"
    assert (over.seconds, over.sent, over.half_closed, over.closed) == (1, b"ab", [], [])


def test_a_peer_that_breaks_while_it_is_written_to_is_raised_with_what_was_not_sent() -> None:
    broken = PeerLost("connection to x", "Broken pipe", unsent=3)
    over = converse([b"abcdef", b"gh"], FOREVER, sent=[2, broken])
    assert isinstance(over.error, PeerLost)
    assert over.error.unsent == 4 + 3, "of the chunk, and of what the kernel had taken"


def test_what_was_received_before_the_connection_broke_is_shown() -> None:
    over = converse(FOREVER, [b"abc", b"def", RESET], shown=[1, 3.0])
    assert (over.shown, over.seconds) == (b"abcdef", 3)
    assert isinstance(over.error, PeerLost)


def test_a_peer_that_takes_nothing_any_more_is_heard_out_before_it_is_given_up() -> None:
    over = converse([b"a long upload"], [0.25, b"413 ", 0.375, b"too long", 0.25, END], sent=[2, RESET])
    assert (over.shown, over.closed, over.half_closed, over.seconds) == (b"413 too long", [0.875], [], 0.875)
    assert isinstance(over.error, PeerLost)
    assert over.error.unsent == 11


def test_hearing_out_ends_with_half_a_second_of_silence() -> None:
    over = converse([b"a long upload"], [0.25, b"413", 0.75, b"never"], sent=[RESET])
    assert (over.shown, over.seconds) == (b"413", 0.75)
    assert isinstance(over.error, PeerLost)


def test_who_does_not_listen_hears_nobody_out_and_datagrams_have_no_more_to_tell() -> None:
    assert converse([b"a"], [0.25, b"b"], sent=[RESET], listens=False).seconds == 0
    assert converse([b"a"], [0.25, b"b"], sent=[RESET], gone=None).seconds == 0


@pytest.mark.parametrize(
    ("stdin", "shown", "error"),
    [
        ([b"a", 2.0, InputError("reading stdin", "Input/output error")], [], InputError),
        ([b"a"], [2.0, OutputError("writing stdout", "No space left on device")], OutputError),
        ([b"a"], [2.0, OutputClosed("writing stdout", "Broken pipe")], OutputClosed),
    ],
)
def test_an_error_of_our_own_ends_the_conversation_as_it_is(stdin: Said, shown: Room, error: type[Exception]) -> None:
    over = converse(stdin, [b"b"], shown=shown)
    assert type(over.error) is error
    assert (over.seconds, over.half_closed, over.closed) == (2, [], [])


def test_an_error_after_the_end_of_the_other_half_is_raised_too() -> None:
    assert isinstance(converse([END], [2.0, RESET]).error, PeerLost)
    assert isinstance(converse([b"a", END], [2.0, RESET]).error, PeerLost)
    assert isinstance(converse([2.0, b"a"], [END], sent=[RESET]).error, PeerLost)
    assert isinstance(converse([0.25, b"a"], [b"b", END], sent=[RESET]).error, PeerLost)
    assert isinstance(converse([b"ask", END], [b"a", 0.25, RESET], gone=None).error, PeerLost)
    assert isinstance(converse([2.0, InputError("reading stdin", "?")], [END]).error, InputError)


# When it is over


class Life:
    """Waits for ever, and knows whether somebody waits with it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.watched = 0

    async def end(self) -> None:
        self.watched += 1
        try:
            await self.loop.wait(Condition())
        finally:
            self.watched -= 1


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, b"x", END], [1.0, RESET], [1.0, b"x", RESET]])
@pytest.mark.parametrize("stdin", [[b"a", END], [3.0, b"a", END], [3.0, b"a", RESET], [3.0, END]])
async def test_when_a_conversation_is_over_nothing_of_it_goes_on(loop: Loop, stdin: Said, peer: Said) -> None:
    ends, life = Ends(loop, stdin, peer, Ending(idle_timeout=100.0)), Life(loop)
    relay = Conversation(loop, ends.sending, ends.receiving, Ending(idle_timeout=100.0), gone=life.end)
    await check_nothing_goes_on(loop, relay, ends, life)


@pytest.mark.parametrize("peer", [[1.0, END], [1.0, RESET]])
@pytest.mark.parametrize("output", [[b"a", END], [b"a", 3.0, END], [b"a", 3.0, RESET]])
async def test_when_a_program_s_session_is_over_nothing_of_it_goes_on(loop: Loop, output: Said, peer: Said) -> None:
    ends, life = Ends(loop, output, peer, Ending()), Life(loop)
    await check_nothing_goes_on(
        loop, ProgramRelay(loop, ends.sending, ends.receiving, Ending(), program_ended=life.end), ends, life
    )


async def check_nothing_goes_on(loop: Loop, relay: Relay, ends: Ends, life: Life) -> None:
    with suppress(PeerLost):
        await relay.run()
    histories = [len(end.history) for end in (ends.said, ends.heard, ends.sent, ends.shown)]
    ends.said.put(b"late")
    ends.heard.put(b"late")
    await loop.sleep(1000)
    assert histories == [len(end.history) for end in (ends.said, ends.heard, ends.sent, ends.shown)]
    assert life.watched == 0


# TELNET answers


def test_answers_are_sent_in_between_and_whole_and_not_escaped() -> None:
    over = converse([b"abc", 5.0, b"\xff", END], [1.0, b"x" + DO_ECHO + b"y", 9.0, END], sent=[1, 2.0], telnet=True)
    assert over.moments == [(0, b"a"), (2, b"bc"), (2, WONT_ECHO), (7, b"\xff\xff")]
    assert over.shown == b"xy"


def test_an_answer_goes_out_even_when_the_one_before_was_refused_for_a_while() -> None:
    over = converse(FOREVER, [DO_ECHO, 1.0, DO_NAWS], sent=[1, 5.0], telnet=True)
    assert over.moments == [(0, WONT_ECHO[:1]), (5, WONT_ECHO[1:]), (5, WONT_NAWS)]


def test_a_half_close_waits_for_the_answer_that_is_being_sent() -> None:
    over = converse([0.25, b"a", 0.25, END], [DO_ECHO, END], sent=[1, 5.0], telnet=True)
    assert (over.sent, over.half_closed, over.seconds) == (WONT_ECHO + b"a", [5.25], 5.25)


def test_after_our_half_close_the_peers_requests_stay_unanswered() -> None:
    over = converse([b"a", END], [1.0, DO_ECHO, 1.0, b"x" + DO_NAWS, END], telnet=True)
    assert (over.sent, over.shown, over.half_closed) == (b"a", b"x", [0])
    assert (over.seconds, over.error) == (2, None)


# Rule 5: a program


def test_a_session_is_over_when_the_output_has_ended_and_the_program_is_gone() -> None:
    over = serve([b"answer", 1.0, END], FOREVER, [2.0, END])
    assert (over.sent, over.half_closed, over.seconds, over.error) == (b"answer", [1], 2, None)


def test_a_session_is_over_when_the_output_has_ended_and_the_peers_half_too() -> None:
    over = serve([b"answer", 1.0, END], [b"ask", 3.0, END], FOREVER)
    assert (over.shown, over.closed, over.half_closed, over.seconds) == (b"ask", [3], [1], 3)


def test_a_program_that_has_closed_its_output_and_still_listens_goes_on() -> None:
    over = serve([END], trickle(1.0, 5), FOREVER)
    assert (over.shown, over.half_closed, over.seconds) == (b".....", [0], None)


def test_a_program_that_is_gone_while_its_output_is_still_held_open_goes_on() -> None:
    over = serve(trickle(1.0, 5), FOREVER, [END])
    assert (over.sent, over.seconds) == (b".....", None)


def test_the_peers_end_is_the_programs_end_of_file_and_its_answer_is_waited_for() -> None:
    over = serve([60.0, b"answer", END], [b"ask", 1.0, END], FOREVER)
    assert (over.closed, over.sent, over.half_closed, over.seconds) == ([1], b"answer", [60], 60)


def test_no_silence_ends_a_program() -> None:
    assert serve(FOREVER, [b"ask", END], FOREVER).seconds is None


def test_a_peer_that_is_lost_ends_a_program_s_session() -> None:
    over = serve([b"abcdef"], FOREVER, FOREVER, sent=[2, RESET])
    assert isinstance(over.error, PeerLost)
    assert over.error.unsent == 4
    for output in (FOREVER, [END]):
        assert isinstance(serve(output, [3.0, RESET], FOREVER).error, PeerLost)


def test_a_program_that_does_not_read_learns_that_its_peer_is_lost() -> None:
    over = serve(FOREVER, [b"unread"], FOREVER, lost=[2.0, RESET], shown=[1000.0])
    assert (over.seconds, type(over.error)) == (2, PeerLost)


def test_a_program_s_datagrams_are_relayed_by_the_same_rule() -> None:
    over = serve([b"answer", 1.0, END], FOREVER, [2.0, END], lost=None)
    assert (over.sent, over.seconds, over.error) == (b"answer", 2, None)


def test_a_program_s_session_has_an_idle_limit_too() -> None:
    over = serve([1.0, b"a"], [2.0, b"b"], FOREVER, Ending(idle_timeout=8.0))
    assert isinstance(over.error, TimedOut)
    assert over.seconds is not None
    assert 10 <= over.seconds <= 12


def test_a_program_s_peer_may_negotiate() -> None:
    over = serve([1.0, b"hi", END], [DO_ECHO + b"ask", END], FOREVER, telnet=True)
    assert (over.sent, over.shown, over.seconds) == (WONT_ECHO + b"hi", b"ask", 1)
