"""The hub: what each client receives, how a slow one is treated, and what a chat announces. Time is virtual."""

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
from pync.relay.open_logs import open_logs
from pync.services.hub import NAMES, HubService

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pync.config import HubKind as Kind
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

RESET = PeerLost("connection to peer", "Connection reset by peer")


class Client(Stream):
    """A client: it sends what a test scripts, takes as much as a test allows, and notes what it got."""

    def __init__(self, loop: Loop, *script: bytes | float | BaseException | None, host: str = "127.0.0.1") -> None:
        self.loop = loop
        self.source = MemorySource(loop, *script)
        self.address = Address(host=host, port=None if host.startswith("/") else 1)
        self.sock, self.other_end = socket.socketpair()
        self.got = bytearray()
        self.pieces: deque[int] = deque()  # the sizes of the pieces that it took
        self.capacity: float = float("inf")  # bytes that it will still take
        self.held = 0  # bytes that its system has not acknowledged
        self.acknowledges = 0.0  # bytes a second that its system acknowledges though it takes nothing
        self.broken: Exception | None = None
        self.end: PeerLost | None = None  # what is wrong with its end-of-file
        self.changed = Condition()
        self.closed = self.aborted = False
        self.began = loop.clock()

    def drain(self) -> bytes:
        """What it has got since the last call."""
        got = bytes(self.got)
        self.got.clear()
        return got

    def sends(self, *script: bytes | float | BaseException | None) -> None:
        self.source.put(*script)

    def takes(self, more: float) -> None:
        self.capacity += more
        self.changed.notify()

    def breaks(self, error: Exception = RESET) -> None:
        """Break its connection: writing to it fails, and reading does not show it."""
        self.broken = error
        self.capacity = 0
        self.changed.notify()

    def hangs_up(self) -> None:
        self.other_end.close()

    async def read(self) -> bytes | None:
        return await self.source.read()

    def send_nowait(self, data: Bytes) -> int:
        assert not self.closed
        size = int(min(len(data), self.capacity))
        self.got += data[:size]
        self.capacity -= size
        if size:
            self.pieces.append(size)
        return size

    async def write(self, data: Bytes) -> int:
        while not self.capacity:
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


def forget(*clients: Client) -> None:
    """Drop what was announced when they came."""
    for client in clients:
        client.got.clear()


class RunningHub:
    """A hub that runs, and its clients with their sessions."""

    def __init__(self, loop: Loop, kind: Kind = "broker", stdin: MemorySource | None = None, **config: Any) -> None:
        self.loop = loop
        facts = Config(mode="listen", ports=(0,), keep_open=True, hub=kind, **config)
        logs = open_logs(facts) if facts.logs != Logs() else None
        self.service = HubService(Context(loop, facts, lambda event: None, lambda event: True, logs), stdin)
        self.running = loop.spawn(self.service.run(), Condition())
        self.members: list[Client] = []
        self.sessions: list[Task] = []

    async def client(self, *script: bytes | float | BaseException | None, host: str = "127.0.0.1") -> Client:
        client = Client(self.loop, *script, host=host)
        self.members.append(client)
        self.sessions.append(self.loop.spawn(self.service.session(client), Condition()))
        await self.settle()
        return client

    async def clients(self, count: int) -> list[Client]:
        return [await self.client() for _ in range(count)]

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await turns(self.loop, 30)

    def session(self, client: Client) -> Task:
        return self.sessions[self.members.index(client)]

    async def ends(self, client: Client) -> PyncError | None:
        """Wait until the session of a client has ended; the error that ended it."""
        task = self.session(client)
        while not task.done:
            await self.loop.wait(task.ended)
        assert client.closed
        assert task.error is None or isinstance(task.error, PyncError)
        return task.error

    async def over(self) -> None:
        """End all, and see that every client was closed."""
        await self.loop.cancel_and_wait(self.running, *self.sessions)
        assert all(client.closed for client in self.members)


# -- Broker ----------------------------------------------------------------------------------------------------------


