"""The hub: who hears what, who waits for whom, who is cut off, and what a chat announces. Time is virtual."""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING

import pytest
from conformance import same, turns
from doubles import END, MemorySource, play
from harness import PAYLOAD

from pync.config import Config, Ending, Logs
from pync.context import Context
from pync.endpoints import CHUNK
from pync.endpoints.client_queues import LOOK, QUEUE_BYTES, STALL
from pync.endpoints.streams import Stream
from pync.errors import InputError, OutputError, PeerLost, PyncError, TimedOut
from pync.events import Address
from pync.loop.tasks import Condition
from pync.relay.log_files import LogFiles
from pync.services.hub import HubService

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pync.config import HubKind as Kind
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

RESET = PeerLost("connection to peer", "Connection reset by peer")


class Person(Stream):
    """A client: says what it is told to say, takes as much as it is told to take, and notes what it got."""

    def __init__(self, loop: Loop, *script: bytes | float | BaseException | None, host: str = "127.0.0.1") -> None:
        self.loop = loop
        self.words = MemorySource(loop, *script)
        self.address = Address(host=host, port=None if host.startswith("/") else 1)
        self.sock, self.other_end = socket.socketpair()
        self.got = bytearray()
        self.pieces: deque[int] = deque()  # the sizes of what it took
        self.room: float = float("inf")  # bytes that it is going to take
        self.held = 0  # bytes that its system has not acknowledged
        self.acknowledges = 0.0  # bytes for each second that pass without room for more
        self.broken: PeerLost | None = None
        self.end: PeerLost | None = None  # what is wrong with its end-of-file
        self.changed = Condition()
        self.closed = self.aborted = False
        self.began = loop.clock()

    @property
    def heard(self) -> bytes:
        """What it has got since this was last asked."""
        got = bytes(self.got)
        self.got.clear()
        return got

    def says(self, *script: bytes | float | BaseException | None) -> None:
        self.words.put(*script)

    def takes(self, more: float) -> None:
        self.room += more
        self.changed.notify()

    def breaks(self, error: PeerLost = RESET) -> None:
        """Its connection is broken: reading does not show it, writing does."""
        self.broken = error
        self.room = 0
        self.changed.notify()

    def hangs_up(self) -> None:
        self.other_end.close()

    async def read(self) -> bytes | None:
        return await self.words.read()

    def send_nowait(self, data: Bytes) -> int:
        assert not self.closed
        size = int(min(len(data), self.room))
        self.got += data[:size]
        self.room -= size
        if size:
            self.pieces.append(size)
        return size

    async def write(self, data: Bytes) -> int:
        while not self.room:
            if self.broken:
                raise self.broken
            await self.loop.wait(self.changed)
        return self.send_nowait(data)

    def unacknowledged(self) -> int:
        return int(self.held - self.acknowledges * (self.loop.clock() - self.began))

    def check_clean_end(self) -> None:
        if self.end:
            raise self.end

    def close(self) -> None:
        self.closed = True
        self.sock.close()
        self.other_end.close()

    def abort(self) -> None:
        self.aborted = True
        self.close()


def forget(*people: Person) -> None:
    """What was announced when they came does not matter."""
    for person in people:
        person.got.clear()


