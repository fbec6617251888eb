"""A terminal in raw mode while it is read: what of it is given, and that it is given back as it was found."""

from __future__ import annotations

import os
import signal
import termios
from typing import IO, TYPE_CHECKING

import pytest
from doubles import END, MemorySource, play
from terminals import resize, terminal

from pync.endpoints.raw_terminal import RawTerminal
from pync.endpoints.terminal import LOOK
from pync.errors import InputError
from pync.loop.tasks import Condition
from pync.stages.window_size import message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pync.loop.kernel import Loop

RAW_ALREADY = termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN
SIGNALS = (signal.SIGTSTP, signal.SIGQUIT, signal.SIGCONT, signal.SIGWINCH)
FAILURE = InputError("reading stdin", "Input/output error")


@pytest.fixture
def screen() -> Iterator[IO[bytes]]:
    """A terminal with attributes that no program would give it by itself."""
    ttin = signal.getsignal(signal.SIGTTIN)
    with terminal() as (_, screen):
        attributes = termios.tcgetattr(screen)
        attributes[0] |= termios.IXANY | termios.ISTRIP
        attributes[6][termios.VEOF] = b"\x05"
        termios.tcsetattr(screen, termios.TCSANOW, attributes)
        resize(screen, 24, 80)
        yield screen
    signal.signal(signal.SIGTTIN, ttin)


def is_raw(screen: IO[bytes]) -> bool:
    attributes = termios.tcgetattr(screen)
    return not (attributes[3] & RAW_ALREADY or attributes[1] & termios.OPOST)


def raw(
    loop: Loop, screen: IO[bytes], *script: bytes | float | BaseException | None, sizes: bool = False
) -> RawTerminal:
    return RawTerminal(loop, MemorySource(loop, *script), screen.fileno(), sizes=sizes)


async def test_the_terminal_is_raw_while_it_is_read_and_not_before(loop: Loop, screen: IO[bytes]) -> None:
    found = termios.tcgetattr(screen)
    source = raw(loop, screen, 1.0, b"key", 1.0, END)
    await loop.sleep(5)
    assert termios.tcgetattr(screen) == found
    assert await source.read() == b"key"
    assert is_raw(screen)
    assert await source.read() is None
    await loop.sleep(0)
    assert termios.tcgetattr(screen) == found


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ([b"\x1d"], [None]),
        ([b"before\x1dafter\x1d"], [b"before", None]),
        ([b"\x03\x04\x1a\x1b\0\xff", b"\x1d", b"never"], [b"\x03\x04\x1a\x1b\0\xff", None]),
    ],
)
async def test_control_bracket_is_the_end_and_everything_before_it_is_given(
    typed: list[bytes], given: list[bytes | None], loop: Loop, screen: IO[bytes]
) -> None:
    found = termios.tcgetattr(screen)
    source = raw(loop, screen, *typed)
    assert [await source.read() for _ in given] == given
    assert await source.read() is None
    await loop.sleep(0)
    assert termios.tcgetattr(screen) == found


async def test_a_read_that_is_cancelled_gives_the_terminal_back_and_the_next_one_is_raw_again(
    loop: Loop, screen: IO[bytes]
) -> None:
    found = termios.tcgetattr(screen)
    memory = MemorySource(loop)
    source = RawTerminal(loop, memory, screen.fileno())
    for key in b"1", b"2":
        reading = loop.spawn(source.read(), Condition())
        await loop.sleep(1)
        assert is_raw(screen)
        await loop.cancel_and_wait(reading)
        await loop.sleep(0)
        assert termios.tcgetattr(screen) == found
        memory.put(key)
        assert await source.read() == key


async def test_what_was_read_when_a_read_is_cancelled_is_given_by_the_next(loop: Loop, screen: IO[bytes]) -> None:
    memory = MemorySource(loop)
    source = RawTerminal(loop, memory, screen.fileno())
    reading = loop.spawn(source.read(), Condition())
    await loop.sleep(1)
    memory.put(b"key")
    while not memory.history:
        await loop.sleep(0)
    await loop.cancel_and_wait(reading)
    given = reading.value if reading.error is None else await source.read()
    assert given == b"key"


