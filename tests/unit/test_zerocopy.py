"""Bytes that the kernel moves are those that copying moves: as many, in their order, with the same ends and errors.

A scene is a whole conversation on one loop: what stdin and stdout are, what both sides say, who ends first, who is
slow, what breaks. It is played twice, with the kernel's help and without, and both must keep to the model.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import signal
import socket
import tempfile
from contextlib import ExitStack, asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import (
    Bench,
    Far,
    FarSocket,
    bench,
    join,
    nothing_opens_again,
    same,
    tcp_pair,
    terminal,
    turns,
    unix_pair,
)
from harness import DEVNULL, PAYLOAD
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import client, complaints, drain, listener, lives_on, take, through

from pync.config import Config, Ending, Logs, Program
from pync.endpoints import child
from pync.endpoints.datagrams import DatagramSocket
from pync.endpoints.stdio import FileSource, Stdin, Stdout
from pync.endpoints.streams import StreamSocket
from pync.errors import InputError, OutputClosed, PeerLost, PyncError
from pync.events import Address
from pync.loop.tasks import Condition
from pync.relay import flow as flow_module
from pync.relay import zerocopy
from pync.relay.flow import Flow
from pync.relay.rules import Conversation
from pync.relay.zerocopy import Pipeline, SendFile, Splice, Tunnel, Unsuitable, between
from pync.sessions import conversation
from pync.stages.crlf import Crlf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import IO, Any

    from pairs import Pair

    from pync.loop.kernel import Loop
    from pync.relay.zerocopy import Mover

    Role = Callable[..., AbstractContextManager[Pair]]

BYTES = PAYLOAD(3_000_000)
PEER = Address(host="peer", port=1)
MIB = 1 << 20
BUFFERS = MIB // 2  # bytes: more than the kernels hold between our writing and the peer's reading
PROC = "/proc/version"  # a regular file that says it is empty, and is not


# -- Ends of every kind ------------------------------------------------------------------------------------------


@contextmanager
def closing(*fds: int) -> Iterator[None]:
    """Closes those that are still open, and still what they were."""
    were = [os.fstat(fd) for fd in fds]
    try:
        yield
    finally:
        for fd, was in zip(fds, were, strict=True):
            try:
                if os.path.samestat(os.fstat(fd), was):
                    os.close(fd)
            except OSError:
                pass


@contextmanager
def stdin_of(loop: Loop, kind: str, data: bytes) -> Iterator[tuple[Stdin, Far | None]]:
    """A stdin, and who feeds it; a file has its data already."""
    far: Far | None = None
    if kind == "file":
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(data)
            fd = os.dup(file.fileno())
        os.lseek(fd, 0, os.SEEK_SET)
    elif kind in {PROC, os.devnull}:
        fd = os.open(kind, os.O_RDONLY)
    elif kind == "socket":
        near, other = unix_pair()
        fd, far = near.detach(), FarSocket(loop, other)
    elif kind == "terminal":
        master, fd = terminal()
        far = Far(loop, writing=master)
    else:
        fd, writing = os.pipe()
        far = Far(loop, writing=writing)
    with ExitStack() as stack:
        with ExitStack() as shared:
            if kind == "shared pipe":
                shared.enter_context(nothing_opens_again())
            stdin = Stdin(loop, fd)
        stack.enter_context(closing(fd))
        yield stdin, far
        loop.forget(stdin.fd)
        if stdin.fd != fd:
            os.close(stdin.fd)
        if stdin.sock:
            stdin.sock.close()
        if far:
            far.close()


@contextmanager
def stdout_of(loop: Loop, kind: str) -> Iterator[tuple[Stdout, Far | None, IO[bytes] | None]]:
    """A stdout, and who reads it while it is written, or the file that can be read at the end."""
    far: Far | None = None
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        if kind in {"file", "appended file"}:
            file = stack.enter_context(tempfile.NamedTemporaryFile(buffering=0))
            fd = os.open(file.name, os.O_WRONLY | (os.O_APPEND if kind == "appended file" else 0))
        elif kind.startswith("/dev/"):
            fd = os.open(kind, os.O_WRONLY)
        elif kind == "socket":
            near, other = unix_pair()
            fd, far = near.detach(), FarSocket(loop, other)
        elif kind == "terminal":
            master, fd = terminal()
            far = Far(loop, reading=master)
        else:
            reading, fd = os.pipe()
            far = Far(loop, reading=reading)
        with ExitStack() as shared:
            if kind == "shared pipe":
                shared.enter_context(nothing_opens_again())
            stdout = Stdout(loop, fd)
        stack.enter_context(closing(fd))
        yield stdout, far, file
        if far:
            far.close()


PAIRS: dict[str, Callable[[], tuple[socket.socket, socket.socket]]] = {"tcp": tcp_pair, "unix": unix_pair}
over_both = pytest.mark.parametrize("over", PAIRS)
copied_too = pytest.mark.parametrize("copied", [False, True], ids=["moved by the kernel", "copied"])


@contextmanager
def peer_of(loop: Loop, over: str = "tcp") -> Iterator[tuple[StreamSocket, FarSocket]]:
    """A connected endpoint, and its peer."""
    near, other = PAIRS[over]()
    endpoint, far = StreamSocket(loop, near, PEER), FarSocket(loop, other)
    try:
        yield endpoint, far
    finally:
        endpoint.close()
        far.close()


async def finish(stdout: Stdout) -> None:
    """Close it, whatever it thinks of that."""
    try:
        await stdout.send_eof()
    except PyncError:
        pass


# -- Whole conversations -----------------------------------------------------------------------------------------

STDINS = ["file", PROC, os.devnull, "pipe", "shared pipe", "terminal", "socket"]
STDOUTS = ["file", "appended file", "/dev/null", "/dev/full", "pipe", "shared pipe", "terminal", "socket"]
FOLLOWED = {"pipe", "shared pipe", "terminal", "socket"}  # those that somebody reads meanwhile
SIZES = st.sampled_from([0, 1, 4095, 65_536, 1_500_000]) | st.integers(0, 400_000)


class Scene(NamedTuple):
    """What happens. `slow` reads a little at a time, `breaks` leaves in the middle of what it gets."""

    stdin: str
    stdout: str
    over: str
    said: int  # bytes
    heard: int  # bytes
    piece: int  # bytes that are given at a time
    peer_first: bool  # whether the peer ends without waiting for our end
    slow: str
    breaks: str

    @property
    def speech(self) -> bytes:
        """All that stdin holds."""
        if self.stdin == PROC:
            with open(PROC, "rb") as file:
                return file.read()
        return b"" if self.stdin == os.devnull else BYTES[: self.said]

    @property
    def answer(self) -> bytes:
        """All that the peer says."""
        return BYTES[-self.heard :] if self.heard else b""


class Outcome:
    """What came of it."""

    def __init__(self) -> None:
        self.taken = bytearray()  # by the peer
        self.ended = False  # the peer has read our end-of-file
        self.shown = bytearray()  # on stdout
        self.closed = False  # stdout's reader has read its end
        self.left = False  # it has left before that
        self.error: PyncError | None = None
        self.changed = Condition()

    def words(self) -> tuple[str, str]:
        """The error, without the number that depends on when exactly the peer left."""
        return type(self.error).__name__, re.sub(r", \d+ bytes? w\w+ not sent$", "", str(self.error))


class Play:
    """Plays a scene on a loop."""

    def __init__(self, loop: Loop, scene: Scene, peer: FarSocket, feeder: Far | None, reader: Far | None) -> None:
        self.loop = loop
        self.scene = scene
        self.peer = peer
        self.feeder = feeder
        self.reader = reader
        self.outcome = Outcome()

    async def give(self, far: Far, data: bytes) -> None:
        """In pieces."""
        for start in range(0, len(data), self.scene.piece):
            await far.give(data[start : start + self.scene.piece])
            await self.loop.sleep(0)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what the outcome shows."""
        while not true():
            await self.loop.wait(self.outcome.changed)

    async def feed(self) -> None:
        """Stdin's writer."""
        if self.feeder:
            await self.give(self.feeder, self.scene.speech)
            if self.scene.stdin == "terminal":  # what was not read when it hangs up is lost
                await self.until(lambda: len(self.outcome.taken) == self.scene.said)
            self.feeder.hang_up()

    async def answer(self) -> None:
        """The peer's mouth."""
        half = len(self.scene.answer) // 2
        await self.give(self.peer, self.scene.answer[:half])
        if self.scene.breaks == "stdout":
            await self.until(lambda: self.outcome.left)
        await self.give(self.peer, self.scene.answer[half:])
        if self.scene.breaks != "peer":
            if not self.scene.peer_first or self.scene.stdin == "terminal":
                await self.until(lambda: self.outcome.ended)
            self.peer.hang_up()

    async def pull(self, far: Far, into: bytearray, enough: int | None, slow: bool) -> bool:
        """Read all or enough; True at the end-of-file."""
        while enough is None or len(into) < enough:
            assert far.reading is not None
            try:
                data = os.read(far.reading, 65_536 if enough is None else min(65_536, enough - len(into)))
            except BlockingIOError:
                await self.loop.readable(far.reading)
                continue
            except OSError:  # a reset, or a terminal that everybody has left
                return False
            if not data:
                return True
            into += data
            self.outcome.changed.notify()
            await self.loop.sleep(0.001 if slow else 0)
        return False

    async def listen(self) -> None:
        """The peer's ear."""
        breaks = self.scene.breaks == "peer"
        enough = len(self.scene.speech) // 2 if breaks else None
        self.outcome.ended = await self.pull(self.peer, self.outcome.taken, enough, self.scene.slow == "peer")
        if breaks:
            self.peer.leave()
        self.outcome.changed.notify()

    async def show(self) -> None:
        """Stdout's reader."""
        if self.reader:
            breaks = self.scene.breaks == "stdout"
            enough = self.scene.heard // 2 if breaks else None
            slow = self.scene.slow == "stdout"
            self.outcome.closed = await self.pull(self.reader, self.outcome.shown, enough, slow)
            if breaks:
                self.reader.close()
                self.outcome.left = True
            self.outcome.changed.notify()


