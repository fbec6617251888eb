"""Logs by name: where they are, which files are refused, and what sessions with equal names share."""

from __future__ import annotations

import os
import string
from typing import TYPE_CHECKING

import pytest
from doubles import StubPeer
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Config, Logs
from pync.events import Address, as_address
from pync.relay import client_logs
from pync.relay.client_logs import LogError, LogsByName, LogsInTurn, facts, spelled_out
from pync.relay.log_files import RECEIVED, SENT, HexDump, LogFiles
from pync.relay.open_logs import open_logs
from pync.sessions.wall import SHARED
from pync.wall_time import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any, Literal

    from pync.config import LogName
    from pync.loop.kernel import Loop

MOMENT = 1_795_926_117 * SECOND  # 2026-11-29T04:21:57Z
ADDRESS = Address(host="192.0.2.1", port=4242)
SAFE = {*string.ascii_letters, *string.digits, *".:_-@%"}

unix_names = st.binary(max_size=107).map(as_address)  # a path, or after a NUL an abstract name
peers = st.builds(Address, host=st.text() | st.sampled_from(["..", ".", "", "../x", "/etc"]), port=st.none())
names = st.lists(st.sampled_from("aptn"), min_size=1).map(lambda letters: ("", *[x for a in letters for x in (a, "")]))


class Peer(StubPeer):
    """A peer with an address, of which it is known how it was left."""

    def __init__(self, loop: Loop, address: Address = ADDRESS) -> None:
        super().__init__(loop)
        self.address = address
        self.broken = False

    def abort(self) -> None:
        self.broken = True


class Opened:
    """Makes logs in a directory, and closes what they have open at the end of the test."""

    def __init__(self, loop: Loop, directory: Path) -> None:
        self.loop = loop
        self.directory = directory
        self.made: list[LogsByName] = []

    def logs(
        self, *name: str, mode: Literal["listen", "connect"] = "listen", append: bool = False, **facts: Any
    ) -> LogsByName:
        raw = (f"{self.directory}/{name[0]}", *name[1:])
        config = Config(mode=mode, logs=Logs(raw=raw, append=append), **facts)
        logs = open_logs(config, lambda: MOMENT)
        assert isinstance(logs, LogsByName)
        self.made.append(logs)
        return logs

    def peer(self, address: Address = ADDRESS) -> Peer:
        return Peer(self.loop, address)

    def begun(self, logs: LogsByName, address: Address = ADDRESS) -> Peer:
        peer = self.peer(address)
        logs.begin(peer)
        return peer

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}


@pytest.fixture
def opened(loop: Loop, tmp_path: Path) -> Iterator[Opened]:
    opened = Opened(loop, tmp_path)
    before = len(os.listdir("/dev/fd"))
    yield opened
    for logs in opened.made:
        for peer in [*logs._own]:
            logs.end(peer)
        assert not logs._open
    assert len(os.listdir("/dev/fd")) == before


def log(logs: LogFiles, peer: Peer, *words: bytes) -> None:
    for word in words:
        (stage,) = logs.of(peer).copy(RECEIVED)
        stage.feed(word)


# -- Names -----------------------------------------------------------------------------------------------------------


@given(unix_names | peers, names, st.integers(1))
def test_a_peer_cannot_lead_a_log_out_of_its_directory(peer: Address, name: LogName, number: int) -> None:
    path = spelled_out(("logs/" + name[0], *name[1:]), facts(peer, MOMENT, number))
    directory, slash, file = path.partition("/")
    assert (directory, slash) == ("logs", "/")
    assert file and set(file) <= SAFE and not file.startswith(".")


@given(unix_names | peers, names)
def test_a_peer_that_is_a_directory_is_one_below_that_of_the_logs(peer: Address, name: LogName) -> None:
    path = spelled_out(("logs/" + name[0], *name[1:-1], "/log"), facts(peer, MOMENT, 1))
    assert os.path.normpath(path) == path
    assert path.count("/") == 2


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (ADDRESS, "192.0.2.1 4242"),
        (Address(host="fe80::1%eth0", port=1), "fe80::1%eth0 1"),
        (Address(host=""), "unix 0"),
        (Address(host="/tmp/../a b"), "_tmp_.._a_b 0"),
        (Address(host="@name"), "@name 0"),
        (Address(host="../\udcff\u00e9\n"), "_.____ 0"),
    ],
)
def test_an_address_is_kept_as_far_as_a_file_may_be_called_so(peer: Address, text: str) -> None:
    assert spelled_out(("", "a", " ", "p", ""), facts(peer, MOMENT, 1)) == text


