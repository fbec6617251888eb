"""One who speaks to many by a hub. The words of all readers are compared before it is timed, and counted then.

A hub is asked two things. How much does it deliver, to one who speaks as fast as it listens? There it does best with
large reads. And how soon have all got one line? There the speaker waits until everybody has heard it, and most of the
time goes into one system call of the hub and one of ours for each reader.
"""

from __future__ import annotations

import select
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.crowds import SPARE, allow, connect, taken
from bench.moving import SLICE
from bench.outcomes import Wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.trial import Trial

FEW = 100  # times fewer lines are said one after another
SILENCE = 5.0  # seconds after which nothing more will come


def to(readers: int) -> Callable[[Trial], list[float]]:
    """Thousands of lines per second to so many readers, all together: as fast as they go, and one after another."""
    return partial(_tell, count=readers)


def _tell(trial: Trial, count: int) -> list[float]:
    speaker, *readers = _members(trial, 1 + count)
    audience = Audience(readers, attentive=trial.verifying)
    lines = [b"%063d\n" % number for number in range(trial.scale.told // count)]
    few = lines[::FEW]
    began = time.perf_counter()
    for line in few:
        speaker.send(line)
        audience.hear(line)
    alone = time.perf_counter() - began
    words = b"".join(lines)
    began = time.perf_counter()
    trial.spawn(speaker.sendall, words)
    audience.hear(words)
    together = time.perf_counter() - began
    return [count * len(lines) / together / 1000, count * len(few) / alone / 1000]


def _members(trial: Trial, wanted: int) -> list[socket.socket]:
    """Clients of the hub, who are all known to it."""
    allow(wanted + SPARE)
    server, port = trial.serve()
    before = server.descriptors()
    clients = connect(trial, server, port, wanted)
    most = taken(server, before, clients)
    if most < wanted:
        raise Wrong(f"took {most} of {wanted} clients")
    return clients


class Audience:
    """The readers: one thread for all of them."""

    def __init__(self, readers: Sequence[socket.socket], *, attentive: bool) -> None:
        """`attentive`: every byte is compared, and not only counted."""
        self._readers = {reader.fileno(): reader for reader in readers}
        self._attentive = attentive
        self._buffer = bytearray(SLICE)
        self._poll = select.epoll()
        for reader in readers:
            self._poll.register(reader, select.EPOLLIN)

    def hear(self, words: bytes) -> None:
        """Read until each of them has got all that. Raises Wrong if it is not exactly that."""
        left = dict.fromkeys(self._readers, len(words))
        missing = len(words) * len(left)
        while missing > 0:
            ready = self._poll.poll(SILENCE)
            for descriptor, _ in ready:
                size = self._read(descriptor, words, len(words) - left[descriptor])
                left[descriptor] -= size
                missing -= size
            if not ready:
                break
        if lacking := sum(map(bool, left.values())):
            raise Wrong(f"{lacking} of {len(left)} readers did not get exactly what was said")

    def _read(self, descriptor: int, words: bytes, at: int) -> int:
        """How much one of them has got. `at`: how much of the words it had before."""
        reader = self._readers[descriptor]
        if not self._attentive:
            size = reader.recv_into(self._buffer, SLICE, socket.MSG_TRUNC)
        else:
            data = reader.recv(SLICE)
            if not words.startswith(data, at):
                raise Wrong("said other words than it heard")
            size = len(data)
        if not size:
            raise Wrong("cut a reader off")
        return size