def play_scene(scene: Scene) -> Outcome:
    """What comes of a scene; nothing is left of it."""

    async def main(loop: Bench) -> Outcome:
        with (
            stdin_of(loop, scene.stdin, scene.speech) as (stdin, feeder),
            stdout_of(loop, scene.stdout) as (stdout, reader, file),
            peer_of(loop, scene.over) as (endpoint, peer),
        ):
            play = Play(loop, scene, peer, feeder, reader)
            outcome = play.outcome
            relay = Conversation(
                loop,
                Flow(loop, stdin, endpoint),
                Flow(loop, endpoint, stdout),
                Ending(at_once=True),
                gone=endpoint.wait_closed,
                terminal=scene.stdin == "terminal",
            )
            givers = [loop.spawn(work, Condition()) for work in (play.feed(), play.answer())]
            takers = [loop.spawn(work, Condition()) for work in (play.listen(), play.show())]
            try:
                await relay.run()
            except PyncError as error:
                outcome.error = error
            endpoint.close()
            await finish(stdout)
            await loop.cancel_and_wait(*givers)
            for taker in takers:
                while not taker.done:
                    await loop.wait(taker.ended)
                taker.result()
            if file:
                outcome.shown += file.read()
            return outcome

    return bench(main)


def keeps_to_the_model(scene: Scene, outcome: Outcome) -> None:
    """What has to come of it, however the bytes are moved."""
    assert scene.speech.startswith(outcome.taken)
    assert scene.answer.startswith(outcome.shown)
    if scene.breaks == "peer":
        if scene.over == "tcp":
            assert outcome.words() == ("PeerLost", "connection to peer:1: Connection reset by peer")
        elif outcome.error:
            kind, message = outcome.words()
            assert kind == "PeerLost" and message.split(": ")[1] in {"Connection reset by peer", "Broken pipe"}
        if isinstance(outcome.error, PeerLost):
            left = len(scene.speech) - len(outcome.taken)
            least = left - BUFFERS if scene.stdin == "file" else 0
            most = left + BUFFERS  # the peer may have taken what its kernel has not acknowledged
            assert least <= outcome.error.unsent <= most, outcome.error
    elif scene.breaks == "stdout":
        assert outcome.words() == ("OutputClosed", "writing stdout: Broken pipe")
    elif scene.stdout == "/dev/full" and scene.heard:
        assert outcome.words() == ("OutputError", "writing stdout: No space left on device")
    else:
        assert outcome.error is None
        same([bytes(outcome.taken)], [scene.speech])
        assert outcome.ended
        if scene.stdout not in {"/dev/null", "/dev/full"}:
            same([bytes(outcome.shown)], [scene.answer])
        assert outcome.closed == (scene.stdout in FOLLOWED - {"terminal"})


