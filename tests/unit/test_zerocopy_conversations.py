"""Bytes that the kernel moves are those that copying moves: as many, in their order, with the same ends and errors.

A scene is a whole conversation on one loop: what stdin and stdout are, what both sides send, which side ends first,
which one is slow, what breaks. It is played twice, with the kernel's help and without, and both must keep to the model.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import (
    Bench,
    Far,
    FarSocket,
    bench,
    same,
)
from doubles import a_context
from ends import (
    BYTES,
    FOLLOWED,
    MIB,
    PROC,
    STDINS,
    STDOUTS,
    finish,
    peer_of,
    stdin_of,
    stdout_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pync.config import Ending
from pync.endpoints.stdio import Stdio
from pync.errors import PeerLost, PyncError
from pync.loop.tasks import Condition
from pync.relay import zerocopy
from pync.relay.flow import Flow
from pync.relay.rules import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pairs import Pair

    from pync.loop.kernel import Loop

    Role = Callable[..., AbstractContextManager[Pair]]

BUFFERS = MIB // 2  # bytes: more than the kernels hold between our writing and the peer's reading

SIZES = st.sampled_from([0, 1, 4095, 65_536, 1_500_000]) | st.integers(0, 400_000)


class Scene(NamedTuple):
    """What happens. The end that `slow` names reads little at a time; the one that `breaks` names leaves too early."""

    stdin: str
    stdout: str
    over: str
    sends: int  # bytes that stdin holds
    receives: int  # bytes that the peer sends
    piece: int  # bytes that are given at a time
    peer_first: bool  # whether the peer ends without waiting for our end
    slow: str
    breaks: str

    @property
    def question(self) -> bytes:
        """All that stdin holds."""
        if self.stdin == PROC:
            with open(PROC, "rb") as file:
                return file.read()
        return b"" if self.stdin == os.devnull else BYTES[: self.sends]

    @property
    def answer(self) -> bytes:
        """All that the peer sends."""
        return BYTES[-self.receives :] if self.receives else b""


class Outcome:
    """What came of a scene."""

    def __init__(self) -> None:
        self.taken = bytearray()  # what the peer has read
        self.ended = False  # the peer has read our end-of-file
        self.shown = bytearray()  # what stdout's reader has read
        self.closed = False  # stdout's reader has read its end
        self.left = False  # stdout's reader has left before that
        self.error: PyncError | None = None
        self.changed = Condition()

    def failure(self) -> tuple[str, str]:
        """The kind of the error and its message, without the number that depends on when exactly the peer left."""
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
        """Send data in pieces, from the other side of an end."""
        for start in range(0, len(data), self.scene.piece):
            await far.give(data[start : start + self.scene.piece])
            await self.loop.sleep(0)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of the outcome."""
        while not true():
            await self.loop.wait(self.outcome.changed)

    async def feed(self) -> None:
        """Play stdin's writer."""
        if self.feeder:
            await self.give(self.feeder, self.scene.question)
            if self.scene.stdin == "terminal":  # what was not read when it hangs up is dropped
                await self.until(lambda: len(self.outcome.taken) == self.scene.sends)
            self.feeder.hang_up()

    async def answer(self) -> None:
        """Play the sending half of the peer."""
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
        """Read all, or `enough` bytes. True at the end-of-file."""
        while enough is None or len(into) < enough:
            assert far.reading is not None
            try:
                data = os.read(far.reading, 65_536 if enough is None else min(65_536, enough - len(into)))
            except BlockingIOError:
                await self.loop.readable(far.reading)
                continue
            except OSError:  # a reset, or a terminal that every process has closed
                return False
            if not data:
                return True
            into += data
            self.outcome.changed.notify()
            await self.loop.sleep(0.001 if slow else 0)
        return False

    async def receive(self) -> None:
        """Play the receiving half of the peer."""
        breaks = self.scene.breaks == "peer"
        enough = len(self.scene.question) // 2 if breaks else None
        self.outcome.ended = await self.pull(self.peer, self.outcome.taken, enough, self.scene.slow == "peer")
        if breaks:
            self.peer.leave()
        self.outcome.changed.notify()

    async def show(self) -> None:
        """Play stdout's reader."""
        if self.reader:
            breaks = self.scene.breaks == "stdout"
            enough = self.scene.receives // 2 if breaks else None
            slow = self.scene.slow == "stdout"
            self.outcome.closed = await self.pull(self.reader, self.outcome.shown, enough, slow)
            if breaks:
                self.reader.close()
                self.outcome.left = True
            self.outcome.changed.notify()