class Room:
    """A hub, and the people in it with their sessions."""

    def __init__(self, loop: Loop, kind: Kind = "broker", stdin: MemorySource | None = None, **config: Any) -> None:
        self.loop = loop
        facts = Config(mode="listen", ports=(0,), keep_open=True, hub=kind, **config)
        logs = LogFiles(facts.logs) if facts.logs != Logs() else None
        self.hub = HubService(Context(loop, facts, lambda event: None, lambda event: True, logs), stdin)
        self.running = loop.spawn(self.hub.run(), Condition())
        self.people: list[Person] = []
        self.sessions: list[Task] = []

    async def enters(self, *script: bytes | float | BaseException | None, host: str = "127.0.0.1") -> Person:
        person = Person(self.loop, *script, host=host)
        self.people.append(person)
        self.sessions.append(self.loop.spawn(self.hub.session(person), Condition()))
        await self.settle()
        return person

    async def enter(self, count: int) -> list[Person]:
        return [await self.enters() for _ in range(count)]

    async def settle(self) -> None:
        """Let happen what happens without the passing of time."""
        await turns(self.loop, 30)

    def session(self, person: Person) -> Task:
        return self.sessions[self.people.index(person)]

    async def ends(self, person: Person) -> PyncError | None:
        """Wait until somebody's session has ended; what ended it."""
        task = self.session(person)
        while not task.done:
            await self.loop.wait(task.ended)
        assert person.closed
        assert task.error is None or isinstance(task.error, PyncError)
        return task.error

    async def over(self) -> None:
        """Everybody's descriptors are closed."""
        await self.loop.cancel_and_wait(self.running, *self.sessions)
        assert all(person.closed for person in self.people)


# -- Broker ----------------------------------------------------------------------------------------------------------


async def test_what_one_says_goes_to_all_the_others_in_whole_reads(loop: Loop) -> None:
    room = Room(loop)
    one, two, three = await room.enter(3)
    one.says(bytes(range(256)), b"no line")
    await room.settle()
    two.says(b"\r\n")
    await room.settle()
    assert [person.heard for person in (one, two, three)] == [
        b"\r\n",
        bytes(range(256)) + b"no line",
        bytes(range(256)) + b"no line\r\n",
    ]
    assert [*three.pieces] == [256, 7, 2]
    await room.over()


async def test_whoever_comes_later_hears_what_is_said_later(loop: Loop) -> None:
    room = Room(loop)
    one, two = await room.enter(2)
    one.says(b"early")
    await room.settle()
    three = await room.enters()
    one.says(b"late")
    await room.settle()
    assert (two.heard, three.heard) == (b"earlylate", b"late")
    await room.over()


async def test_of_several_who_speak_at_once_each_is_heard_in_order(loop: Loop) -> None:
    room = Room(loop)
    speakers = [await room.enters(*(b"%d:%03d " % (n, turn) for turn in range(100))) for n in range(5)]
    listener = await room.enters()
    late = await room.enters()
    late.room = 0
    for person in speakers:
        person.says(*(b"%d:%03d " % (speakers.index(person), turn) for turn in range(100, 200)))
    while late.heard or late.room < 1e5:
        late.takes(997)
        await loop.sleep(0.01)
    for n, person in enumerate(speakers):
        heard = [word for word in listener.got.split() if word.startswith(b"%d:" % n)]
        assert heard == sorted(heard) and heard[-1] == b"%d:199" % n
        assert not [word for word in person.got.split() if word.startswith(b"%d:" % n)]
    await room.over()


async def test_what_is_not_taken_at_once_follows_in_order_and_small_pieces_in_one(loop: Loop) -> None:
    room = Room(loop)
    one, two = await room.enter(2)
    two.room = 3
    one.says(b"first", b" second", b" third")
    await room.settle()
    assert two.heard == b"fir"
    two.takes(1000)
    await room.settle()
    assert two.heard == b"st second third"
    assert [*two.pieces] == [3, 15]
    one.says(b" fourth")
    await room.settle()
    assert two.heard == b" fourth"
    await room.over()