def breaks_for(stdout: str) -> list[str]:
    """What can be made to break at a moment that is the same both times."""
    if stdout == "/dev/full":
        return [""]
    return ["", "", "peer", *(["stdout"] if stdout in FOLLOWED - {"terminal"} else [])]


@pytest.mark.parametrize("stdout", STDOUTS)
@pytest.mark.parametrize("stdin", STDINS)
@settings(max_examples=15)
@given(st.data())
def test_a_conversation_is_the_same_however_its_bytes_are_moved(stdin: str, stdout: str, data: st.DataObject) -> None:
    breaks = data.draw(st.sampled_from(breaks_for(stdout)), "breaks")
    scene = Scene(
        stdin,
        stdout,
        data.draw(st.sampled_from(["tcp", "unix"]), "over"),
        data.draw(SIZES, "said"),
        data.draw(SIZES, "heard") + 2 * (breaks == "stdout"),
        data.draw(st.sampled_from([1 << 20, 65_536, 30_001]), "piece"),
        data.draw(st.booleans(), "peer_first"),
        data.draw(st.sampled_from(["", "peer", "stdout"]), "slow"),
        breaks,
    )
    moved = play_scene(scene)
    keeps_to_the_model(scene, moved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_module, "between", lambda *_: None)
        copied = play_scene(scene)
    keeps_to_the_model(scene, copied)
    if not (scene.breaks == "peer" and scene.over == "unix"):  # who notices first that it has gone is by chance
        assert moved.words() == copied.words()


# -- Who is moved by the kernel ----------------------------------------------------------------------------------


