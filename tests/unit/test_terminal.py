"""A stdin that is our controlling terminal, which is read only in the foreground."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest
from doubles import END, MemorySource

from pync.endpoints.terminal import LOOK, Terminal
from pync.errors import InputError
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doubles import Clock

    from pync.loop.kernel import Loop

BACKGROUND = InputError("reading stdin", os.strerror(errno.EIO))


class Group:
    """The process group in the foreground: ours, another, or none, because the terminal has hung up."""

    def __init__(self) -> None:
        self.ours: bool | None = True

    def __call__(self, fd: int) -> int:
        if self.ours is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.getpgrp() if self.ours else os.getpgrp() + 1


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    before = signal.getsignal(signal.SIGTTIN)
    group = Group()
    monkeypatch.setattr(os, "tcgetpgrp", group)
    yield group
    signal.signal(signal.SIGTTIN, before)


async def test_in_the_foreground_it_is_read(loop: Loop, group: Group) -> None:
    terminal = Terminal(loop, MemorySource(loop, b"a line\n", END))
    assert [await terminal.read(), await terminal.read()] == [b"a line\n", None]
    assert terminal.raw() is None


async def test_in_the_background_nothing_is_read_until_it_is_in_the_foreground_again(
    loop: Loop, clock: Clock, group: Group
) -> None:
    group.ours = False
    source = MemorySource(loop, b"a line\n")
    reading = loop.spawn(Terminal(loop, source).read(), Condition())
    await loop.sleep(1000)
    assert not reading.done
    assert source.history == []
    group.ours = True
    await loop.sleep(LOOK)
    assert reading.result() == b"a line\n"


async def test_a_read_that_fails_because_it_was_moved_to_the_background_is_tried_again(
    loop: Loop, group: Group
) -> None:
    group.ours = False

    class Moved(MemorySource):
        async def read(self) -> bytes | None:
            if group.ours is None:
                group.ours = False
                raise BACKGROUND
            return await super().read()

    group.ours = None
    reading = loop.spawn(Terminal(loop, Moved(loop, b"a line\n")).read(), Condition())
    await loop.sleep(1000)
    assert not reading.done
    group.ours = True
    await loop.sleep(LOOK)
    assert reading.result() == b"a line\n"


async def test_another_failure_is_raised(loop: Loop, group: Group) -> None:
    with pytest.raises(InputError):
        await Terminal(loop, MemorySource(loop, BACKGROUND)).read()


async def test_a_terminal_that_has_hung_up_is_read_to_its_end(loop: Loop, group: Group) -> None:
    group.ours = None
    assert await Terminal(loop, MemorySource(loop, END)).read() is None


async def test_the_signal_that_stops_a_reader_in_the_background_is_ignored(loop: Loop, group: Group) -> None:
    Terminal(loop, MemorySource(loop))
    assert signal.getsignal(signal.SIGTTIN) == signal.SIG_IGN