async def test_who_is_slow_but_moves_slows_down_who_speaks_and_nobody_loses_a_byte(loop: Loop) -> None:
    words = [PAYLOAD(CHUNK)] * 20
    room = Room(loop)
    slow, fast = await room.enter(2)
    slow.room = 0
    one = await room.enters(*words)
    start = loop.clock()
    got: list[bytes] = []
    while len(fast.got) < 20 * CHUNK or sum(map(len, got)) < 20 * CHUNK:
        await loop.sleep(0.9 * STALL)
        ahead = len(fast.got) - sum(map(len, got))
        assert ahead <= QUEUE_BYTES + CHUNK  # memory is bounded
        slow.takes(CHUNK // 2)
        await room.settle()
        got.append(slow.heard)
    same(got, words)
    same([fast.heard], words)
    assert loop.clock() - start == pytest.approx(40 * 0.9 * STALL)
    assert not one.got and not any(task.done for task in room.sessions)
    await room.over()


async def test_who_takes_nothing_is_cut_off_and_the_others_hear_every_byte(loop: Loop) -> None:
    words = [PAYLOAD(CHUNK)] * 20
    room = Room(loop)
    stuck, fast = await room.enter(2)
    stuck.room = 1000
    stuck.held = 500  # in the kernel, and never acknowledged
    start = loop.clock()
    one = await room.enters(*words)
    error = await room.ends(stuck)
    assert loop.clock() - start == pytest.approx(STALL)
    assert isinstance(error, PeerLost) and error.cause == "cut off: it takes nothing, and others wait"
    assert error.unsent == 5 * CHUNK - 1000 + 500  # four in the queue, and the one that made it too full
    assert stuck.aborted  # an end-of-file would be a lie
    await room.settle()
    same([fast.heard], words)
    assert not one.closed
    await room.over()


async def test_who_takes_nothing_is_cut_off_while_it_speaks_itself(loop: Loop) -> None:
    room = Room(loop)
    stuck, one = await room.enter(2)
    stuck.room = 0
    one.says(*[bytes(CHUNK)] * 6)
    stuck.says(*[b"x" * CHUNK] * 6)
    assert isinstance(await room.ends(stuck), PeerLost)
    await room.settle()
    assert not one.closed
    await room.over()


async def test_what_the_peers_system_acknowledges_is_taken(loop: Loop) -> None:
    room = Room(loop)
    slow, fast = await room.enter(2)
    slow.room, slow.held, slow.acknowledges = 0, 10_000_000, 100_000
    await room.enters(*[bytes(CHUNK)] * 20)
    await loop.sleep(60)
    assert not room.session(slow).done
    slow.held, slow.acknowledges = 1000, 0
    start = loop.clock()
    assert isinstance(await room.ends(slow), PeerLost)
    assert loop.clock() - start == pytest.approx(STALL, abs=2 * LOOK)
    await room.settle()
    assert len(fast.got) == 20 * CHUNK
    await room.over()


async def test_a_full_client_that_leaves_holds_nobody_up(loop: Loop) -> None:
    room = Room(loop)
    stuck, fast = await room.enter(2)
    stuck.room = 0
    await room.enters(*[bytes(CHUNK)] * 20)
    await loop.sleep(0.5)
    assert len(fast.got) < 20 * CHUNK
    stuck.says(RESET)
    assert await room.ends(stuck) is RESET
    await room.settle()
    assert len(fast.got) == 20 * CHUNK
    await room.over()


# -- stdin, and the end of what a client says ------------------------------------------------------------------------


async def test_stdin_speaks_to_all_while_somebody_is_there_and_the_hub_outlives_it(loop: Loop) -> None:
    stdin = MemorySource(loop, b"one", b"two", 5.0, b"three", END)
    room = Room(loop, stdin=stdin)
    await loop.sleep(10)
    assert len(stdin.script) == 5  # nobody is there: it is not read
    one = await room.enters()
    assert one.heard == b"onetwo"
    one.says(RESET)
    await room.ends(one)
    await loop.sleep(10)
    two, three = await room.enter(2)
    assert (two.heard, three.heard) == (b"three", b"")
    assert not room.running.done
    two.says(b"still here")
    await room.settle()
    assert three.heard == b"still here"
    await room.over()


async def test_an_error_of_stdin_is_the_servers(loop: Loop) -> None:
    room = Room(loop, stdin=MemorySource(loop, InputError("reading stdin", "Input/output error")))
    await room.enters()
    assert isinstance(room.running.error, InputError)
    await room.over()


async def test_a_client_that_half_closes_goes_on_listening_until_its_connection_is_gone(loop: Loop) -> None:
    room = Room(loop)
    one, two = await room.enter(2)
    two.says(b"my last", END)
    await loop.sleep(3600)
    one.says(b"news")
    await room.settle()
    assert (one.heard, two.heard) == (b"my last", b"news")
    two.hangs_up()
    assert await room.ends(two) is None
    assert not two.aborted
    one.says(b"more")
    await room.settle()
    await room.over()


async def test_a_client_that_broke_while_it_spoke_is_a_failure_and_one_that_only_listened_has_left(loop: Loop) -> None:
    room = Room(loop)
    one, speaker, listener, reset = await room.enter(4)
    listener.says(END)
    reset.says(RESET)
    assert await room.ends(reset) is RESET
    for person in (speaker, listener):
        person.breaks()
    one.says(b"news")
    error = await room.ends(speaker)
    assert isinstance(error, PeerLost) and (error.cause, error.unsent) == (RESET.cause, 4)
    assert await room.ends(listener) is None
    await room.over()


async def test_an_end_of_file_that_is_none_is_a_failure(loop: Loop) -> None:
    room = Room(loop)
    one, two = await room.enter(2)
    one.end = PeerLost("connection to peer", "it broke off")
    one.says(b"half a", END)
    assert await room.ends(one) is one.end
    assert two.heard == b"half a"
    await room.over()


async def test_who_neither_says_nor_hears_anything_for_too_long_is_dropped(loop: Loop) -> None:
    room = Room(loop, ending=Ending(idle_timeout=10.0))
    one, two = await room.enter(2)
    for _ in range(20):
        one.says(b"tick")  # says
        await loop.sleep(5)
    assert len(two.heard) == 80  # hears
    assert not any(task.done for task in room.sessions)
    start = loop.clock()
    for person in (one, two):
        assert isinstance(await room.ends(person), TimedOut)
        assert loop.clock() - start <= 5 + 10 * 9 / 8
    await room.over()


async def test_without_a_limit_silence_lasts(loop: Loop) -> None:
    room = Room(loop)
    await room.enter(2)
    await loop.sleep(1e6)
    assert not any(task.done for task in room.sessions)
    await room.over()


async def test_the_logs_have_what_clients_said_as_received_and_what_stdin_said_as_sent(
    loop: Loop, tmp_path: Path
) -> None:
    logs = Logs(raw=str(tmp_path / "raw"), hexadecimal=str(tmp_path / "hex"))
    stdin = MemorySource(loop, 1.0, b"mine\n")
    room = Room(loop, "chat", stdin, logs=logs, crlf=True)
    one, _ = await room.enter(2)
    one.says(b"\x1bhers\n")
    await loop.sleep(2)
    await room.over()
    assert (tmp_path / "raw").read_bytes() == b"\x1bhers\n<user0> mine\r\n"
    assert [line[0] for line in (tmp_path / "hex").read_text().splitlines()] == ["<", ">"]


async def test_a_log_that_cannot_be_written_ends_the_server(loop: Loop) -> None:
    room = Room(loop, logs=Logs(raw="/dev/full"))
    one = await room.enters(b"word")
    assert isinstance(await room.ends(one), OutputError)  # which is no failure of one session
    await room.over()


# -- Chat ------------------------------------------------------------------------------------------------------------


async def test_a_newcomer_is_announced_to_everybody_and_learns_who_is_there(loop: Loop) -> None:
    room = Room(loop, "chat")
    one = await room.enters()
    assert one.heard == (b"<announce> 127.0.0.1 is connected as <user1>.\n<announce> already connected: nobody.\n")
    two = await room.enters(host="::1")
    assert one.heard == b"<announce> ::1 is connected as <user2>.\n"
    assert two.heard == (
        b"<announce> ::1 is connected as <user2>.\n<announce> already connected: 127.0.0.1 as <user1>.\n"
    )
    three = await room.enters()
    assert three.heard.endswith(b"<announce> already connected: 127.0.0.1 as <user1>, ::1 as <user2>.\n")
    await room.over()


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("", "a unix client"),
        ("/tmp/socket", "/tmp/socket"),
        ("/tmp/\n<user1> \x1b\udcff", r"/tmp/\012<user1> \033\377"),
    ],
    ids=["unnamed", "named", "nasty"],
)
async def test_unix_clients_have_names_that_cannot_do_harm(loop: Loop, host: str, name: str) -> None:
    room = Room(loop, "chat")
    one = await room.enters(host=host)
    assert one.heard.decode().splitlines()[0] == f"<announce> {name} is connected as <user1>."
    await room.over()


