"""The path of a unix listener: two starts over one dead path, and what is removed at the end."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest
from conformance import Bench, descriptors, join, turns

from pync.loop.tasks import Condition
from pync.net import unix_path
from pync.net.unix_path import UnixPath, bind_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
both_kinds = pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["stream", "datagram"])


def binding(path: str, kind: int) -> Callable[[], socket.socket]:
    """Binds to the path as `bind` does."""

    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, kind)
        try:
            sock.bind(path)
            if kind == STREAM:
                sock.listen()
        except OSError:
            sock.close()
            raise
        return sock

    return bind


def leave_dead(path: str, kind: int) -> int:
    """Leave a path at which nothing answers; its number."""
    binding(path, kind)().close()
    return os.stat(path).st_ino


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@both_kinds
async def test_of_two_starts_over_one_dead_path_the_second_is_refused(real_loop: Bench, kind: int, path: str) -> None:
    """The second start waits, whatever the first one is about to do."""
    leave_dead(path, kind)
    rivals = []

    async def rival() -> None:
        with pytest.raises(OSError, match="Address already in use"):
            await bind_path(real_loop, path, binding(path, kind), kind)

    def bind() -> socket.socket:
        try:
            return binding(path, kind)()
        except OSError:
            rivals.append(real_loop.spawn(rival(), Condition()))
            raise

    before = descriptors()
    sock, place = await bind_path(real_loop, path, bind, kind)
    await join(real_loop, rivals[0])
    assert place.ours == (os.stat(path).st_dev, os.stat(path).st_ino)
    place.remove()
    sock.close()
    assert not os.path.exists(path)
    assert descriptors() == before


@both_kinds
async def test_a_start_waits_until_another_one_is_done(real_loop: Bench, kind: int, path: str) -> None:
    other = UnixPath(path)
    let_go = await unix_path._alone(real_loop, other)
    starting = real_loop.spawn(bind_path(real_loop, path, binding(path, kind), kind), Condition())
    await turns(real_loop, 5)
    assert not starting.done and not os.path.exists(path)
    let_go()
    other.remove()
    sock, place = await join(real_loop, starting)
    sock.close()
    place.remove()


async def test_a_start_does_not_wait_for_ever(real_loop: Bench, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_path, "PATIENCE", 0.05)
    other = UnixPath(path)
    let_go = await unix_path._alone(real_loop, other)
    sock, place = await bind_path(real_loop, path, binding(path, STREAM), STREAM)
    sock.close()
    let_go()
    for each in (place, other):
        each.remove()


async def test_starts_on_different_paths_do_not_wait_for_each_other(real_loop: Bench, path: str) -> None:
    names = [path, path + "2"]
    places = [UnixPath(name) for name in names]
    locks = [await real_loop.within(1, unix_path._alone(real_loop, place)) for place in places]
    for lock in locks:
        lock()
    for place in places:
        place.remove()


async def test_a_cancelled_start_leaves_nothing(real_loop: Bench, path: str) -> None:
    other = UnixPath(path)
    let_go = await unix_path._alone(real_loop, other)
    before = descriptors()
    starting = real_loop.spawn(bind_path(real_loop, path, binding(path, STREAM), STREAM), Condition())
    await turns(real_loop, 5)
    await real_loop.cancel_and_wait(starting)
    assert descriptors() == before
    assert not os.path.exists(path)
    let_go()
    other.remove()


async def test_a_dead_path_that_vanishes_meanwhile_is_no_obstacle(
    real_loop: Bench, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_dead(path, STREAM)
    really = UnixPath.is_dead

    def is_dead(place: UnixPath, kind: int) -> bool:
        os.unlink(path)
        return really(place, kind)

    monkeypatch.setattr(UnixPath, "is_dead", is_dead)
    sock, place = await bind_path(real_loop, path, binding(path, STREAM), STREAM)
    sock.close()
    place.remove()


async def test_what_another_process_has_put_there_is_not_removed(real_loop: Bench, path: str) -> None:
    sock, place = await bind_path(real_loop, path, binding(path, STREAM), STREAM)
    sock.close()
    os.rename(path, path + ".old")
    other = leave_dead(path, STREAM)
    place.remove()
    assert os.stat(path).st_ino == other


async def test_the_path_is_removed_in_the_directory_in_which_it_was_made(real_loop: Bench, tmp_path: Path) -> None:
    """Or else root would remove a file in a directory to which another user has led the path."""
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
    path = str(here / "socket")
    sock, place = await bind_path(real_loop, path, binding(path, STREAM), STREAM)
    sock.close()
    here.rename(tmp_path / "elsewhere")
    here.symlink_to(there)
    os.link(tmp_path / "elsewhere" / "socket", there / "socket")
    place.remove()
    assert [entry.name for entry in there.iterdir()] == ["socket"]
    assert not [*(tmp_path / "elsewhere").iterdir()]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EADDRNOTAVAIL])
async def test_a_failure_to_bind_is_raised_and_leaves_nothing(real_loop: Bench, code: int, path: str) -> None:
    def bind() -> socket.socket:
        raise OSError(code, os.strerror(code))

    before = descriptors()
    with pytest.raises(OSError, match=os.strerror(code)):
        await bind_path(real_loop, path, bind, STREAM)
    assert descriptors() == before