def play_scene(scene: Scene) -> Outcome:
    """What comes of a scene. No descriptor may be left of it."""

    async def main(loop: Bench) -> Outcome:
        with (
            stdin_of(loop, scene.stdin, scene.question) as (stdin, feeder),
            stdout_of(loop, scene.stdout) as (stdout, reader, file),
            peer_of(loop, scene.over) as (endpoint, peer),
        ):
            play = Play(loop, scene, peer, feeder, reader)
            outcome = play.outcome
            context = a_context(loop, ending=Ending(at_once=True))
            stdio = Stdio(stdin, stdout, terminal=scene.stdin == "terminal")
            sending, receiving = Flow(loop, stdin, endpoint), Flow(loop, endpoint, stdout)
            relay = Conversation(context, endpoint, stdio, (sending, receiving, None))
            givers = [loop.spawn(work, Condition()) for work in (play.feed(), play.answer())]
            takers = [loop.spawn(work, Condition()) for work in (play.receive(), play.show())]
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
    """What has to come of a scene, however the bytes are moved."""
    assert scene.question.startswith(outcome.taken)
    assert scene.answer.startswith(outcome.shown)
    if scene.breaks == "peer":
        if scene.over == "tcp":
            assert outcome.failure() == ("PeerLost", "connection to peer:1: Connection reset by peer")
        elif outcome.error:
            kind, message = outcome.failure()
            assert kind == "PeerLost" and message.split(": ")[1] in {"Connection reset by peer", "Broken pipe"}
        if isinstance(outcome.error, PeerLost):
            left = len(scene.question) - len(outcome.taken)
            least = left - BUFFERS if scene.stdin == "file" else 0
            most = left + BUFFERS  # the peer may have taken what its kernel has not acknowledged
            assert least <= outcome.error.unsent <= most, outcome.error
    elif scene.breaks == "stdout":
        assert outcome.failure() == ("OutputClosed", "writing stdout: Broken pipe")
    elif scene.stdout == "/dev/full" and scene.receives:
        assert outcome.failure() == ("OutputError", "writing stdout: No space left on device")
    else:
        assert outcome.error is None
        same([bytes(outcome.taken)], [scene.question])
        assert outcome.ended
        if scene.stdout not in {"/dev/null", "/dev/full"}:
            same([bytes(outcome.shown)], [scene.answer])
        assert outcome.closed == (scene.stdout in FOLLOWED - {"terminal"})


def breaks_for(stdout: str) -> list[str]:
    """The ends that can be made to break at a moment that is the same both times."""
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
        data.draw(SIZES, "sends"),
        data.draw(SIZES, "receives") + 2 * (breaks == "stdout"),
        data.draw(st.sampled_from([1 << 20, 65_536, 30_001]), "piece"),
        data.draw(st.booleans(), "peer_first"),
        data.draw(st.sampled_from(["", "peer", "stdout"]), "slow"),
        breaks,
    )
    moved = play_scene(scene)
    keeps_to_the_model(scene, moved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zerocopy, "mover_between", lambda *_: None)
        copied = play_scene(scene)
    keeps_to_the_model(scene, copied)
    if not (scene.breaks == "peer" and scene.over == "unix"):  # which flow notices first that it has left is by chance
        assert moved.failure() == copied.failure()