async def test_names_are_never_used_again_and_leaving_is_announced(loop: Loop) -> None:
    room = Room(loop, "chat")
    stays = await room.enters()
    for number in range(2, 6):
        leaves = await room.enters()
        leaves.says(RESET)
        await room.ends(leaves)
        assert stays.heard.decode().splitlines()[-1] == f"<announce> <user{number}> is disconnected."
    await room.over()


async def test_each_line_goes_to_the_others_with_the_name_of_who_said_it(loop: Loop) -> None:
    room = Room(loop, "chat", MemorySource(loop, 1.0, b"from the ", b"server\nand", END))
    one, two = await room.enter(2)
    forget(one, two)
    one.says(b"half a")
    await room.settle()
    assert two.heard == b""
    one.says(b" line\r\n<announce> lies\nrest")
    await room.settle()
    assert two.heard == b"<user1> half a line\n<user1> <announce> lies\n"
    assert one.heard == b""
    await loop.sleep(2)
    assert one.heard == two.heard == b"<user0> from the server\n<user0> and\n"
    one.says(RESET)
    await room.ends(one)
    assert two.heard == b"<user1> rest\n<announce> <user1> is disconnected.\n"
    await room.over()


async def test_who_has_nothing_more_to_say_is_told_so_alone_and_its_last_line_is_passed_on(loop: Loop) -> None:
    room = Room(loop, "chat")
    one, two = await room.enter(2)
    forget(one, two)
    one.says(b"bye", END)
    await room.settle()
    assert one.heard == b"<announce> you are only listening now.\n"
    assert two.heard == b"<user1> bye\n"
    two.says(b"are you there?\n")
    await room.settle()
    assert one.heard == b"<user2> are you there?\n"
    one.hangs_up()
    await room.ends(one)
    assert two.heard == b"<announce> <user1> is disconnected.\n"
    await room.over()