@contextmanager
def only_by_kernel() -> Iterator[None]:
    """Inside, no byte may come up to Python."""

    async def refuse(_: Flow) -> None:
        raise AssertionError("copied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flow, "_by_hand", refuse)
        yield


def kind_of(mover: Mover | None) -> type[Mover] | None:
    """Its class; it is closed."""
    if mover is None:
        return None
    mover.close()
    return type(mover)


STDIN_MOVERS = {
    "file": SendFile,
    PROC: SendFile,
    "pipe": Splice,
    "shared pipe": Splice,
    os.devnull: None,
    "terminal": None,
    "socket": None,
}
STDOUT_MOVERS = {
    "file": Pipeline,
    "appended file": Pipeline,
    "/dev/null": Pipeline,
    "/dev/full": Pipeline,
    "pipe": Splice,
    "shared pipe": None,
    "terminal": None,
    "socket": None,
}


@over_both
@pytest.mark.parametrize("kind", STDINS)
async def test_what_stdin_is_decides_how_it_is_moved(real_loop: Bench, kind: str, over: str) -> None:
    with stdin_of(real_loop, kind, b"data") as (stdin, _), peer_of(real_loop, over) as (endpoint, _):
        assert kind_of(between(real_loop, stdin, endpoint)) is STDIN_MOVERS[kind]


@over_both
@pytest.mark.parametrize("kind", STDOUTS)
async def test_what_stdout_is_decides_how_it_is_moved(real_loop: Bench, kind: str, over: str) -> None:
    with stdout_of(real_loop, kind) as (stdout, _, _), peer_of(real_loop, over) as (endpoint, _):
        assert kind_of(between(real_loop, endpoint, stdout)) is STDOUT_MOVERS[kind]
        await stdout.send_eof()


async def test_datagrams_are_not_moved_by_the_kernel(real_loop: Bench) -> None:
    near, other = unix_pair(socket.SOCK_DGRAM)
    with other, stdin_of(real_loop, "pipe", b"") as (stdin, _), stdout_of(real_loop, "pipe") as (stdout, _, _):
        endpoint = DatagramSocket(real_loop, near, "peer")
        assert between(real_loop, stdin, endpoint) is None
        assert between(real_loop, endpoint, stdout) is None
        endpoint.close()
        await stdout.send_eof()


async def test_where_python_has_no_splice_everything_is_copied(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "splice")
    with stdin_of(real_loop, "file", b"data") as (stdin, _), peer_of(real_loop) as (endpoint, _):
        assert between(real_loop, stdin, endpoint) is None


@pytest.mark.parametrize(
    ("config", "moved"),
    [
        ({}, [SendFile, Pipeline]),
        ({"crlf": True}, [Pipeline]),
        ({"pace": 0.001}, [Pipeline]),
        ({"ending": Ending(receive_limit=5)}, [SendFile]),
        ({"telnet": True}, []),
        ({"logs": Logs(raw="log")}, []),
        ({"delay": 0.001}, []),
    ],
    ids=["nothing", "crlf", "pace", "receive limit", "telnet", "logs", "delay"],
)
async def test_what_has_to_be_seen_is_copied(
    real_loop: Bench, config: dict[str, Any], moved: list[type[Mover]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_movers: list[Mover | None] = []

    def give(*ends: Any) -> Mover | None:
        given_movers.append(between(*ends))
        return given_movers[-1]

    monkeypatch.setattr(flow_module, "between", give)
    with (
        stdin_of(real_loop, "file", b"question") as (stdin, _),
        stdout_of(real_loop, "file") as (stdout, _, file),
        peer_of(real_loop) as (endpoint, far),
    ):
        logs = SimpleNamespace(copy=lambda _: [Crlf()]) if "logs" in config else None
        run: Any = SimpleNamespace(config=Config(mode="connect", **config), loop=real_loop, logs=logs)
        sending, receiving, _ = conversation.flows(run, stdin, endpoint, stdout)
        await sending.run()
        await far.give(b"answer")
        far.hang_up()
        await receiving.run()
        assert file
        assert (await everything(far), file.read()) == (b"question", b"answer")
    assert [type(mover) for mover in given_movers if mover] == moved


async def everything(far: Far) -> bytes:
    """All that comes until the end."""
    data = b""
    while chunk := await far.take():
        data += chunk
    return data


# -- However the bytes are cut -----------------------------------------------------------------------------------

PIECES = st.lists(st.integers(1, 9) | st.integers(1, 200_000), max_size=8)


@settings(max_examples=30)
@given(PIECES, st.lists(st.integers(0, 3), max_size=8), st.sampled_from(sorted(PAIRS)))
async def test_a_pipe_goes_out_as_it_came_however_it_was_cut(
    real_loop: Bench, pieces: list[int], pauses: list[int], over: str
) -> None:
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        peer_of(real_loop, over) as (endpoint, far),
    ):
        assert feeder
        flow = Flow(real_loop, stdin, endpoint)
        flowing = real_loop.spawn(flow.run(), Condition())
        taking = real_loop.spawn(everything(far), Condition())
        await in_pieces(real_loop, feeder, pieces, pauses)
        await join(real_loop, flowing)
        same([await join(real_loop, taking)], [BYTES[: sum(pieces)]])
        assert (flow.moved, flow.ended, flow.unsent(), flow.reads > 0) == (sum(pieces), True, 0, bool(pieces))


@settings(max_examples=30)
@given(
    PIECES,
    st.lists(st.integers(0, 3), max_size=8),
    st.sampled_from(sorted(PAIRS)),
    st.sampled_from(["pipe", "file", "/dev/null"]),
)
async def test_what_a_peer_sends_comes_in_as_it_was_sent(
    real_loop: Bench, pieces: list[int], pauses: list[int], over: str, kind: str
) -> None:
    with (
        only_by_kernel(),
        stdout_of(real_loop, kind) as (stdout, reader, file),
        peer_of(real_loop, over) as (endpoint, far),
    ):
        flow = Flow(real_loop, endpoint, stdout)
        flowing = real_loop.spawn(flow.run(), Condition())
        taking = real_loop.spawn(everything(reader), Condition()) if reader else None
        await in_pieces(real_loop, far, pieces, pauses)
        await join(real_loop, flowing)
        if taking:
            same([await join(real_loop, taking)], [BYTES[: sum(pieces)]])
        if file:
            same([file.read()], [BYTES[: sum(pieces)]])
        assert (flow.moved, flow.ended, flow.reads > 0) == (sum(pieces), True, bool(pieces))


async def in_pieces(loop: Loop, far: Far, sizes: list[int], pauses: list[int]) -> None:
    """Give BYTES in pieces of these sizes, with so many turns of the loop after each, and hang up."""
    start = 0
    for position, size in enumerate(sizes):
        await far.give(BYTES[start : start + size])
        start += size
        await turns(loop, sum(pauses[position : position + 1]))
    far.hang_up()


async def test_a_flow_that_the_kernel_moves_knows_what_it_waits_for(real_loop: Bench) -> None:
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        peer_of(real_loop) as (endpoint, far),
    ):
        assert feeder
        flow = Flow(real_loop, stdin, endpoint)
        before = real_loop.clock()
        flowing = real_loop.spawn(flow.run(), Condition())
        await turns(real_loop, 5)
        assert (since(flow) or 0) >= before, "for the source"
        feeding = real_loop.spawn(feeder.give(BYTES), Condition())
        await stalled(real_loop, flow)
        assert since(flow) is None, "for the sink"
        taking = real_loop.spawn(everything(far), Condition())
        await join(real_loop, feeding)
        await stalled(real_loop, flow)
        assert since(flow) is not None, "for the source again"
        feeder.hang_up()
        await join(real_loop, flowing)
        assert since(flow) is None and flow.ended
        same([await join(real_loop, taking)], [BYTES])


def since(flow: Flow) -> float | None:
    """When the present wait for the source began."""
    return flow.waiting_since


async def stalled(loop: Loop, flow: Flow) -> None:
    """Wait until nothing moves any more."""
    moved = -1
    while moved != flow.moved:
        moved = flow.moved
        await loop.sleep(0.03)


@pytest.fixture
def moved(copied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are moved with the kernel's help, or `copied` without."""
    if copied:
        monkeypatch.setattr(flow_module, "between", lambda *_: None)


# -- Programs ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(loop: Loop, script: str, *, filters: bool = False) -> AsyncIterator[child.Child]:
    """A program that is dismissed at the end."""
    process = child.start(loop, Program(argv=("sh", "-c", script), filters=filters), os.environ)
    try:
        yield process
    finally:
        await process.terminate()


@pytest.mark.parametrize(("filters", "out"), [(False, Splice), (True, None)], ids=["serves", "filters"])
async def test_a_programs_pipes_are_moved_and_its_terminal_is_not(
    real_loop: Bench, filters: bool, out: type[Mover] | None
) -> None:
    with peer_of(real_loop) as (endpoint, _):
        async with running(real_loop, "exec cat", filters=filters) as process:
            assert kind_of(between(real_loop, endpoint, process.input)) is Splice
            assert kind_of(between(real_loop, process.output, endpoint)) is out


@over_both
@copied_too
@pytest.mark.usefixtures("moved")
async def test_what_passes_a_program_comes_back_whole(real_loop: Bench, over: str) -> None:
    with peer_of(real_loop, over) as (endpoint, far):
        async with running(real_loop, "exec cat") as process:
            flows = [Flow(real_loop, endpoint, process.input), Flow(real_loop, process.output, endpoint)]
            flowing = [real_loop.spawn(flow.run(), Condition()) for flow in flows]
            giving = real_loop.spawn(in_pieces(real_loop, far, [len(BYTES)], []), Condition())
            same([await everything(far)], [BYTES])
            for task in (giving, *flowing):
                await join(real_loop, task)
            assert await process.ended() == 0


@over_both
@copied_too
@pytest.mark.usefixtures("moved")
async def test_what_a_program_does_not_read_is_dropped(real_loop: Bench, over: str) -> None:
    with peer_of(real_loop, over) as (endpoint, far):
        async with running(real_loop, "head -c 5; exit 3") as process:
            receiving = real_loop.spawn(Flow(real_loop, endpoint, process.input).run(), Condition())
            giving = real_loop.spawn(in_pieces(real_loop, far, [len(BYTES)], []), Condition())
            await Flow(real_loop, process.output, endpoint).run()
            assert await everything(far) == BYTES[:5]
            for task in (giving, receiving):
                await join(real_loop, task)
            assert await process.ended() == 3


@over_both
@copied_too
@pytest.mark.usefixtures("moved")
async def test_a_client_that_leaves_is_lost_to_a_program(real_loop: Bench, over: str) -> None:
    with peer_of(real_loop, over) as (endpoint, far):
        async with running(real_loop, "exec cat /dev/zero") as process:
            answering = real_loop.spawn(Flow(real_loop, process.output, endpoint).run(), Condition())
            assert await far.take()
            far.leave()
            with pytest.raises(PeerLost, match="Connection reset by peer|Broken pipe"):
                await join(real_loop, answering)


# -- Waiting costs nothing ---------------------------------------------------------------------------------------


async def sleeps(loop: Bench) -> bool:
    """Whether the loop has nothing to do for a while."""
    before = loop.selector.polls
    await loop.sleep(0.05)
    return loop.selector.polls - before < 10


@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_a_peer_that_does_not_read_costs_nothing(real_loop: Bench, kind: str) -> None:
    with only_by_kernel(), stdin_of(real_loop, kind, BYTES) as (stdin, feeder), peer_of(real_loop) as (endpoint, _):
        flow = Flow(real_loop, stdin, endpoint)
        tasks = [real_loop.spawn(flow.run(), Condition())]
        if feeder:
            tasks.append(real_loop.spawn(feeder.give(BYTES), Condition()))
        await stalled(real_loop, flow)
        assert 0 < flow.moved < len(BYTES) and await sleeps(real_loop)
        if feeder:
            await real_loop.cancel_and_wait(tasks.pop())
            feeder.hang_up()  # an end that cannot be passed on yet is no reason to spin
            assert await sleeps(real_loop)
        await real_loop.cancel_and_wait(*tasks)


async def test_a_reader_of_stdout_that_does_not_read_costs_nothing(real_loop: Bench) -> None:
    with only_by_kernel(), stdout_of(real_loop, "pipe") as (stdout, _, _), peer_of(real_loop) as (endpoint, far):
        flow = Flow(real_loop, endpoint, stdout)
        much = 30 * BYTES  # a pipe of 1 MiB counts pages, and a page may stand for many from a socket
        tasks = [real_loop.spawn(flow.run(), Condition()), real_loop.spawn(far.give(much), Condition())]
        await stalled(real_loop, flow)
        assert 0 < flow.moved < len(much) and await sleeps(real_loop)
        await real_loop.cancel_and_wait(*tasks)
        await stdout.send_eof()


@pytest.mark.parametrize("kind", ["pipe", "file", "/dev/null"])
async def test_a_conversation_in_which_nobody_speaks_costs_nothing(real_loop: Bench, kind: str) -> None:
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        stdout_of(real_loop, kind) as (stdout, _, _),
        peer_of(real_loop) as (endpoint, far),
    ):
        assert feeder
        tasks = [
            real_loop.spawn(flow.run(), Condition())
            for flow in (Flow(real_loop, stdin, endpoint), Flow(real_loop, endpoint, stdout))
        ]
        assert await sleeps(real_loop)
        await feeder.give(b"question")
        assert await far.take() == b"question"
        await far.give(b"answer")
        await turns(real_loop, 5)
        assert await sleeps(real_loop)
        await real_loop.cancel_and_wait(*tasks)
        await stdout.send_eof()


@pytest.mark.parametrize("kind", ["pipe", "shared pipe"])
async def test_a_step_does_not_wait_for_an_empty_pipe(real_loop: Bench, kind: str) -> None:
    with stdin_of(real_loop, kind, b"") as (stdin, feeder), peer_of(real_loop) as (endpoint, far):
        mover = between(real_loop, stdin, endpoint)
        assert mover and feeder
        with pytest.raises(BlockingIOError):
            mover.step()
        await feeder.give(b"data")
        assert mover.step() == 4
        assert await far.take() == b"data"
        with pytest.raises(BlockingIOError):
            mover.step()


@pytest.mark.parametrize("kind", ["pipe", "file", "/dev/null"])
@over_both
async def test_a_step_does_not_wait_for_a_silent_peer_nor_for_a_full_pipe(
    real_loop: Bench, kind: str, over: str
) -> None:
    with stdout_of(real_loop, kind) as (stdout, reader, _), peer_of(real_loop, over) as (endpoint, far):
        mover = between(real_loop, endpoint, stdout)
        assert mover
        with pytest.raises(BlockingIOError):
            mover.step()
        if reader:
            while True:
                try:
                    os.write(stdout.fd, bytes(MIB))
                except BlockingIOError:
                    break
        await far.give(b"data")
        await real_loop.readable(endpoint.sock.fileno())
        if reader:
            with pytest.raises(BlockingIOError):
                mover.step()
        else:
            assert mover.step() == 4
        mover.close()
        await stdout.send_eof()


async def test_two_who_read_the_same_pipe_share_it_and_sleep(real_loop: Bench) -> None:
    words = [b"word %d, " % number for number in range(50)]
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (one, feeder),
        peer_of(real_loop) as (endpoint, far),
        peer_of(real_loop) as (another_endpoint, another_far),
    ):
        assert feeder
        other = Stdin(real_loop, one.fd)
        flows = [Flow(real_loop, one, endpoint), Flow(real_loop, other, another_endpoint)]
        flowing = [real_loop.spawn(flow.run(), Condition()) for flow in flows]
        taking = [real_loop.spawn(everything(peer), Condition()) for peer in (far, another_far)]
        for word in words:
            before = real_loop.selector.polls
            await feeder.give(word)
            await real_loop.sleep(0.002)
            assert real_loop.selector.polls - before < 20
        assert await sleeps(real_loop)
        feeder.hang_up()
        for task in flowing:
            await join(real_loop, task)
        got = b"".join([await join(real_loop, task) for task in taking])
        assert sorted(re.findall(rb"word \d+, ", got)) == sorted(words) and len(got) == len(b"".join(words))
        real_loop.forget(other.fd)
        os.close(other.fd)