async def test_what_a_client_sends_goes_to_all_the_others_in_whole_reads(loop: Loop) -> None:
    hub = RunningHub(loop)
    one, two, three = await hub.clients(3)
    one.sends(bytes(range(256)), b"no line")
    await hub.settle()
    two.sends(b"\r\n")
    await hub.settle()
    assert [client.drain() for client in (one, two, three)] == [
        b"\r\n",
        bytes(range(256)) + b"no line",
        bytes(range(256)) + b"no line\r\n",
    ]
    assert [*three.pieces] == [256, 7, 2]
    await hub.over()


async def test_a_client_receives_what_is_sent_after_it_has_come(loop: Loop) -> None:
    hub = RunningHub(loop)
    one, two = await hub.clients(2)
    one.sends(b"early")
    await hub.settle()
    three = await hub.client()
    one.sends(b"late")
    await hub.settle()
    assert two.drain() == b"earlylate"
    assert three.drain() == b"late"
    await hub.over()


async def test_of_several_clients_that_send_at_once_each_ones_bytes_stay_in_order(loop: Loop) -> None:
    hub = RunningHub(loop)
    senders = [await hub.client(*(b"%d:%03d " % (n, turn) for turn in range(100))) for n in range(5)]
    receiver = await hub.client()
    late = await hub.client()
    late.capacity = 0
    for client in senders:
        client.sends(*(b"%d:%03d " % (senders.index(client), turn) for turn in range(100, 200)))
    while late.drain() or late.capacity < 1e5:
        late.takes(997)
        await loop.sleep(0.01)
    for n, client in enumerate(senders):
        received = [word for word in receiver.got.split() if word.startswith(b"%d:" % n)]
        assert received == sorted(received) and received[-1] == b"%d:199" % n
        assert not [word for word in client.got.split() if word.startswith(b"%d:" % n)]
    await hub.over()


async def test_what_is_not_taken_at_once_follows_in_order_and_small_pieces_in_one(loop: Loop) -> None:
    hub = RunningHub(loop)
    one, two = await hub.clients(2)
    two.capacity = 3
    one.sends(b"first", b" second", b" third")
    await hub.settle()
    assert two.drain() == b"fir"
    two.takes(1000)
    await hub.settle()
    assert two.drain() == b"st second third"
    assert [*two.pieces] == [3, 15]
    one.sends(b" fourth")
    await hub.settle()
    assert two.drain() == b" fourth"
    await hub.over()