async def test_crlf_is_for_what_stdin_says(loop: Loop) -> None:
    room = Room(loop, "chat", MemorySource(loop, 1.0, b"one\ntwo"), crlf=True)
    one, two = await room.enter(2)
    forget(one, two)
    one.says(b"mine\n")
    await loop.sleep(2)
    assert two.heard == b"<user1> mine\n<user0> one\r\n"
    await room.over()


async def test_announcements_alone_do_not_fill_a_queue_for_ever(loop: Loop) -> None:
    room = Room(loop, "chat")
    stuck = await room.enters()
    stuck.room = 0
    hub = room.hub
    await room.enter(3)
    while not hub.queues.full:
        next(iter(hub.members)).put(bytes(CHUNK))  # as thousands who come and go would
    start = loop.clock()
    room.sessions.append(loop.spawn(hub.session(newcomer := Person(loop)), Condition()))
    room.people.append(newcomer)
    assert isinstance(await room.ends(stuck), PeerLost)
    assert loop.clock() - start == pytest.approx(STALL)
    await room.settle()
    assert b"connected as <user5>" in newcomer.heard
    await room.over()


def test_at_the_end_of_the_server_nobody_is_told_of_those_who_leave() -> None:
    async def main(loop: Loop) -> list[Person]:
        room = Room(loop, "chat")
        people = await room.enter(3)
        people[0].says(END)
        await room.settle()
        forget(*people)
        return people

    people = play(main)  # the loop's end cancels them all
    assert all(person.closed and not person.got for person in people)
