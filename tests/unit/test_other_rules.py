"""The rules of ending that other netcats have, one by one; `pync/relay/other_rules.py` numbers them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from conversations import FOREVER, RESET, Connection, Ends, converse, trickle
from doubles import END, MemorySink, MemorySource, a_context
from expectations import expect

from pync.behaviour import Behaviour
from pync.config import Config, Ending
from pync.endpoints.stdio import Stdin, Stdio
from pync.endpoints.wrappers import PacedAfter
from pync.errors import InputError, OutputError, PeerLost, TimedOut
from pync.relay.log_files import RECEIVED, SENT, LogFile, LogFiles
from pync.relay.other_reads import FirstRead, Reads, Run
from pync.relay.other_rules import OtherConversation
from pync.sessions import conversation

if TYPE_CHECKING:
    from pathlib import Path

    from conversations import Script

    from pync.loop.kernel import Loop

KEPT_OPEN = Ending(half_close=False)
DRAIN, STAY, LEAVE = (Behaviour(after_peer="drain"), Behaviour(after_peer="stay"), Behaviour(after_peer="leave"))
FULL = OutputError("writing stdout", "No space left on device")
LOST = [PeerLost("connection to x", "Connection reset by peer"), PeerLost("datagrams to x", "Connection refused")]

# Rule 1: the end of stdin


@pytest.mark.parametrize("stdin", [[END], [b"ask", END]])
@pytest.mark.parametrize("client", [True, False])
def test_the_half_close_does_not_wait(stdin: Script, client: bool) -> None:
    outcome = converse([2.0, *stdin], [9.0, b"answer", END], client=client, behaviour=DRAIN)
    expect(outcome, half_closed=[2], received=b"answer", seconds=9, error=None)


def test_without_a_half_close_the_peer_gets_no_end() -> None:
    outcome = converse([b"ask", END], [9.0, b"answer", END], KEPT_OPEN, behaviour=DRAIN)
    expect(outcome, sent=b"ask", half_closed=[], received=b"answer", seconds=9)


@pytest.mark.parametrize("peer", [[3.0, b"x", 1.0, END], [3.0, END]])
def test_a_stdin_that_is_not_read_ends_with_the_peers_first_event(peer: Script) -> None:
    outcome = converse(FOREVER, peer, speaks=False, behaviour=STAY)
    expect(outcome, half_closed=[3], seconds=sum(item for item in peer if isinstance(item, float)), error=None)


def test_a_stdin_that_cannot_be_read_has_ended_or_is_a_failure() -> None:
    stdin: Script = [b"a", InputError("reading stdin", "Is a directory")]
    outcome = converse(stdin, [5.0, END], behaviour=Behaviour(unreadable_ends=True))
    expect(outcome, sent=b"a", half_closed=[0], seconds=5, error=None)
    assert isinstance(converse(stdin, [5.0, END], behaviour=DRAIN).error, InputError)


# Rule 2: the end of the peer


@pytest.mark.parametrize("behaviour", [DRAIN, LEAVE])
@pytest.mark.parametrize("terminal", [False, True])
def test_an_idle_stdin_is_left_at_the_peers_end(behaviour: Behaviour, terminal: bool) -> None:
    outcome = converse([b"a"], [3.0, b"b", END], terminal=terminal, behaviour=behaviour)
    expect(outcome, sent=b"a", received=b"b", seconds=3, error=None)


def test_what_stdin_has_ready_is_sent_after_the_peers_end() -> None:
    stdin: Script = [b"abcdef", b"gh", END]
    outcome = converse(stdin, [END], KEPT_OPEN, file=True, peer_takes=[1, 30.0, 5, 30.0], behaviour=DRAIN)
    expect(outcome, sent=b"abcdefgh", half_closed=[], seconds=60, error=None)


def test_only_what_was_read_is_sent_before_it_leaves() -> None:
    outcome = converse([b"abcdef", 9.0, b"gh"], [END], file=True, peer_takes=[1, 30.0], behaviour=LEAVE)
    expect(outcome, sent=b"abcdef", seconds=30)


def test_lines_that_a_pause_holds_back_are_sent_after_the_peers_end() -> None:
    outcome = converse([b"1\n2\n3\n"], [END], pause_after=5, behaviour=DRAIN)
    assert outcome.moments == [(0, b"1\n"), (5, b"2\n"), (10, b"3\n")]
    assert outcome.seconds == pytest.approx(10, abs=0.1)


def test_all_of_stdin_is_sent_however_long_it_takes_by_one_that_stays() -> None:
    outcome = converse([*trickle(100.0, 3), END], [b"x", END], terminal=True, behaviour=STAY)
    expect(outcome, sent=b"...", half_closed=[300], closed=[300], seconds=300)


def test_one_that_stays_leaves_when_the_connection_is_closed() -> None:
    outcome = converse(FOREVER, [END], connection=[5.0, END], behaviour=STAY)
    expect(outcome, closed=[5], seconds=5, error=None)


def test_by_default_the_peers_end_is_followed_by_the_rules_of_pync() -> None:
    outcome = converse([0.25, b"a", 0.75, b"never"], [b"request", END], behaviour=Behaviour())
    expect(outcome, sent=b"a", seconds=0.75)


# Rule 3: what breaks


@pytest.mark.parametrize("behaviour", [Behaviour(after_peer="drain", loss_ends=True), Behaviour(loss_ends=True)])
@pytest.mark.parametrize("error", LOST)
def test_a_connection_that_breaks_is_an_end(behaviour: Behaviour, error: PeerLost) -> None:
    connection = FOREVER if "reset" in error.why else None
    assert converse(FOREVER, [1.0, error], connection=connection, behaviour=behaviour).error is None
    assert converse([1.0, b"a"], [END], peer_takes=[error], connection=connection, behaviour=behaviour).error is None
    assert converse(FOREVER, [END], connection=[2.0, RESET], behaviour=behaviour).error is None


def test_otherwise_it_is_a_failure() -> None:
    assert isinstance(converse(FOREVER, [1.0, RESET], behaviour=DRAIN).error, PeerLost)
    assert isinstance(converse([b"a"], FOREVER, peer_takes=[RESET], behaviour=DRAIN).error, PeerLost)


def test_what_the_peer_sent_before_the_connection_broke_is_received() -> None:
    outcome = converse(
        [b"upload"], [0.25, b"413", END], peer_takes=[RESET], behaviour=Behaviour(after_peer="stay", loss_ends=True)
    )
    expect(outcome, received=b"413", seconds=0.25, error=None)


def test_what_breaks_off_stdin_breaks_nothing() -> None:
    outcome = converse([b"x"], FOREVER, Ending(idle_timeout=8.0), behaviour=DRAIN)
    assert isinstance(outcome.error, TimedOut)
    expect(outcome.peer, aborted=False)


# Rule 4: datagrams


@pytest.mark.parametrize("client", [True, False])
def test_datagrams_stay_after_stdin(client: bool) -> None:
    behaviour = Behaviour(after_peer="drain", datagrams_stay=True)
    outcome = converse([b"ask", END], [b"a", 9.0, b"b"], connection=None, client=client, behaviour=behaviour)
    expect(outcome, received=b"ab", half_closed=[], seconds=None)


def test_by_default_a_client_of_datagrams_leaves_when_it_was_answered() -> None:
    assert converse([b"ask", END], [b"a"], connection=None, behaviour=DRAIN).seconds == 0.5


def test_an_empty_datagram_is_no_read() -> None:
    script: Script = [b"", b"a", b"", 1.0, b"b"]
    outcome = converse(FOREVER, script, Ending(receive_limit=2), connection=None, behaviour=DRAIN)
    expect(outcome, received=b"ab", seconds=1, error=None)


def test_over_a_unix_socket_a_path_that_was_closed_is_no_end() -> None:
    behaviour = Behaviour(loss_ends=True, datagrams_stay=True)
    lost = converse([b"a", b"b"], [9.0, LOST[1]], peer_takes=[LOST[1]], connection=None, unix=True, behaviour=behaviour)
    expect(lost, seconds=None, error=None)


# Rule 5: quit_after


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_it_leaves_so_long_after_stdin_whatever_the_peer_does(seconds: float) -> None:
    ending = Ending(quit_after=seconds)
    outcome = converse([b"x", 1.0, END], trickle(0.4, 100), ending, behaviour=DRAIN)
    expect(outcome, half_closed=[1], seconds=1 + seconds, error=None)
    assert len(outcome.received) == (2 if seconds == 0 else 7)


def test_it_leaves_so_long_after_both_have_ended() -> None:
    behaviour = Behaviour(after_peer="stay", quit_from="both")
    outcome = converse([b"x", END], [9.0, b"y", END], Ending(quit_after=2.0), behaviour=behaviour)
    expect(outcome, half_closed=[0], received=b"y", seconds=11)
    assert converse(FOREVER, [END], Ending(quit_after=2.0), behaviour=behaviour).seconds is None
    assert converse([END], FOREVER, Ending(quit_after=0.0), behaviour=behaviour).seconds is None
    assert converse([END], [5.0, END], Ending(quit_after=0.0), behaviour=behaviour).seconds == 5


def test_it_does_not_wait_longer_than_the_idle_limit() -> None:
    ending = Ending(quit_after=20.0, idle_timeout=8.0)
    behaviour = Behaviour(after_peer="stay", quit_from="both", idle_ends=True)
    assert converse([END], [END], ending, behaviour=behaviour).seconds == 8
    assert converse(FOREVER, FOREVER, ending, behaviour=behaviour).seconds == 8, "an idle limit is followed by nothing"


EITHER = Behaviour(after_peer="drain", quit_from="either", quit_discards=True)


def test_it_leaves_so_long_after_the_end_of_stdin_or_of_the_conversation() -> None:
    assert converse(FOREVER, [3.0, END], Ending(quit_after=2.0), client=False, behaviour=EITHER).seconds == 5
    assert converse(FOREVER, [3.0, END], Ending(quit_after=0.0), client=False, behaviour=EITHER).seconds == 3
    outcome = converse([END], [1.0, END], Ending(quit_after=2.0), client=False, behaviour=EITHER)
    assert outcome.seconds == 2, "the peer's end changes nothing then"


@pytest.mark.parametrize("connection", [FOREVER, None])
def test_what_comes_meanwhile_is_thrown_away(connection: Script | None) -> None:
    peer: Script = [0.5, b"early", 1.0, b"late"]
    outcome = converse([1.0, END], peer, Ending(quit_after=2.0), connection=connection, behaviour=EITHER)
    expect(outcome, received=b"early", seconds=3, half_closed=[1] if connection is not None else [])


def test_what_was_received_before_is_written_first() -> None:
    outcome = converse([1.0, END], [b"abc"], Ending(quit_after=5.0), local_takes=[1, 3.0], behaviour=EITHER)
    expect(outcome, received=b"abc", seconds=6)


@pytest.mark.parametrize(("stdin", "over"), [([END], True), (FOREVER, False)])
async def test_the_run_is_over_with_the_conversation_in_which_stdin_has_ended(
    loop: Loop, stdin: Script, over: bool
) -> None:
    ending = Ending(quit_after=0.0)
    ends = Ends(loop, stdin, [2.0, END], ending)
    context = a_context(loop, mode="listen", ending=ending, keep_open=True)
    stdio = Stdio(ends.local_source, ends.local_sink)
    await OtherConversation(context, EITHER, Connection(loop, FOREVER), stdio, ends.flows).run()
    assert loop.shared(Run).over is over
    assert not ends.local_sink.ends, "the next client needs stdout, too"


# Rule 6: the idle limit


@pytest.mark.parametrize("client", [True, False])
def test_an_idle_limit_may_be_an_end(client: bool) -> None:
    behaviour = Behaviour(after_peer="stay", idle_ends=True)
    outcome = converse([5.0, b"a"], [3.0, b"b"], Ending(idle_timeout=8.0), client=client, behaviour=behaviour)
    expect(outcome, sent=b"a", received=b"b", error=None, half_closed=[])
    assert outcome.seconds is not None
    assert 13 <= outcome.seconds <= 14


@pytest.mark.parametrize("lines", [b"1\n2\n", b"1\n"])
def test_a_pause_is_no_silence(lines: bytes) -> None:
    behaviour = Behaviour(after_peer="drain", idle_ends=True)
    outcome = converse([lines], FOREVER, Ending(idle_timeout=8.0), pause_after=30, behaviour=behaviour)
    expect(outcome, sent=lines, error=None)
    assert outcome.seconds is not None
    assert 30 * lines.count(b"\n") + 8 <= outcome.seconds <= 30 * lines.count(b"\n") + 10


def test_the_idle_limit_may_begin_at_the_end_of_stdin_and_count_silent_periods_of_the_peer() -> None:
    behaviour = Behaviour(after_peer="drain", idle_ends=True, idle_periods=2)
    limit = Ending(half_close=False, idle_timeout=4.0)
    assert converse([9.0, END], FOREVER, limit, behaviour=behaviour).seconds == 17
    outcome = converse([END], [6.0, b"x"], limit, behaviour=behaviour)
    assert outcome.seconds == 10, "the first period has passed"
    assert converse([END], [*trickle(3.0, 9)], limit, behaviour=behaviour).seconds == 35
    assert converse(FOREVER, FOREVER, limit, behaviour=behaviour).seconds is None


def test_a_limit_of_0_leaves_when_stdin_has_nothing_ready() -> None:
    behaviour, limit = Behaviour(after_peer="stay", idle_ends=True), Ending(idle_timeout=0.0)
    outcome = converse(FOREVER, FOREVER, limit, behaviour=behaviour)
    assert outcome.seconds == pytest.approx(0, abs=0.1)
    outcome = converse([b"all", b"of it", END], FOREVER, limit, file=True, peer_takes=[1, 30.0], behaviour=behaviour)
    assert outcome.sent == b"allof it"
    assert outcome.seconds == pytest.approx(30, abs=0.1)
    assert converse(FOREVER, FOREVER, limit, speaks=False, behaviour=behaviour).seconds == 0


# Rule 7: stdout


def test_a_stdout_that_fails_ends_the_conversation() -> None:
    outcome = converse([b"a", 9.0, b"b", END], [2.0, b"x"], local_takes=[FULL], behaviour=DRAIN)
    expect(outcome, sent=b"a", seconds=2)
    assert outcome.error is FULL


def test_or_stdin_is_sent_on_before_that() -> None:
    behaviour = Behaviour(after_peer="stay", sends_on=True)
    outcome = converse([b"a", 9.0, b"b", END], [2.0, b"x"], local_takes=[FULL], behaviour=behaviour)
    expect(outcome, sent=b"ab", half_closed=[9], seconds=9)
    assert outcome.error is FULL
    drained = converse(FOREVER, [2.0, b"x"], local_takes=[FULL], behaviour=DRAIN.but(sends_on=True), client=False)
    assert drained.seconds == 2
    assert drained.error is FULL


# Reads


async def test_a_read_of_a_stream_is_cut_and_what_is_left_is_the_next(loop: Loop) -> None:
    source = Reads(MemorySource(loop, b"abcdef", b"", b"g", END), 4)
    assert [await source.read() for _ in range(4)] == [b"abcd", b"ef", b"g", None]


async def test_the_reads_of_all_clients_may_be_counted_together(loop: Loop) -> None:
    ending = Ending(receive_limit=3)
    context = a_context(loop, mode="listen", ending=ending, keep_open=True)
    received = []
    for _ in range(3):
        ends = Ends(loop, FOREVER, [b"1", b"2", 5.0, END], ending)
        stdio = Stdio(ends.local_source, ends.local_sink)
        behaviour = Behaviour(after_peer="drain", limit_over_all=True)
        await OtherConversation(context, behaviour, Connection(loop, FOREVER), stdio, ends.flows).run()
        received.append(ends.local_sink.data)
    assert received == [b"12", b"1", b"1"]


@pytest.mark.parametrize(("stdin", "first"), [([b"abcdef", b"gh", END], b"abcd"), ([END], None)])
async def test_the_first_read_is_repeated_and_nothing_follows_it(loop: Loop, stdin: Script, first: bytes) -> None:
    run, source = Run(loop), MemorySource(loop, *stdin)
    for _ in range(2):
        again = FirstRead(run, source, 4)
        assert [await again.read() for _ in range(2)] == [first, None]


# What else is done in another way


async def test_the_pause_follows_each_line_and_perhaps_comes_before_the_first(loop: Loop) -> None:
    for around in False, True:
        source, start, moments = MemorySource(loop, b"1\n2", b"\n", END), loop.clock(), []
        paced = PacedAfter(loop, source, 5, around=around)
        while (data := await paced.read()) is not None:
            moments.append((loop.clock() - start, data))
        first = 5 * around
        assert moments == [(first, b"1\n"), (first + 5, b"2"), (first + 5, b"\n")]
        assert loop.clock() - start == first + 10


@pytest.mark.parametrize("counts", [False, True])
def test_a_listeners_null_device_may_be_a_stdin_that_ends(
    counts: bool, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "is_null", lambda: True)
    context = a_context(loop, Config(mode="listen", receive=False, behaviour=Behaviour(null_counts=counts)))
    assert isinstance(conversation.open_stdio(context).source, Stdin) is counts


def test_the_offsets_of_a_dump_may_run_on(tmp_path: Path) -> None:
    for runs_on, offset in (False, 0), (True, 3):
        logs = LogFiles(hexadecimal=LogFile(str(tmp_path / "log"), append=False), runs_on=runs_on)
        for mark in SENT, RECEIVED, SENT:
            logs.copy(mark)[0].feed(b"abc")
        marks = [line[:10] for line in (tmp_path / "log").read_text().splitlines()]
        assert marks == ["> 00000000", "< 00000000", f"> {offset:08x}"]
        assert logs.hexadecimal
        os.close(logs.hexadecimal.fd)


async def test_stdout_is_closed_at_the_end(loop: Loop) -> None:
    ends = Ends(loop, FOREVER, [2.0, END], Ending())
    stdio = Stdio(ends.local_source, sink := MemorySink(loop))
    await OtherConversation(a_context(loop), DRAIN, Connection(loop, FOREVER), stdio, ends.flows).run()
    assert sink.ends == [1002]