# -- From a socket to a socket -----------------------------------------------------------------------------------

ENDS = [(one, other) for one in PAIRS for other in PAIRS]
between_both = pytest.mark.parametrize(("over", "onto"), ENDS, ids=["-".join(pair) for pair in ENDS])


@contextmanager
def tunnel(loop: Loop, over: str = "tcp", onto: str = "tcp") -> Iterator[tuple[Tunnel, FarSocket, FarSocket]]:
    """A mover, who gives to it, and who takes from it."""
    with peer_of(loop, over) as (source, giver), peer_of(loop, onto) as (sink, taker):
        mover = between(loop, source, sink)
        assert isinstance(mover, Tunnel)
        yield mover, giver, taker
        mover.close()


async def arrived(mover: Tunnel) -> None:
    """Something is there to be moved."""
    await mover.loop.readable(mover.from_fd)


@between_both
async def test_a_tunnel_tells_silence_from_words_and_words_from_the_end(real_loop: Bench, over: str, onto: str) -> None:
    with tunnel(real_loop, over, onto) as (mover, giver, taker):
        for word in (b"one", b"another"):
            with pytest.raises(BlockingIOError):
                mover.step()
            await giver.give(word)
            await arrived(mover)
            assert (mover.step(), mover.left, mover.pipe) == (len(word), 0, ())
            assert await taker.take() == word
        giver.hang_up()
        await arrived(mover)
        assert [mover.step(), mover.step()] == [0, 0]


