"""Watching many connections for their end costs one descriptor, and each watcher is woken for its own."""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from conformance import join, turns
from doubles import play

from pync.loop.hangups import Hangups
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task


def watched(loop: Loop, hangups: Hangups, ours: socket.socket) -> tuple[Task, Condition]:
    gone = Condition()
    return loop.spawn(hangups.wait(ours.fileno(), gone), Condition()), gone


async def test_a_connection_is_closed_when_both_ends_of_file_are_there_not_when_one_is(loop: Loop) -> None:
    hangups = Hangups(loop)
    pairs = [socket.socketpair() for _ in range(5)]
    tasks = [watched(loop, hangups, ours)[0] for ours, _ in pairs]
    for _, theirs in pairs:
        theirs.shutdown(socket.SHUT_WR)
    await turns(loop, 5)
    assert not any(task.done for task in tasks)
    for number in (3, 0, 4, 1, 2):
        pairs[number][1].close()
        await join(loop, tasks[number])
        assert sum(task.done for task in tasks) + len(hangups.watched) == len(pairs)
    for ours, _ in pairs:
        ours.close()


async def test_a_connection_that_is_closed_already_is_noticed_at_once(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with closing(ours):
        await hangups_of(loop, ours)


async def hangups_of(loop: Loop, ours: socket.socket) -> None:
    await Hangups(loop).wait(ours.fileno(), Condition())


async def test_the_wait_ends_also_for_another_reason_and_leaves_nothing_behind(loop: Loop) -> None:
    hangups = Hangups(loop)
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        for _ in range(2):
            task, done = watched(loop, hangups, ours)
            await turns(loop, 3)
            done.notify()
            await join(loop, task)
            cancelled, _ = watched(loop, hangups, ours)
            await turns(loop, 3)
            await loop.cancel_and_wait(cancelled)
            assert not hangups.watched


def test_many_connections_cost_one_descriptor_which_is_given_back() -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def main(loop: Loop) -> None:
        hangups = Hangups(loop)
        ours, theirs = socket.socketpair()
        several = [ours.dup() for _ in range(50)]
        count = len(os.listdir("/proc/self/fd"))
        tasks = [watched(loop, hangups, sock)[0] for sock in several]
        await turns(loop, 3)
        assert len(os.listdir("/proc/self/fd")) == count + 1
        theirs.close()
        for task in tasks:
            await join(loop, task)
        for sock in (ours, *several):
            sock.close()

    play(main)
    assert len(os.listdir("/proc/self/fd")) == before


class Full:
    """An epoll that takes no more connections."""

    def register(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("shortage", ["no epoll", "no descriptor", "no memory for a watch"])
async def test_a_connection_that_cannot_be_watched_is_looked_at_every_second(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, shortage: str
) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    if shortage == "no epoll":
        monkeypatch.delattr(select, "epoll")
    else:
        monkeypatch.setattr(select, "epoll", refuse)
    hangups = Hangups(loop)
    if shortage == "no memory for a watch":
        monkeypatch.setattr(hangups, "_epoll", Full())
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        by_hangup, _ = watched(loop, hangups, ours)
        by_condition, done = watched(loop, hangups, ours)
        begun = loop.clock()
        await loop.sleep(2.5)
        assert not (by_hangup.done or by_condition.done)
        done.notify()
        await join(loop, by_condition)
        theirs.close()
        await join(loop, by_hangup)
        assert loop.clock() == begun + 3