async def test_the_time_is_that_of_the_beginning_and_sessions_are_counted_from_1(opened: Opened) -> None:
    logs = opened.logs("", "t", "-", "n", ".log")
    for _ in range(2):
        opened.begun(logs)
    assert opened.files() == {"20261129T042157Z-1.log": b"", "20261129T042157Z-2.log": b""}


# -- Files -----------------------------------------------------------------------------------------------------------


def link(path: Path) -> None:
    (path.parent / "victim").write_bytes(b"precious")
    path.symlink_to(path.parent / "victim")


def hard_link(path: Path) -> None:
    (path.parent / "victim").write_bytes(b"precious")
    os.link(path.parent / "victim", path)


IN_PLACE = {
    "symbolic link": (link, "it is a symbolic link"),
    "link to nothing": (lambda path: path.symlink_to("nothing"), "it is a symbolic link"),
    "hard link": (hard_link, "the file has another name, too"),
    "directory": (lambda path: path.mkdir(), "Is a directory"),
    "fifo": (os.mkfifo, "No such device or address"),
}


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("append", [False, True])
async def test_what_is_no_file_of_its_own_is_refused_and_left_as_it_is(opened: Opened, kind: str, append: bool) -> None:
    put, why = IN_PLACE[kind]
    path = opened.directory / "192.0.2.1"
    put(path)
    logs, peer = opened.logs("", "a", "", append=append), opened.peer()
    with pytest.raises(LogError) as raised:
        logs.begin(peer)
    assert str(raised.value) == f"opening {path}: {why}"
    assert peer.broken, "its end would look as if all was well"
    if (victim := opened.directory / "victim").exists():
        assert victim.read_bytes() == b"precious"
    assert not (opened.directory / "nothing").exists()


async def test_a_fifo_is_refused_even_if_it_is_read(opened: Opened) -> None:
    path = opened.directory / "1"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(LogError, match=r"^opening .*/1: it is no regular file$"):
        opened.begun(opened.logs("", "n", ""))
    os.close(reading)


async def test_if_one_of_two_logs_cannot_be_opened_the_other_is_closed_again(opened: Opened) -> None:
    (opened.directory / "hex-1").mkdir()
    names = Logs(raw=(f"{opened.directory}/raw-", "n", ""), hexadecimal=(f"{opened.directory}/hex-", "n", ""))
    logs = open_logs(Config(mode="listen", logs=names), lambda: MOMENT)
    assert isinstance(logs, LogsByName)
    before = os.listdir("/dev/fd")
    with pytest.raises(LogError, match=r"hex-1: Is a directory$"):
        opened.begun(logs)
    assert os.listdir("/dev/fd") == before
    assert logs.descriptors == 2


async def test_a_log_that_cannot_be_written_fails_for_its_session_alone(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = opened.logs("", "n", "")
    peer = opened.begun(logs)
    full = os.open("/dev/full", os.O_WRONLY)
    with monkeypatch.context() as patch, pytest.raises(LogError) as raised:
        patch.setattr(logs.own(peer).raw, "fd", full)
        log(logs, peer, b"word")
    os.close(full)
    assert str(raised.value) == f"writing {opened.directory}/1: No space left on device"
    assert not isinstance(raised.value, SHARED)


async def test_programs_do_not_inherit_a_log(opened: Opened) -> None:
    logs = opened.logs("", "n", "")
    file = logs.own(opened.begun(logs)).raw
    assert file and not os.get_inheritable(file.fd)


# -- The directory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "why"), [("missing/", "No such file or directory"), ("file/", "Not a directory")], ids=["none", "file"]
)
async def test_a_directory_that_is_none_is_found_out_at_the_start(opened: Opened, start: str, why: str) -> None:
    (opened.directory / "file").write_bytes(b"")
    with pytest.raises(LogError) as raised:
        opened.logs(start, "n", "")
    assert str(raised.value) == f"directory {opened.directory}/{start[:-1]} for logs: {why}"


async def test_a_directory_that_differs_between_sessions_is_found_out_by_each(opened: Opened) -> None:
    logs = opened.logs("", "n", "/log")
    with pytest.raises(LogError, match=r"^opening .*/1/log: No such file or directory$"):
        opened.begun(logs)
    (opened.directory / "2").mkdir()
    opened.begun(logs)
    assert (opened.directory / "2" / "log").exists()


# -- Sessions with equal names ---------------------------------------------------------------------------------------


async def test_the_first_session_of_a_run_begins_a_file_anew_and_the_others_append(opened: Opened) -> None:
    (opened.directory / "192.0.2.1").write_bytes(b"yesterday ")
    logs = opened.logs("", "a", "")
    first, second = opened.begun(logs), opened.begun(logs)
    log(logs, first, b"one ")
    log(logs, second, b"two ")
    logs.end(first)
    log(logs, second, b"three ")
    logs.end(second)
    log(logs, opened.begun(logs), b"four ")
    assert opened.files() == {"192.0.2.1": b"one two three four "}


