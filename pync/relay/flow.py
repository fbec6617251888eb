"""A flow: one direction of a conversation. It moves bytes from a source through stages to a sink, a chunk at a time.

With one chunk in flight memory is bounded, backpressure needs no watermarks, datagram boundaries survive, and one
stalled direction never stops the other. A flow counts what it moves, and it knows whether it is reading or writing. The
idle limit, the silence that ends a conversation and the number of unsent bytes all come from that alone. It must never
know what its ends are, nor decide when a conversation is over: `rules.py` does.

Where no stage has to see the bytes and both ends have a descriptor for it, the kernel moves them (`zerocopy.py`).
"""

from __future__ import annotations

from pync.events import SessionEnded
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pync.context import Context
    from pync.endpoints import Sink, Source
    from pync.events import Address
    from pync.loop.kernel import Loop
    from pync.relay.session_end import Moving
    from pync.relay.zerocopy import Mover
    from pync.stages import Stage


class Flow:
    """One direction. `moved` is the number of bytes written, `reads` the number of reads that gave data."""

    __slots__ = (
        *("loop", "source", "sink", "stages", "read_limit", "reads", "moved", "began", "ended", "waiting_since"),
        *("mover", "progress", "eof_sent", "_read_all", "_rest"),
    )

    def __init__(
        self,
        loop: Loop,
        source: Source,
        sink: Sink,
        stages: Sequence[Stage] = (),
        read_limit: int | None = None,
    ) -> None:
        self.loop = loop
        self.source = source
        self.sink = sink
        self.stages = stages
        self.read_limit = read_limit
        self.reads = 0
        self.moved = 0
        self.began: float | None = None  # when the first read gave data
        self.ended = False  # the source has ended, and all of it is written
        self.waiting_since: float | None = None  # when the present wait for the source began
        self.progress = Condition()  # notified when something was read or written, or the source ended
        self._read_all = False  # the source has ended
        self.eof_sent = False
        self.mover: Mover | None = None  # what moves the bytes, if the kernel does
        self._rest: memoryview | None = None  # what is being written and the sink has not taken yet

    async def run(self) -> None:
        """Copy until the source ends, then pass the end-of-file on."""
        await self.copy()
        await self.send_eof()

    async def copy(self) -> None:
        """Copy until the source ends (or the read limit is reached), and flush what the stages hold."""
        if not self._read_all and not await self._by_kernel():
            while self.reads != self.read_limit and await self.copy_chunk() is not None:
                pass
        await self._flush()
        self.ended = True
        self.progress.notify()

    async def _by_kernel(self) -> bool:
        """Have the kernel move everything; False if the rest has to be copied."""
        if self.stages or self.read_limit or self.source.raw() is None or self.sink.raw() is None:
            return False
        # A flow that the kernel cannot move, such as one from a terminal, does not import the fast path.
        from pync.relay.zerocopy import move

        return await move(self)

    async def copy_chunk(self) -> bytes | None:
        """Copy what one read gives, and return it; None if the source has ended. `copy` does the rest."""
        self.waiting_since = self.loop.clock()
        try:
            data = await self.source.read()
        finally:
            self.waiting_since = None
            self.progress.notify()
        if data is None:
            self._read_all = True
            return None
        self.count_read()
        fed = data
        for stage in self.stages:
            fed = stage.feed(fed)
        # An empty datagram is passed on. Nothing is sent for data of which the stages have left nothing.
        if fed or not data:
            await self.send(fed)
        return data

    def count_read(self) -> float:
        """Take note of a read that gave data, and return the moment."""
        now = self.loop.clock()
        if not self.reads:
            self.began = now
        self.reads += 1
        return now

    async def send(self, data: bytes) -> None:
        """Write all of `data`. A caller that adds bytes of its own waits for its turn, so that nothing is mixed.

        After the end-of-file `data` is dropped.
        """
        await self._turn()
        if self.eof_sent:
            return
        self._rest = memoryview(data)
        while self._rest is not None:  # at least once, because an empty datagram is written, too
            written = await self.sink.write(self._rest)
            self.moved += written
            self._rest = self._rest[written:] or None
        self.progress.notify()

    async def send_eof(self) -> None:
        """Pass the end-of-file on, after what is being written."""
        await self._turn()
        self.eof_sent = True
        await self.sink.send_eof()

    def take_rest(self) -> bytes:
        """Take out what the sink has not taken of a write that was cut short."""
        rest, self._rest = bytes(self._rest or b""), None
        return rest

    def unsent(self) -> int:
        """Bytes that are known to be left: read and not written, or still in the source."""
        return len(self._rest or b"") + (self.mover.left if self.mover else 0) + self.source.unread()

    async def _turn(self) -> None:
        while self._rest is not None:
            await self.loop.wait(self.progress)

    async def _flush(self) -> None:
        if self.stages:
            from pync.stages import flush_all

            for tail in flush_all(self.stages):
                await self.send(tail)


class Session:
    """A context manager: a session runs within it, which SIGUSR1 and `--progress` look at, and which has an end."""

    __slots__ = ("context", "moving", "peer", "since", "status")

    def __init__(self, context: Context, peer: Address, moving: Moving) -> None:
        self.context, self.peer, self.moving, self.since = context, peer, moving, context.loop.clock()
        self.status: int | None = None  # of its program

    def __enter__(self) -> Session:
        self.context.running[self] = None
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.context.running.pop(self, None)
        if self.context.config.keep_open or self.context.config.progress or self.context.wants(SessionEnded):
            from pync.relay.session_end import note_end

            note_end(self, error)