@between_both
async def test_who_gives_much_has_a_pipe_until_it_gives_little(real_loop: Bench, over: str, onto: str) -> None:
    with tunnel(real_loop, over, onto) as (mover, giver, taker):
        taking = real_loop.spawn(everything(taker), Condition())
        giving = real_loop.spawn(giver.give(BYTES), Condition())
        moved, piped = 0, False
        while moved < len(BYTES):
            await (real_loop.writable(mover.to_fd) if mover.left else arrived(mover))
            moved += mover.step()
            piped = piped or bool(mover.pipe)
        await join(real_loop, giving)
        await giver.give(b"little")
        await arrived(mover)
        assert (piped, mover.step(), mover.pipe) == (True, 6, ())
        mover.sink.sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        same([await join(real_loop, taking)], [BYTES + b"little"])


@pytest.mark.parametrize("pipes", [True, False], ids=["through a pipe", "copied"])
@between_both
async def test_what_the_sink_does_not_take_is_left_and_goes_out_before_the_end(
    real_loop: Bench, over: str, onto: str, pipes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pipes:
        monkeypatch.setattr(zerocopy, "roomy_pipe", lambda *_: ())
    with only_by_kernel(), peer_of(real_loop, over) as (source, giver), peer_of(real_loop, onto) as (sink, taker):
        flow = Flow(real_loop, source, sink)
        flowing = real_loop.spawn(flow.run(), Condition())
        giving = real_loop.spawn(giver.give(5 * BYTES), Condition())
        await stalled(real_loop, flow)
        assert flow.unsent() == mover_of(flow).left
        assert pipes or not mover_of(flow).pipe
        assert await sleeps(real_loop)
        taking = real_loop.spawn(everything(taker), Condition())
        await join(real_loop, giving)
        giver.hang_up()
        same([await join(real_loop, taking)], [5 * BYTES])
        await join(real_loop, flowing)
        assert (flow.moved, flow.unsent()) == (5 * len(BYTES), 0)


def mover_of(flow: Flow) -> Tunnel:
    """What moves its bytes."""
    assert isinstance(flow._mover, Tunnel)
    return flow._mover


@between_both
async def test_an_end_that_comes_while_something_is_left_waits_for_it(real_loop: Bench, over: str, onto: str) -> None:
    with only_by_kernel(), peer_of(real_loop, over) as (source, giver), peer_of(real_loop, onto) as (sink, taker):
        before = fill(sink.sock)
        flow = Flow(real_loop, source, sink)
        flowing = real_loop.spawn(flow.run(), Condition())
        await giver.give(b"data")
        giver.hang_up()
        await stalled(real_loop, flow)
        assert (flow.unsent(), flow.moved, flow.ended) == (4, 0, False) and await sleeps(real_loop)
        assert (await everything(taker))[before:] == b"data"
        await join(real_loop, flowing)
        assert (flow.unsent(), flow.moved, flow.ended) == (0, 4, True)


def fill(sock: socket.socket) -> int:
    """Write until it takes no more; how many bytes that is."""
    written = 0
    while True:
        try:
            written += sock.send(bytes(MIB))
        except BlockingIOError:
            return written


@between_both
async def test_a_sink_that_is_lost_is_told_with_what_is_left(real_loop: Bench, over: str, onto: str) -> None:
    with only_by_kernel(), peer_of(real_loop, over) as (source, giver), peer_of(real_loop, onto) as (sink, taker):
        fill(sink.sock)
        flow = Flow(real_loop, source, sink)
        flowing = real_loop.spawn(flow.run(), Condition())
        await giver.give(b"data")
        await stalled(real_loop, flow)
        taker.leave()
        with pytest.raises(PeerLost, match="Connection reset by peer|Broken pipe"):
            await join(real_loop, flowing)
        assert flow.unsent() == 4


async def test_a_source_that_is_lost_is_told_when_all_it_said_has_gone_out(real_loop: Bench) -> None:
    with tunnel(real_loop) as (mover, giver, taker):
        await giver.give(b"last words")
        await arrived(mover)
        giver.leave()
        await real_loop.sleep(0)
        assert mover.step() == 10
        with pytest.raises(PeerLost, match="Connection reset by peer"):
            mover.step()
        assert (mover.left, await taker.take()) == (0, b"last words")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_where_no_descriptor_is_left_a_tunnel_copies(real_loop: Bench, code: int) -> None:
    def refuse() -> tuple[int, int]:
        refused.append(code)
        raise OSError(code, os.strerror(code))

    refused: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pipe", refuse)
        await passes_a_tunnel(real_loop)
    assert refused


async def test_a_pipe_that_may_not_grow_is_not_worth_it(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def control(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            refused.append(argument)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return really(fd, command, argument)

    refused: list[int] = []
    really = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", control)
    spliced = count_calls(monkeypatch, "splice")
    await passes_a_tunnel(real_loop)
    assert refused and not spliced


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """What a function of `os` is called with from now on."""
    calls: list[object] = []
    really = getattr(os, name)

    def call(*args: object) -> object:
        calls.append(args)
        return really(*args)

    monkeypatch.setattr(os, name, call)
    return calls


async def passes_a_tunnel(loop: Bench) -> None:
    """Much comes through as it went in."""
    with peer_of(loop) as (source, giver), peer_of(loop) as (sink, taker):
        flow = Flow(loop, source, sink)
        flowing = loop.spawn(flow.run(), Condition())
        giving = loop.spawn(giver.give(BYTES), Condition())
        await stalled(loop, flow)
        taking = loop.spawn(everything(taker), Condition())
        await join(loop, giving)
        giver.hang_up()
        same([await join(loop, taking)], [BYTES])
        await join(loop, flowing)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
async def test_sockets_that_the_kernel_does_not_splice_are_copied(
    real_loop: Bench, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []

    def refuse(*_: object) -> int:
        refused.append(code)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "splice", refuse)
    await passes_a_tunnel(real_loop)
    assert refused == [code], "asked once, and nothing was lost"


# -- What the kernel refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["appended file", "/dev/full"])
async def test_a_target_that_the_kernel_refuses_is_refused_before_the_first_byte(real_loop: Bench, kind: str) -> None:
    with stdout_of(real_loop, kind) as (stdout, _, file), peer_of(real_loop) as (endpoint, far):
        await far.give(b"data")
        await real_loop.readable(endpoint.sock.fileno())
        mover = between(real_loop, endpoint, stdout)
        assert mover
        with pytest.raises(Unsuitable):
            mover.step()
        mover.close()
        assert await endpoint.read() == b"data"
        assert not file or file.read() == b""
        await stdout.send_eof()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
async def test_whatever_the_refusal_is_called_the_bytes_are_copied(
    real_loop: Bench, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "sendfile", refuse)
    with stdin_of(real_loop, "file", b"data") as (stdin, _), peer_of(real_loop) as (endpoint, far):
        await Flow(real_loop, stdin, endpoint).run()
        assert await everything(far) == b"data"


async def test_a_refusal_after_the_first_byte_is_an_error(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.sendfile

    def move_once(out: int, source: int, position: int | None, size: int) -> int:
        if os.lseek(source, 0, os.SEEK_CUR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really(out, source, position, 2)

    monkeypatch.setattr(os, "sendfile", move_once)
    scene = stdin_of(real_loop, "file", b"data"), peer_of(real_loop)
    with scene[0] as (stdin, _), scene[1] as (endpoint, _), pytest.raises(PeerLost, match="Invalid argument"):
        await Flow(real_loop, stdin, endpoint).run()


async def test_a_file_that_cannot_be_read_is_told_as_such(real_loop: Bench, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
    with closing(fd), peer_of(real_loop) as (endpoint, _):
        for source in (Stdin(real_loop, fd), FileSource(real_loop, fd, 0)):
            with pytest.raises(InputError, match="^reading stdin: Bad file descriptor$"):
                await Flow(real_loop, source, endpoint).run()


async def test_a_disk_that_fails_in_the_middle_is_told_as_such(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with stdin_of(real_loop, "file", BYTES) as (stdin, _), peer_of(real_loop) as (endpoint, far):
        flow = Flow(real_loop, stdin, endpoint)
        flowing = real_loop.spawn(flow.run(), Condition())
        await stalled(real_loop, flow)
        with monkeypatch.context() as patch:
            patch.setattr(os, "sendfile", fail)
            patch.setattr(os, "read", fail)
            taking = real_loop.spawn(real_loop.readable(far.sock.fileno()), Condition())
            await join(real_loop, taking)
            while not flowing.done:
                far.sock.recv(1 << 16)
                await real_loop.sleep(0.001)
        with pytest.raises(InputError, match="^reading stdin: Input/output error$"):
            flowing.result()


async def test_a_stdout_without_reader_does_not_matter_at_the_peers_end_and_does_before(real_loop: Bench) -> None:
    async def flow_to_nobody(loop: Bench, data: bytes) -> None:
        with stdout_of(loop, "pipe") as (stdout, reader, _), peer_of(loop) as (endpoint, far):
            assert reader
            flowing = loop.spawn(Flow(loop, endpoint, stdout).run(), Condition())
            await turns(loop, 5)
            reader.close()
            await far.give(data)
            far.hang_up()
            try:
                await join(loop, flowing)
            finally:
                await stdout.send_eof()

    await flow_to_nobody(real_loop, b"")
    with pytest.raises(OutputClosed, match="^writing stdout: Broken pipe$"):
        await flow_to_nobody(real_loop, b"anybody?")


async def test_without_a_descriptor_for_a_pipe_of_our_own_the_bytes_are_copied(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with stdout_of(real_loop, "file") as (stdout, _, file), peer_of(real_loop) as (endpoint, far):
        assert file
        await far.give(b"data")
        far.hang_up()
        with monkeypatch.context() as patch:
            patch.setattr(os, "pipe", refuse)
            await Flow(real_loop, endpoint, stdout).run()
        assert file.read() == b"data"


@pytest.mark.parametrize("how", ["end", "cancel", "loss"])
async def test_the_pipe_of_our_own_is_closed_however_the_flow_ends(real_loop: Bench, how: str) -> None:
    with (
        only_by_kernel(),
        stdout_of(real_loop, "/dev/null") as (stdout, _, _),
        peer_of(real_loop) as (endpoint, far),
    ):
        flow = Flow(real_loop, endpoint, stdout)
        flowing = real_loop.spawn(flow.copy(), Condition())
        await far.give(b"data")
        await turns(real_loop, 5)
        assert flow.moved == 4
        if how == "end":
            far.hang_up()
            await join(real_loop, flowing)
        elif how == "cancel":
            await real_loop.cancel_and_wait(flowing)
        else:
            far.leave()
            with pytest.raises(PeerLost, match="Connection reset by peer"):
                await join(real_loop, flowing)
        await stdout.send_eof()


# -- Regular files -----------------------------------------------------------------------------------------------


async def test_many_are_sent_the_same_file_each_from_a_position_of_its_own(real_loop: Bench) -> None:
    async def send(loop: Bench, fd: int, start: int) -> None:
        with peer_of(loop) as (endpoint, far):
            source = FileSource(loop, fd, start)
            assert source.unread() == len(BYTES) - start
            flowing = loop.spawn(Flow(loop, source, endpoint).run(), Condition())
            same([await everything(far)], [BYTES[start:]])
            await join(loop, flowing)
            assert (source.position, source.unread()) == (len(BYTES), 0)

    with only_by_kernel(), stdin_of(real_loop, "file", BYTES) as (stdin, _):
        os.lseek(stdin.fd, 400, os.SEEK_SET)
        await real_loop.together(*(send(real_loop, stdin.fd, start) for start in (0, 400, 400, 1_000_000, len(BYTES))))
        assert os.lseek(stdin.fd, 0, os.SEEK_CUR) == 400


async def test_a_file_is_left_where_its_sending_was_cut_off(real_loop: Bench) -> None:
    with only_by_kernel(), stdin_of(real_loop, "file", BYTES) as (stdin, _), peer_of(real_loop) as (endpoint, far):
        flow = Flow(real_loop, stdin, endpoint)
        flowing = real_loop.spawn(flow.run(), Condition())
        await stalled(real_loop, flow)
        await real_loop.cancel_and_wait(flowing)
        position = os.lseek(stdin.fd, 0, os.SEEK_CUR)
        assert position == flow.moved == len(BYTES) - flow.unsent() > 0
        taking = real_loop.spawn(everything(far), Condition())
        endpoint.close()
        same([await join(real_loop, taking)], [BYTES[:position]])


# -- The size of pipes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["stdin", "stdout"])
async def test_an_inherited_pipe_is_grown(real_loop: Bench, half: str) -> None:
    with (
        stdin_of(real_loop, "pipe", b"") as (stdin, _),
        stdout_of(real_loop, "pipe") as (stdout, _, _),
        peer_of(real_loop) as (endpoint, _),
    ):
        fd = stdin.fd if half == "stdin" else stdout.fd
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
        assert kind_of(between(real_loop, stdin, endpoint) if half == "stdin" else between(real_loop, endpoint, stdout))
        size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        await stdout.send_eof()
        assert size == MIB


@pytest.mark.parametrize(("size", "asked"), [(65_536, [MIB]), (MIB, []), (2 * MIB, [])])
async def test_a_pipe_is_never_shrunk_and_may_refuse_to_grow(
    real_loop: Bench, size: int, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def control(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_GETPIPE_SZ:
            return size
        if command == fcntl.F_SETPIPE_SZ:
            sizes.append(argument)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return really(fd, command, argument)

    really = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", control)
    with (
        only_by_kernel(),
        stdin_of(real_loop, "pipe", b"") as (stdin, feeder),
        peer_of(real_loop) as (endpoint, far),
    ):
        assert feeder
        await feeder.give(b"data")
        feeder.hang_up()
        await Flow(real_loop, stdin, endpoint).run()
        assert await everything(far) == b"data"
    assert set(sizes) == set(asked)


# -- Processes ---------------------------------------------------------------------------------------------------

either_way = pytest.mark.usefixtures("either_way")
in_both_roles = pytest.mark.parametrize("role", [client, listener])
FLAGS = {"file": 0, "appended file": os.O_APPEND, "/dev/null": 0, "/dev/full": 0, "fifo": os.O_NONBLOCK, "pipe": 0}


@contextmanager
def inherited(kind: str, folder: Path) -> Iterator[tuple[int, int]]:
    """What a process gets as stdin and as stdout."""
    ends: tuple[int, ...]
    if kind == "pipe":
        reading, feeding = os.pipe()
        shown, writing = os.pipe()
        os.close(feeding)
        ends = (reading, writing, shown)
    elif kind == "file" or kind == "appended file":
        both = os.open(folder / "file", os.O_RDWR | os.O_CREAT | FLAGS[kind], 0o600)
        ends = (both, os.dup(both))
    else:
        path = kind
        if kind == "fifo":
            path = str(folder / "fifo")
            os.mkfifo(path)
        ends = (os.open(os.devnull, os.O_RDONLY), os.open(path, os.O_RDWR | FLAGS[kind]))
    with closing(*ends):
        yield ends[0], ends[1]


@either_way
@pytest.mark.parametrize("kind", FLAGS)
def test_the_flags_of_what_was_inherited_are_what_they_were(kind: str, tmp_path: Path) -> None:
    with inherited(kind, tmp_path) as ends:
        before = [fcntl.fcntl(end, fcntl.F_GETFL) for end in ends]
        assert before[1] & FLAGS[kind] == FLAGS[kind]
        with client("-N", stdin=ends[0], stdout=ends[1]) as (process, peer):
            peer.sendall(b"data")
            peer.shutdown(socket.SHUT_WR)
            assert drain(peer) == b""
            assert process.wait() == (kind == "/dev/full")
        assert [fcntl.fcntl(end, fcntl.F_GETFL) for end in ends] == before


@either_way
@in_both_roles
def test_an_appended_file_is_appended_to(role: Role, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before, ")
    with path.open("ab") as stdout, role(stdin=DEVNULL, stdout=stdout) as (process, peer):
        peer.sendall(BYTES)
        peer.shutdown(socket.SHUT_WR)
        assert process.wait() == 0
    same([path.read_bytes()], [b"before, " + BYTES])


@either_way
def test_a_file_that_may_not_grow_is_told_and_holds_what_it_can(tmp_path: Path) -> None:
    limit = 2_000_000
    with (tmp_path / "file").open("wb") as stdout, client(stdin=DEVNULL, stdout=stdout) as (process, peer):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(OSError, match="Connection reset by peer|Broken pipe"):
            while True:
                peer.sendall(BYTES)
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: File too large"]
    same([(tmp_path / "file").read_bytes()], [BYTES[:limit]])


@either_way
@in_both_roles
def test_who_has_the_file_next_goes_on_where_we_stood(role: Role, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BYTES)
    script = '{ dd bs=1000 count=1 of=/dev/null 2>/dev/null; "$@"; cat; }'
    with (tmp_path / "file").open("rb") as stdin, role(stdin=stdin, start=through(script)) as (process, peer):
        same([drain(peer)], [BYTES[1000:]])
        peer.close()
        assert process.finish()[:2] == (0, b"")
        assert os.lseek(stdin.fileno(), 0, os.SEEK_CUR) == len(BYTES)


@in_both_roles
def test_an_interrupted_upload_leaves_the_file_behind_the_last_byte_that_was_sent(role: Role, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BYTES)
    os.truncate(tmp_path / "file", 50_000_000)
    with (tmp_path / "file").open("rb") as stdin, role(stdin=stdin) as (process, peer):
        begun = take(peer, 1)
        position = -1
        while position != (position := os.lseek(stdin.fileno(), 0, os.SEEK_CUR)):
            assert lives_on(process.pid, 0.2)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        sent = begun + drain(peer)
        assert len(sent) == os.lseek(stdin.fileno(), 0, os.SEEK_CUR) < 50_000_000
        same([sent[: len(BYTES)]], [BYTES[: len(sent)]])
