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
    from pync.loop.tasks import Work
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
def test_what_stdin_is_decides_how_it_is_moved(kind: str, over: str) -> None:
    async def main(loop: Bench) -> None:
        with stdin_of(loop, kind, b"data") as (stdin, _), peer_of(loop, over) as (endpoint, _):
            assert kind_of(between(loop, stdin, endpoint)) is STDIN_MOVERS[kind]

    bench(main)


@over_both
@pytest.mark.parametrize("kind", STDOUTS)
def test_what_stdout_is_decides_how_it_is_moved(kind: str, over: str) -> None:
    async def main(loop: Bench) -> None:
        with stdout_of(loop, kind) as (stdout, _, _), peer_of(loop, over) as (endpoint, _):
            assert kind_of(between(loop, endpoint, stdout)) is STDOUT_MOVERS[kind]
            await stdout.send_eof()

    bench(main)


def test_datagrams_are_not_moved_by_the_kernel() -> None:
    async def main(loop: Bench) -> None:
        near, other = unix_pair(socket.SOCK_DGRAM)
        with other, stdin_of(loop, "pipe", b"") as (stdin, _), stdout_of(loop, "pipe") as (stdout, _, _):
            endpoint = DatagramSocket(loop, near, "peer")
            assert between(loop, stdin, endpoint) is None
            assert between(loop, endpoint, stdout) is None
            endpoint.close()
            await stdout.send_eof()

    bench(main)