async def test_a_log_goes_on_where_that_of_another_run_has_ended_if_asked_for(opened: Opened) -> None:
    (opened.directory / "1").write_bytes(b"yesterday ")
    logs = opened.logs("", "n", "", append=True)
    log(logs, opened.begun(logs), b"today")
    assert opened.files() == {"1": b"yesterday today"}


async def test_the_names_that_are_remembered_are_limited_and_no_log_of_the_run_is_erased(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_logs, "MOST", 2)
    logs = opened.logs("", "a", "")
    for _ in range(2):
        for host in "abcd":
            peer = opened.begun(logs, Address(host=host))
            log(logs, peer, b"x")
            logs.end(peer)
    assert opened.files() == dict.fromkeys("abcd", b"xx")
    assert len(logs._begun) == 2


async def test_a_name_with_the_number_of_the_session_is_not_remembered(opened: Opened) -> None:
    logs = opened.logs("", "n", "")
    for _ in range(5):
        logs.end(opened.begun(logs))
    assert logs._begun == set()


# -- Logs that all share beside those of each session ------------------------------------------------------------------


async def test_one_log_can_be_for_all_and_the_other_for_each(opened: Opened) -> None:
    directory = opened.directory
    names = Logs(raw=str(directory / "all"), hexadecimal=(f"{directory}/", "n", ""))
    logs = open_logs(Config(mode="listen", logs=names), lambda: MOMENT)
    assert isinstance(logs, LogsByName) and logs.raw
    peers = [opened.begun(logs) for _ in range(2)]
    for peer in peers:
        log(logs, peer, b"x")
        logs.own(peer).copy(SENT)[0].feed(b"own")
        logs.end(peer)
    os.close(logs.raw.fd)
    own = HexDump(RECEIVED).feed(b"x") + HexDump(SENT).feed(b"own")
    assert opened.files() == {"all": b"xx", "1": own, "2": own}


async def test_a_log_that_all_share_is_no_sessions_own(opened: Opened) -> None:
    logs = open_logs(Config(mode="listen", logs=Logs(raw=str(opened.directory / "all"))))
    assert logs.raw and not logs.descriptors
    assert logs.of(opened.peer()) is logs and logs.own(opened.peer()).copy(SENT) == ()
    os.close(logs.raw.fd)


# -- A run that connects ---------------------------------------------------------------------------------------------


async def test_of_sessions_that_follow_each_other_one_log_is_open(opened: Opened) -> None:
    logs = opened.logs("", "p", "", mode="connect")
    assert isinstance(logs, LogsInTurn)
    for port in (1, 2):
        peer = opened.peer(Address(host="192.0.2.1", port=port))
        log(logs, peer, b"a", b"b")  # for each of its flows
        assert len(logs._open) == 1
    assert opened.files() == {"1": b"ab", "2": b"ab"}


async def test_connections_of_one_conversation_have_one_log(opened: Opened) -> None:
    logs = opened.logs("", "n", "", mode="connect", reconnect=5.0)
    for word in (b"a", b"b"):
        log(logs, opened.peer(), word)
    assert opened.files() == {"1": b"ab"}


# -- Time stamps -----------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40)))
def test_the_time_stands_in_front_of_each_read_and_nothing_else_changes(parts: list[bytes]) -> None:
    moments = iter(range(1000))
    stamped, plain = HexDump(SENT, lambda: str(next(moments))), HexDump(SENT)
    read = [part for part in parts if part]
    lines = b"".join(map(stamped.feed, parts)).decode().splitlines()
    assert [line for line in lines if line.startswith("#")] == [f"# {number}" for number in range(len(read))]
    assert [line for line in lines if not line.startswith("#")] == (
        b"".join(map(plain.feed, parts)).decode().splitlines()
    )


async def test_the_time_is_that_of_the_wall_clock(tmp_path: Path) -> None:
    asked = Logs(hexadecimal=str(tmp_path / "hex"), timestamps=True)
    logs = open_logs(Config(mode="connect", logs=asked), lambda: MOMENT + 123_456_789)
    assert logs.hexadecimal
    logs.copy(SENT)[0].feed(b"x")
    os.close(logs.hexadecimal.fd)
    lines = (tmp_path / "hex").read_text().splitlines()
    assert lines[0] == "# 2026-11-29T04:21:57.123456Z"
    assert [line[0] for line in lines] == ["#", ">"]