def test_the_end_of_the_run_gives_the_terminal_back_however_it_ends(screen: IO[bytes]) -> None:
    found = termios.tcgetattr(screen)

    async def main(loop: Loop) -> None:
        source = raw(loop, screen, b"key")
        await source.read()
        await loop.sleep(0)
        assert is_raw(screen)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(main)
    assert termios.tcgetattr(screen) == found


async def test_a_failure_is_raised_and_the_terminal_is_given_back(loop: Loop, screen: IO[bytes]) -> None:
    found = termios.tcgetattr(screen)
    source = raw(loop, screen, 1.0, FAILURE)
    with pytest.raises(InputError):
        await source.read()
    await loop.sleep(0)
    assert termios.tcgetattr(screen) == found


def test_the_dispositions_of_the_signals_are_those_of_before(screen: IO[bytes]) -> None:
    async def main(loop: Loop) -> None:
        await raw(loop, screen, 1.0, b"key").read()
        assert all(callable(signal.getsignal(signum)) for signum in SIGNALS)

    before = [signal.getsignal(signum) for signum in SIGNALS]
    play(main)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


async def test_in_the_background_the_attributes_are_left_alone(
    loop: Loop, screen: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = False
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + (not ours))
    found = termios.tcgetattr(screen)
    source = raw(loop, screen, b"key")
    reading = loop.spawn(source.read(), Condition())
    await loop.sleep(10 * LOOK)
    assert termios.tcgetattr(screen) == found
    ours = True
    await loop.sleep(2 * LOOK)
    assert is_raw(screen)
    assert reading.result() == b"key"
    ours = False
    anothers = termios.tcgetattr(screen)
    reading = loop.spawn(source.read(), Condition())
    await loop.sleep(1)
    await loop.cancel_and_wait(reading)
    await loop.sleep(0)
    assert termios.tcgetattr(screen) == anothers


async def test_a_descriptor_that_is_no_terminal_any_more_is_no_failure(loop: Loop) -> None:
    reading, writing = os.pipe()
    source = RawTerminal(loop, MemorySource(loop, 1.0, b"key", END), reading, sizes=True)
    assert [await source.read(), await source.read()] == [b"key", None]
    os.close(reading)
    os.close(writing)


# -- The size of the window --------------------------------------------------------------------------------------


async def test_the_size_comes_first_and_again_when_it_has_changed(loop: Loop, screen: IO[bytes]) -> None:
    memory = MemorySource(loop)
    source = RawTerminal(loop, memory, screen.fileno(), sizes=True)
    assert await source.read() == message(24, 80)
    memory.put(b"k\xffy")
    assert await source.read() == b"k\xff\xffy"
    reading = loop.spawn(source.read(), Condition())
    await loop.sleep(1)
    for rows, columns in (24, 80), (50, 132):
        resize(screen, rows, columns)
        os.kill(os.getpid(), signal.SIGWINCH)
        await loop.sleep(1)
    assert reading.result() == message(50, 132)
    memory.put(b"key", END)
    assert [await source.read(), await source.read()] == [b"key", None]


async def test_a_terminal_without_a_size_sends_none(loop: Loop, screen: IO[bytes]) -> None:
    resize(screen, 0, 0)
    assert await raw(loop, screen, b"key", sizes=True).read() == b"key"


async def test_a_read_that_begins_anew_sends_the_size_anew(loop: Loop, screen: IO[bytes]) -> None:
    source = raw(loop, screen, sizes=True)
    assert await source.read() == message(24, 80)
    reading = loop.spawn(source.read(), Condition())
    await loop.sleep(1)
    await loop.cancel_and_wait(reading)  # as between two connections
    assert await source.read() == message(24, 80)