def test_where_python_has_no_splice_everything_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "splice")

    async def main(loop: Bench) -> None:
        with stdin_of(loop, "file", b"data") as (stdin, _), peer_of(loop) as (endpoint, _):
            assert between(loop, stdin, endpoint) is None

    bench(main)


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
def test_what_has_to_be_seen_is_copied(
    config: dict[str, Any], moved: list[type[Mover]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_movers: list[Mover | None] = []

    def give(*ends: Any) -> Mover | None:
        given_movers.append(between(*ends))
        return given_movers[-1]

    monkeypatch.setattr(flow_module, "between", give)

    async def main(loop: Bench) -> tuple[bytes, bytes]:
        with (
            stdin_of(loop, "file", b"question") as (stdin, _),
            stdout_of(loop, "file") as (stdout, _, file),
            peer_of(loop) as (endpoint, far),
        ):
            logs = SimpleNamespace(copy=lambda _: [Crlf()]) if "logs" in config else None
            run: Any = SimpleNamespace(config=Config(mode="connect", **config), loop=loop, logs=logs)
            sending, receiving, _ = conversation.flows(run, stdin, endpoint, stdout)
            await sending.run()
            await far.give(b"answer")
            far.hang_up()
            await receiving.run()
            assert file
            return await everything(far), file.read()

    assert bench(main) == (b"question", b"answer")
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
def test_a_pipe_goes_out_as_it_came_however_it_was_cut(pieces: list[int], pauses: list[int], over: str) -> None:
    async def main(loop: Bench) -> None:
        with stdin_of(loop, "pipe", b"") as (stdin, feeder), peer_of(loop, over) as (endpoint, far):
            assert feeder
            flow = Flow(loop, stdin, endpoint)
            flowing = loop.spawn(flow.run(), Condition())
            taking = loop.spawn(everything(far), Condition())
            await in_pieces(loop, feeder, pieces, pauses)
            await join(loop, flowing)
            same([await join(loop, taking)], [BYTES[: sum(pieces)]])
            assert (flow.moved, flow.ended, flow.unsent(), flow.reads > 0) == (sum(pieces), True, 0, bool(pieces))

    with only_by_kernel():
        bench(main)


@settings(max_examples=30)
@given(
    PIECES,
    st.lists(st.integers(0, 3), max_size=8),
    st.sampled_from(sorted(PAIRS)),
    st.sampled_from(["pipe", "file", "/dev/null"]),
)
def test_what_a_peer_sends_comes_in_as_it_was_sent(pieces: list[int], pauses: list[int], over: str, kind: str) -> None:
    async def main(loop: Bench) -> None:
        with stdout_of(loop, kind) as (stdout, reader, file), peer_of(loop, over) as (endpoint, far):
            flow = Flow(loop, endpoint, stdout)
            flowing = loop.spawn(flow.run(), Condition())
            taking = loop.spawn(everything(reader), Condition()) if reader else None
            await in_pieces(loop, far, pieces, pauses)
            await join(loop, flowing)
            if taking:
                same([await join(loop, taking)], [BYTES[: sum(pieces)]])
            if file:
                same([file.read()], [BYTES[: sum(pieces)]])
            assert (flow.moved, flow.ended, flow.reads > 0) == (sum(pieces), True, bool(pieces))

    with only_by_kernel():
        bench(main)


async def in_pieces(loop: Loop, far: Far, sizes: list[int], pauses: list[int]) -> None:
    """Give BYTES in pieces of these sizes, with so many turns of the loop after each, and hang up."""
    start = 0
    for position, size in enumerate(sizes):
        await far.give(BYTES[start : start + size])
        start += size
        await turns(loop, sum(pauses[position : position + 1]))
    far.hang_up()


def test_a_flow_that_the_kernel_moves_knows_what_it_waits_for() -> None:
    async def main(loop: Bench) -> None:
        with stdin_of(loop, "pipe", b"") as (stdin, feeder), peer_of(loop) as (endpoint, far):
            assert feeder
            flow = Flow(loop, stdin, endpoint)
            before = loop.clock()
            flowing = loop.spawn(flow.run(), Condition())
            await turns(loop, 5)
            assert (since(flow) or 0) >= before, "for the source"
            feeding = loop.spawn(feeder.give(BYTES), Condition())
            await stalled(loop, flow)
            assert since(flow) is None, "for the sink"
            taking = loop.spawn(everything(far), Condition())
            await join(loop, feeding)
            await stalled(loop, flow)
            assert since(flow) is not None, "for the source again"
            feeder.hang_up()
            await join(loop, flowing)
            assert since(flow) is None and flow.ended
            same([await join(loop, taking)], [BYTES])

    with only_by_kernel():
        bench(main)


def since(flow: Flow) -> float | None:
    """When the present wait for the source began."""
    return flow.waiting_since


async def stalled(loop: Loop, flow: Flow) -> None:
    """Wait until nothing moves any more."""
    moved = -1
    while moved != flow.moved:
        moved = flow.moved
        await loop.sleep(0.03)


def play_either_way(main: Callable[[Bench], Work[None]], copied: bool) -> None:
    """With the kernel's help, or without."""
    with pytest.MonkeyPatch.context() as patch:
        if copied:
            patch.setattr(flow_module, "between", lambda *_: None)
        bench(main)


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
def test_a_programs_pipes_are_moved_and_its_terminal_is_not(filters: bool, out: type[Mover] | None) -> None:
    async def main(loop: Bench) -> None:
        with peer_of(loop) as (endpoint, _):
            async with running(loop, "exec cat", filters=filters) as process:
                assert kind_of(between(loop, endpoint, process.input)) is Splice
                assert kind_of(between(loop, process.output, endpoint)) is out

    bench(main)


@over_both
@copied_too
def test_what_passes_a_program_comes_back_whole(copied: bool, over: str) -> None:
    async def main(loop: Bench) -> None:
        with peer_of(loop, over) as (endpoint, far):
            async with running(loop, "exec cat") as process:
                flows = [Flow(loop, endpoint, process.input), Flow(loop, process.output, endpoint)]
                flowing = [loop.spawn(flow.run(), Condition()) for flow in flows]
                giving = loop.spawn(in_pieces(loop, far, [len(BYTES)], []), Condition())
                same([await everything(far)], [BYTES])
                for task in (giving, *flowing):
                    await join(loop, task)
                assert await process.ended() == 0

    play_either_way(main, copied)


@over_both
@copied_too
def test_what_a_program_does_not_read_is_dropped(copied: bool, over: str) -> None:
    async def main(loop: Bench) -> None:
        with peer_of(loop, over) as (endpoint, far):
            async with running(loop, "head -c 5; exit 3") as process:
                receiving = loop.spawn(Flow(loop, endpoint, process.input).run(), Condition())
                giving = loop.spawn(in_pieces(loop, far, [len(BYTES)], []), Condition())
                await Flow(loop, process.output, endpoint).run()
                assert await everything(far) == BYTES[:5]
                for task in (giving, receiving):
                    await join(loop, task)
                assert await process.ended() == 3

    play_either_way(main, copied)


@over_both
@copied_too
def test_a_client_that_leaves_is_lost_to_a_program(copied: bool, over: str) -> None:
    async def main(loop: Bench) -> None:
        with peer_of(loop, over) as (endpoint, far):
            async with running(loop, "exec cat /dev/zero") as process:
                answering = loop.spawn(Flow(loop, process.output, endpoint).run(), Condition())
                assert await far.take()
                far.leave()
                with pytest.raises(PeerLost, match="Connection reset by peer|Broken pipe"):
                    await join(loop, answering)

    play_either_way(main, copied)


# -- Waiting costs nothing ---------------------------------------------------------------------------------------


async def sleeps(loop: Bench) -> bool:
    """Whether the loop has nothing to do for a while."""
    before = loop.selector.polls
    await loop.sleep(0.05)
    return loop.selector.polls - before < 10


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_peer_that_does_not_read_costs_nothing(kind: str) -> None:
    async def main(loop: Bench) -> None:
        with stdin_of(loop, kind, BYTES) as (stdin, feeder), peer_of(loop) as (endpoint, _):
            flow = Flow(loop, stdin, endpoint)
            tasks = [loop.spawn(flow.run(), Condition())]
            if feeder:
                tasks.append(loop.spawn(feeder.give(BYTES), Condition()))
            await stalled(loop, flow)
            assert 0 < flow.moved < len(BYTES) and await sleeps(loop)
            if feeder:
                await loop.cancel_and_wait(tasks.pop())
                feeder.hang_up()  # an end that cannot be passed on yet is no reason to spin
                assert await sleeps(loop)
            await loop.cancel_and_wait(*tasks)

    with only_by_kernel():
        bench(main)


def test_a_reader_of_stdout_that_does_not_read_costs_nothing() -> None:
    async def main(loop: Bench) -> None:
        with stdout_of(loop, "pipe") as (stdout, _, _), peer_of(loop) as (endpoint, far):
            flow = Flow(loop, endpoint, stdout)
            much = 30 * BYTES  # a pipe of 1 MiB counts pages, and a page may stand for many from a socket
            tasks = [loop.spawn(flow.run(), Condition()), loop.spawn(far.give(much), Condition())]
            await stalled(loop, flow)
            assert 0 < flow.moved < len(much) and await sleeps(loop)
            await loop.cancel_and_wait(*tasks)
            await stdout.send_eof()

    with only_by_kernel():
        bench(main)


@pytest.mark.parametrize("kind", ["pipe", "file", "/dev/null"])
def test_a_conversation_in_which_nobody_speaks_costs_nothing(kind: str) -> None:
    async def main(loop: Bench) -> None:
        with (
            stdin_of(loop, "pipe", b"") as (stdin, feeder),
            stdout_of(loop, kind) as (stdout, _, _),
            peer_of(loop) as (endpoint, far),
        ):
            assert feeder
            tasks = [
                loop.spawn(flow.run(), Condition())
                for flow in (Flow(loop, stdin, endpoint), Flow(loop, endpoint, stdout))
            ]
            assert await sleeps(loop)
            await feeder.give(b"question")
            assert await far.take() == b"question"
            await far.give(b"answer")
            await turns(loop, 5)
            assert await sleeps(loop)
            await loop.cancel_and_wait(*tasks)
            await stdout.send_eof()

    with only_by_kernel():
        bench(main)


@pytest.mark.parametrize("kind", ["pipe", "shared pipe"])
def test_a_step_does_not_wait_for_an_empty_pipe(kind: str) -> None:
    async def main(loop: Bench) -> None:
        with stdin_of(loop, kind, b"") as (stdin, feeder), peer_of(loop) as (endpoint, far):
            mover = between(loop, stdin, endpoint)
            assert mover and feeder
            with pytest.raises(BlockingIOError):
                mover.step()
            await feeder.give(b"data")
            assert mover.step() == 4
            assert await far.take() == b"data"
            with pytest.raises(BlockingIOError):
                mover.step()

    bench(main)


@pytest.mark.parametrize("kind", ["pipe", "file", "/dev/null"])
@over_both
def test_a_step_does_not_wait_for_a_silent_peer_nor_for_a_full_pipe(kind: str, over: str) -> None:
    async def main(loop: Bench) -> None:
        with stdout_of(loop, kind) as (stdout, reader, _), peer_of(loop, over) as (endpoint, far):
            mover = between(loop, endpoint, stdout)
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
            await loop.readable(endpoint.sock.fileno())
            if reader:
                with pytest.raises(BlockingIOError):
                    mover.step()
            else:
                assert mover.step() == 4
            mover.close()
            await stdout.send_eof()

    bench(main)


def test_two_who_read_the_same_pipe_share_it_and_sleep() -> None:
    words = [b"word %d, " % number for number in range(50)]

    async def main(loop: Bench) -> None:
        with (
            stdin_of(loop, "pipe", b"") as (one, feeder),
            peer_of(loop) as (endpoint, far),
            peer_of(loop) as (another_endpoint, another_far),
        ):
            assert feeder
            other = Stdin(loop, one.fd)
            flows = [Flow(loop, one, endpoint), Flow(loop, other, another_endpoint)]
            flowing = [loop.spawn(flow.run(), Condition()) for flow in flows]
            taking = [loop.spawn(everything(peer), Condition()) for peer in (far, another_far)]
            for word in words:
                before = loop.selector.polls
                await feeder.give(word)
                await loop.sleep(0.002)
                assert loop.selector.polls - before < 20
            assert await sleeps(loop)
            feeder.hang_up()
            for task in flowing:
                await join(loop, task)
            got = b"".join([await join(loop, task) for task in taking])
            assert sorted(re.findall(rb"word \d+, ", got)) == sorted(words) and len(got) == len(b"".join(words))
            loop.forget(other.fd)
            os.close(other.fd)

    with only_by_kernel():
        bench(main)


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
def test_a_tunnel_tells_silence_from_words_and_words_from_the_end(over: str, onto: str) -> None:
    async def main(loop: Bench) -> None:
        with tunnel(loop, over, onto) as (mover, giver, taker):
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

    bench(main)


@between_both
def test_who_gives_much_has_a_pipe_until_it_gives_little(over: str, onto: str) -> None:
    async def main(loop: Bench) -> None:
        with tunnel(loop, over, onto) as (mover, giver, taker):
            taking = loop.spawn(everything(taker), Condition())
            giving = loop.spawn(giver.give(BYTES), Condition())
            moved, piped = 0, False
            while moved < len(BYTES):
                await (loop.writable(mover.to_fd) if mover.left else arrived(mover))
                moved += mover.step()
                piped = piped or bool(mover.pipe)
            await join(loop, giving)
            await giver.give(b"little")
            await arrived(mover)
            assert (piped, mover.step(), mover.pipe) == (True, 6, ())
            mover.sink.sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
            same([await join(loop, taking)], [BYTES + b"little"])

    bench(main)


@pytest.mark.parametrize("pipes", [True, False], ids=["through a pipe", "copied"])
@between_both
def test_what_the_sink_does_not_take_is_left_and_goes_out_before_the_end(
    over: str, onto: str, pipes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pipes:
        monkeypatch.setattr(zerocopy, "roomy_pipe", lambda *_: ())

    async def main(loop: Bench) -> None:
        with peer_of(loop, over) as (source, giver), peer_of(loop, onto) as (sink, taker):
            flow = Flow(loop, source, sink)
            flowing = loop.spawn(flow.run(), Condition())
            giving = loop.spawn(giver.give(5 * BYTES), Condition())
            await stalled(loop, flow)
            assert flow.unsent() == mover_of(flow).left
            assert pipes or not mover_of(flow).pipe
            assert await sleeps(loop)
            taking = loop.spawn(everything(taker), Condition())
            await join(loop, giving)
            giver.hang_up()
            same([await join(loop, taking)], [5 * BYTES])
            await join(loop, flowing)
            assert (flow.moved, flow.unsent()) == (5 * len(BYTES), 0)

    with only_by_kernel():
        bench(main)


def mover_of(flow: Flow) -> Tunnel:
    """What moves its bytes."""
    assert isinstance(flow._mover, Tunnel)
    return flow._mover


@between_both
def test_an_end_that_comes_while_something_is_left_waits_for_it(over: str, onto: str) -> None:
    async def main(loop: Bench) -> None:
        with peer_of(loop, over) as (source, giver), peer_of(loop, onto) as (sink, taker):
            before = fill(sink.sock)
            flow = Flow(loop, source, sink)
            flowing = loop.spawn(flow.run(), Condition())
            await giver.give(b"data")
            giver.hang_up()
            await stalled(loop, flow)
            assert (flow.unsent(), flow.moved, flow.ended) == (4, 0, False) and await sleeps(loop)
            assert (await everything(taker))[before:] == b"data"
            await join(loop, flowing)
            assert (flow.unsent(), flow.moved, flow.ended) == (0, 4, True)

    with only_by_kernel():
        bench(main)


def fill(sock: socket.socket) -> int:
    """Write until it takes no more; how many bytes that is."""
    written = 0
    while True:
        try:
            written += sock.send(bytes(MIB))
        except BlockingIOError:
            return written


@between_both
def test_a_sink_that_is_lost_is_told_with_what_is_left(over: str, onto: str) -> None:
    async def main(loop: Bench) -> None:
        with peer_of(loop, over) as (source, giver), peer_of(loop, onto) as (sink, taker):
            fill(sink.sock)
            flow = Flow(loop, source, sink)
            flowing = loop.spawn(flow.run(), Condition())
            await giver.give(b"data")
            await stalled(loop, flow)
            taker.leave()
            with pytest.raises(PeerLost, match="Connection reset by peer|Broken pipe"):
                await join(loop, flowing)
            assert flow.unsent() == 4

    with only_by_kernel():
        bench(main)


def test_a_source_that_is_lost_is_told_when_all_it_said_has_gone_out() -> None:
    async def main(loop: Bench) -> None:
        with tunnel(loop) as (mover, giver, taker):
            await giver.give(b"last words")
            await arrived(mover)
            giver.leave()
            await loop.sleep(0)
            assert mover.step() == 10
            with pytest.raises(PeerLost, match="Connection reset by peer"):
                mover.step()
            assert (mover.left, await taker.take()) == (0, b"last words")

    bench(main)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_where_no_descriptor_is_left_a_tunnel_copies(code: int) -> None:
    def refuse() -> tuple[int, int]:
        refused.append(code)
        raise OSError(code, os.strerror(code))

    async def main(loop: Bench) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pipe", refuse)
            await passes_a_tunnel(loop)

    refused: list[int] = []
    bench(main)
    assert refused


def test_a_pipe_that_may_not_grow_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def control(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            refused.append(argument)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return really(fd, command, argument)

    refused: list[int] = []
    really = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", control)
    spliced = count_calls(monkeypatch, "splice")
    bench(passes_a_tunnel)
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
def test_sockets_that_the_kernel_does_not_splice_are_copied(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    def refuse(*_: object) -> int:
        refused.append(code)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "splice", refuse)
    bench(passes_a_tunnel)
    assert refused == [code], "asked once, and nothing was lost"


# -- What the kernel refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["appended file", "/dev/full"])
def test_a_target_that_the_kernel_refuses_is_refused_before_the_first_byte(kind: str) -> None:
    async def main(loop: Bench) -> None:
        with stdout_of(loop, kind) as (stdout, _, file), peer_of(loop) as (endpoint, far):
            await far.give(b"data")
            await loop.readable(endpoint.sock.fileno())
            mover = between(loop, endpoint, stdout)
            assert mover
            with pytest.raises(Unsuitable):
                mover.step()
            mover.close()
            assert await endpoint.read() == b"data"
            assert not file or file.read() == b""
            await stdout.send_eof()

    bench(main)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_whatever_the_refusal_is_called_the_bytes_are_copied(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "sendfile", refuse)

    async def main(loop: Bench) -> None:
        with stdin_of(loop, "file", b"data") as (stdin, _), peer_of(loop) as (endpoint, far):
            await Flow(loop, stdin, endpoint).run()
            assert await everything(far) == b"data"

    bench(main)


def test_a_refusal_after_the_first_byte_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.sendfile

    def move_once(out: int, source: int, position: int | None, size: int) -> int:
        if os.lseek(source, 0, os.SEEK_CUR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really(out, source, position, 2)

    monkeypatch.setattr(os, "sendfile", move_once)

    async def main(loop: Bench) -> None:
        scene = stdin_of(loop, "file", b"data"), peer_of(loop)
        with scene[0] as (stdin, _), scene[1] as (endpoint, _), pytest.raises(PeerLost, match="Invalid argument"):
            await Flow(loop, stdin, endpoint).run()

    bench(main)


def test_a_file_that_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    async def main(loop: Bench) -> None:
        fd = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
        with closing(fd), peer_of(loop) as (endpoint, _):
            for source in (Stdin(loop, fd), FileSource(loop, fd, 0)):
                with pytest.raises(InputError, match="^reading stdin: Bad file descriptor$"):
                    await Flow(loop, source, endpoint).run()

    bench(main)


def test_a_disk_that_fails_in_the_middle_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main(loop: Bench) -> None:
        with stdin_of(loop, "file", BYTES) as (stdin, _), peer_of(loop) as (endpoint, far):
            flow = Flow(loop, stdin, endpoint)
            flowing = loop.spawn(flow.run(), Condition())
            await stalled(loop, flow)
            with monkeypatch.context() as patch:
                patch.setattr(os, "sendfile", fail)
                patch.setattr(os, "read", fail)
                taking = loop.spawn(loop.readable(far.sock.fileno()), Condition())
                await join(loop, taking)
                while not flowing.done:
                    far.sock.recv(1 << 16)
                    await loop.sleep(0.001)
            with pytest.raises(InputError, match="^reading stdin: Input/output error$"):
                flowing.result()

    bench(main)


def test_a_stdout_without_reader_does_not_matter_at_the_peers_end_and_does_before() -> None:
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

    async def main(loop: Bench) -> None:
        await flow_to_nobody(loop, b"")
        with pytest.raises(OutputClosed, match="^writing stdout: Broken pipe$"):
            await flow_to_nobody(loop, b"anybody?")

    bench(main)


def test_without_a_descriptor_for_a_pipe_of_our_own_the_bytes_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def main(loop: Bench) -> None:
        with stdout_of(loop, "file") as (stdout, _, file), peer_of(loop) as (endpoint, far):
            assert file
            await far.give(b"data")
            far.hang_up()
            with monkeypatch.context() as patch:
                patch.setattr(os, "pipe", refuse)
                await Flow(loop, endpoint, stdout).run()
            assert file.read() == b"data"

    bench(main)


@pytest.mark.parametrize("how", ["end", "cancel", "loss"])
def test_the_pipe_of_our_own_is_closed_however_the_flow_ends(how: str) -> None:
    async def main(loop: Bench) -> None:
        with stdout_of(loop, "/dev/null") as (stdout, _, _), peer_of(loop) as (endpoint, far):
            flow = Flow(loop, endpoint, stdout)
            flowing = loop.spawn(flow.copy(), Condition())
            await far.give(b"data")
            await turns(loop, 5)
            assert flow.moved == 4
            if how == "end":
                far.hang_up()
                await join(loop, flowing)
            elif how == "cancel":
                await loop.cancel_and_wait(flowing)
            else:
                far.leave()
                with pytest.raises(PeerLost, match="Connection reset by peer"):
                    await join(loop, flowing)
            await stdout.send_eof()

    with only_by_kernel():
        bench(main)  # which looks for descriptors that are left


# -- Regular files -----------------------------------------------------------------------------------------------


def test_many_are_sent_the_same_file_each_from_a_position_of_its_own() -> None:
    async def send(loop: Bench, fd: int, start: int) -> None:
        with peer_of(loop) as (endpoint, far):
            source = FileSource(loop, fd, start)
            assert source.unread() == len(BYTES) - start
            flowing = loop.spawn(Flow(loop, source, endpoint).run(), Condition())
            same([await everything(far)], [BYTES[start:]])
            await join(loop, flowing)
            assert (source.position, source.unread()) == (len(BYTES), 0)

    async def main(loop: Bench) -> None:
        with stdin_of(loop, "file", BYTES) as (stdin, _):
            os.lseek(stdin.fd, 400, os.SEEK_SET)
            await loop.together(*(send(loop, stdin.fd, start) for start in (0, 400, 400, 1_000_000, len(BYTES))))
            assert os.lseek(stdin.fd, 0, os.SEEK_CUR) == 400

    with only_by_kernel():
        bench(main)


def test_a_file_is_left_where_its_sending_was_cut_off() -> None:
    async def main(loop: Bench) -> None:
        with stdin_of(loop, "file", BYTES) as (stdin, _), peer_of(loop) as (endpoint, far):
            flow = Flow(loop, stdin, endpoint)
            flowing = loop.spawn(flow.run(), Condition())
            await stalled(loop, flow)
            await loop.cancel_and_wait(flowing)
            position = os.lseek(stdin.fd, 0, os.SEEK_CUR)
            assert position == flow.moved == len(BYTES) - flow.unsent() > 0
            taking = loop.spawn(everything(far), Condition())
            endpoint.close()
            same([await join(loop, taking)], [BYTES[:position]])

    with only_by_kernel():
        bench(main)


# -- The size of pipes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["stdin", "stdout"])
def test_an_inherited_pipe_is_grown(half: str) -> None:
    async def main(loop: Bench) -> int:
        with (
            stdin_of(loop, "pipe", b"") as (stdin, _),
            stdout_of(loop, "pipe") as (stdout, _, _),
            peer_of(loop) as (endpoint, _),
        ):
            fd = stdin.fd if half == "stdin" else stdout.fd
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
            assert kind_of(between(loop, stdin, endpoint) if half == "stdin" else between(loop, endpoint, stdout))
            size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
            await stdout.send_eof()
            return size

    assert bench(main) == MIB


@pytest.mark.parametrize(("size", "asked"), [(65_536, [MIB]), (MIB, []), (2 * MIB, [])])
def test_a_pipe_is_never_shrunk_and_may_refuse_to_grow(
    size: int, asked: list[int], monkeypatch: pytest.MonkeyPatch
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

    async def main(loop: Bench) -> None:
        with stdin_of(loop, "pipe", b"") as (stdin, feeder), peer_of(loop) as (endpoint, far):
            assert feeder
            await feeder.give(b"data")
            feeder.hang_up()
            await Flow(loop, stdin, endpoint).run()
            assert await everything(far) == b"data"

    with only_by_kernel():
        bench(main)
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