async def test_a_slow_client_that_reads_on_slows_down_the_sender_and_no_byte_is_missing(loop: Loop) -> None:
    words = [PAYLOAD(CHUNK)] * 20
    hub = RunningHub(loop)
    slow, fast = await hub.clients(2)
    slow.capacity = 0
    one = await hub.client(*words)
    start = loop.clock()
    got: list[bytes] = []
    while len(fast.got) < 20 * CHUNK or sum(map(len, got)) < 20 * CHUNK:
        await loop.sleep(0.9 * STALL)
        ahead = len(fast.got) - sum(map(len, got))
        assert ahead <= QUEUE_BYTES + CHUNK, "memory is bounded"
        slow.takes(CHUNK // 2)
        await hub.settle()
        got.append(slow.drain())
    same(got, words)
    same([fast.drain()], words)
    assert loop.clock() - start == pytest.approx(40 * 0.9 * STALL)
    assert not one.got and not any(task.done for task in hub.sessions)
    await hub.over()


async def test_a_client_that_takes_nothing_is_cut_off_and_the_others_get_every_byte(loop: Loop) -> None:
    words = [PAYLOAD(CHUNK)] * 20
    hub = RunningHub(loop)
    stuck, fast = await hub.clients(2)
    stuck.capacity = 1000
    stuck.held = 500  # in the kernel, and never acknowledged
    start = loop.clock()
    one = await hub.client(*words)
    error = await hub.ends(stuck)
    assert loop.clock() - start == pytest.approx(STALL)
    assert isinstance(error, PeerLost) and error.cause == "cut off: it takes nothing, and others wait"
    assert error.unsent == 5 * CHUNK - 1000 + 500  # four in the queue, and the one that made it too full
    assert stuck.aborted, "an end-of-file would be a lie"
    await hub.settle()
    same([fast.drain()], words)
    assert not one.closed
    await hub.over()


async def test_a_bug_in_writing_to_one_client_ends_its_session_alone(loop: Loop) -> None:
    hub = RunningHub(loop)
    odd, fast = await hub.clients(2)
    odd.breaks(LookupError("odd"))
    one = await hub.client(b"hello")
    await hub.settle()
    assert isinstance(hub.session(odd).error, LookupError)
    assert odd.closed
    assert fast.drain() == b"hello"
    assert not one.closed
    await hub.over()


async def test_a_client_that_takes_nothing_is_cut_off_even_while_it_sends(loop: Loop) -> None:
    hub = RunningHub(loop)
    stuck, one = await hub.clients(2)
    stuck.capacity = 0
    one.sends(*[bytes(CHUNK)] * 6)
    stuck.sends(*[b"x" * CHUNK] * 6)
    assert isinstance(await hub.ends(stuck), PeerLost)
    await hub.settle()
    assert not one.closed
    await hub.over()


async def test_what_the_peers_system_acknowledges_is_taken(loop: Loop) -> None:
    hub = RunningHub(loop)
    slow, fast = await hub.clients(2)
    slow.capacity, slow.held, slow.acknowledges = 0, 10_000_000, 100_000
    await hub.client(*[bytes(CHUNK)] * 20)
    await loop.sleep(60)
    assert not hub.session(slow).done
    slow.held, slow.acknowledges = 1000, 0
    start = loop.clock()
    assert isinstance(await hub.ends(slow), PeerLost)
    assert loop.clock() - start == pytest.approx(STALL, abs=2 * LOOK)
    await hub.settle()
    assert len(fast.got) == 20 * CHUNK
    await hub.over()


async def test_after_a_client_with_a_full_queue_has_left_the_others_go_on(loop: Loop) -> None:
    hub = RunningHub(loop)
    stuck, fast = await hub.clients(2)
    stuck.capacity = 0
    await hub.client(*[bytes(CHUNK)] * 20)
    await loop.sleep(0.5)
    assert len(fast.got) < 20 * CHUNK
    stuck.sends(RESET)
    assert await hub.ends(stuck) is RESET
    await hub.settle()
    assert len(fast.got) == 20 * CHUNK
    await hub.over()


# -- stdin, and clients that end ------------------------------------------------------------------------------------


async def test_stdin_goes_to_all_while_there_are_clients_and_the_hub_outlives_it(loop: Loop) -> None:
    stdin = MemorySource(loop, b"one", b"two", 5.0, b"three", END)
    hub = RunningHub(loop, stdin=stdin)
    await loop.sleep(10)
    assert len(stdin.script) == 5, "without a client it is not read"
    one = await hub.client()
    assert one.drain() == b"onetwo"
    one.sends(RESET)
    await hub.ends(one)
    await loop.sleep(10)
    two, three = await hub.clients(2)
    assert two.drain() == b"three"
    assert three.drain() == b""
    assert not hub.running.done
    two.sends(b"still here")
    await hub.settle()
    assert three.drain() == b"still here"
    await hub.over()


async def test_an_error_of_stdin_is_the_servers(loop: Loop) -> None:
    hub = RunningHub(loop, stdin=MemorySource(loop, InputError("reading stdin", "Input/output error")))
    await hub.client()
    assert isinstance(hub.running.error, InputError)
    await hub.over()


async def test_a_client_that_half_closes_goes_on_receiving_until_its_connection_closes(loop: Loop) -> None:
    hub = RunningHub(loop)
    one, two = await hub.clients(2)
    two.sends(b"my last", END)
    await loop.sleep(3600)
    one.sends(b"news")
    await hub.settle()
    assert one.drain() == b"my last"
    assert two.drain() == b"news"
    two.hangs_up()
    assert await hub.ends(two) is None
    assert not two.aborted
    one.sends(b"more")
    await hub.settle()
    await hub.over()


async def test_a_reset_is_a_failure_of_a_client_that_sends_and_the_leaving_of_one_that_has_half_closed(
    loop: Loop,
) -> None:
    hub = RunningHub(loop)
    one, sending, half_closed, reset = await hub.clients(4)
    half_closed.sends(END)
    reset.sends(RESET)
    assert await hub.ends(reset) is RESET
    for client in (sending, half_closed):
        client.breaks()
    one.sends(b"news")
    error = await hub.ends(sending)
    assert isinstance(error, PeerLost) and (error.cause, error.unsent) == (RESET.cause, 4)
    assert await hub.ends(half_closed) is None
    await hub.over()


async def test_an_end_of_file_that_is_not_clean_is_a_failure(loop: Loop) -> None:
    hub = RunningHub(loop)
    one, two = await hub.clients(2)
    one.end = PeerLost("connection to peer", "it broke off")
    one.sends(b"half a", END)
    assert await hub.ends(one) is one.end
    assert two.drain() == b"half a"
    await hub.over()


async def test_a_client_that_neither_sends_nor_receives_for_too_long_is_dropped(loop: Loop) -> None:
    hub = RunningHub(loop, ending=Ending(idle_timeout=10.0))
    one, two = await hub.clients(2)
    for _ in range(20):
        one.sends(b"tick")
        await loop.sleep(5)
    assert len(two.drain()) == 80
    assert not any(task.done for task in hub.sessions)
    start = loop.clock()
    for client in (one, two):
        assert isinstance(await hub.ends(client), TimedOut)
        assert loop.clock() - start <= 5 + 10 * 9 / 8
    await hub.over()


async def test_without_a_limit_silence_lasts(loop: Loop) -> None:
    hub = RunningHub(loop)
    await hub.clients(2)
    await loop.sleep(1e6)
    assert not any(task.done for task in hub.sessions)
    await hub.over()


async def test_the_logs_have_what_clients_sent_as_received_and_what_stdin_gave_as_sent(
    loop: Loop, tmp_path: Path
) -> None:
    logs = Logs(raw=str(tmp_path / "raw"), hexadecimal=str(tmp_path / "hex"))
    stdin = MemorySource(loop, 1.0, b"mine\n")
    hub = RunningHub(loop, "chat", stdin, logs=logs, crlf=True)
    one, _ = await hub.clients(2)
    one.sends(b"\x1bhers\n")
    await loop.sleep(2)
    await hub.over()
    assert (tmp_path / "raw").read_bytes() == b"\x1bhers\n<user0> mine\r\n"
    assert [line[0] for line in (tmp_path / "hex").read_text().splitlines()] == ["<", ">"]


async def test_a_log_that_cannot_be_written_ends_the_server(loop: Loop) -> None:
    hub = RunningHub(loop, logs=Logs(raw="/dev/full"))
    one = await hub.client(b"word")
    assert isinstance(await hub.ends(one), OutputError), "an error of the server, not of one session"
    await hub.over()


# -- Chat ------------------------------------------------------------------------------------------------------------


async def test_a_newcomer_is_announced_to_all_and_gets_the_list_of_clients(loop: Loop) -> None:
    hub = RunningHub(loop, "chat")
    one = await hub.client()
    assert one.drain() == (b"<announce> 127.0.0.1 is connected as <user1>.\n<announce> already connected: nobody.\n")
    two = await hub.client(host="::1")
    assert one.drain() == b"<announce> ::1 is connected as <user2>.\n"
    assert two.drain() == (
        b"<announce> ::1 is connected as <user2>.\n<announce> already connected: 127.0.0.1 as <user1>.\n"
    )
    three = await hub.client()
    assert three.drain().endswith(b"<announce> already connected: 127.0.0.1 as <user1>, ::1 as <user2>.\n")
    await hub.over()


async def test_a_newcomer_to_many_gets_their_number_instead_of_their_names(loop: Loop) -> None:
    hub = RunningHub(loop, "chat")
    clients = await hub.clients(NAMES + 2)
    lists = [client.drain().splitlines()[1] for client in clients]
    assert lists[-2].count(b" as <user") == NAMES
    assert lists[-1] == b"<announce> already connected: %d clients." % (NAMES + 1)
    assert max(map(len, lists)) < 2000
    await hub.over()


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
    hub = RunningHub(loop, "chat")
    one = await hub.client(host=host)
    assert one.drain().decode().splitlines()[0] == f"<announce> {name} is connected as <user1>."
    await hub.over()


async def test_names_are_never_used_again_and_leaving_is_announced(loop: Loop) -> None:
    hub = RunningHub(loop, "chat")
    stays = await hub.client()
    for number in range(2, 6):
        leaves = await hub.client()
        leaves.sends(RESET)
        await hub.ends(leaves)
        assert stays.drain().decode().splitlines()[-1] == f"<announce> <user{number}> is disconnected."
    await hub.over()


async def test_each_line_goes_to_the_others_with_the_name_of_its_sender(loop: Loop) -> None:
    hub = RunningHub(loop, "chat", MemorySource(loop, 1.0, b"from the ", b"server\nand", END))
    one, two = await hub.clients(2)
    forget(one, two)
    one.sends(b"half a")
    await hub.settle()
    assert two.drain() == b""
    one.sends(b" line\r\n<announce> lies\nrest")
    await hub.settle()
    assert two.drain() == b"<user1> half a line\n<user1> <announce> lies\n"
    assert one.drain() == b""
    await loop.sleep(2)
    assert one.drain() == two.drain() == b"<user0> from the server\n<user0> and\n"
    one.sends(RESET)
    await hub.ends(one)
    assert two.drain() == b"<user1> rest\n<announce> <user1> is disconnected.\n"
    await hub.over()


async def test_a_client_that_half_closes_gets_a_notice_of_its_own_and_its_last_line_is_passed_on(loop: Loop) -> None:
    hub = RunningHub(loop, "chat")
    one, two = await hub.clients(2)
    forget(one, two)
    one.sends(b"bye", END)
    await hub.settle()
    assert one.drain() == b"<announce> you are only listening now.\n"
    assert two.drain() == b"<user1> bye\n"
    two.sends(b"are you there?\n")
    await hub.settle()
    assert one.drain() == b"<user2> are you there?\n"
    one.hangs_up()
    await hub.ends(one)
    assert two.drain() == b"<announce> <user1> is disconnected.\n"
    await hub.over()


async def test_crlf_is_for_what_stdin_sends(loop: Loop) -> None:
    hub = RunningHub(loop, "chat", MemorySource(loop, 1.0, b"one\ntwo"), crlf=True)
    one, two = await hub.clients(2)
    forget(one, two)
    one.sends(b"mine\n")
    await loop.sleep(2)
    assert two.drain() == b"<user1> mine\n<user0> one\r\n"
    await hub.over()


async def test_announcements_alone_do_not_fill_a_queue_for_ever(loop: Loop) -> None:
    hub = RunningHub(loop, "chat")
    stuck = await hub.client()
    stuck.capacity = 0
    service = hub.service
    await hub.clients(3)
    while not service.queues.full:
        next(iter(service.members)).put(bytes(CHUNK))  # as thousands of clients that come and go would
    start = loop.clock()
    hub.sessions.append(loop.spawn(service.session(newcomer := Client(loop)), Condition()))
    hub.members.append(newcomer)
    assert isinstance(await hub.ends(stuck), PeerLost)
    assert loop.clock() - start == pytest.approx(STALL)
    await hub.settle()
    assert b"connected as <user5>" in newcomer.drain()
    await hub.over()


def test_at_the_end_of_the_server_leaving_is_not_announced() -> None:
    async def main(loop: Loop) -> list[Client]:
        hub = RunningHub(loop, "chat")
        clients = await hub.clients(3)
        clients[0].sends(END)
        await hub.settle()
        forget(*clients)
        return clients

    clients = play(main)  # the loop's end cancels them all
    assert all(client.closed and not client.got for client in clients)
