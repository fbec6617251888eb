"""Scanning: finding out which ports are open. Many are tried at once, and reported in the order that was asked for.

Theory: a worker tries port after port while the answers come at once. A worker that has to wait lets another one begin,
up to a window full of them. So no port waits without need, and a host that drops everything costs the timeout once
for each window, not once for each port. A result that comes out of order waits until it can be reported.
"""

from __future__ import annotations

import errno
import os
import resource

from pync.errors import ConnectError, reason
from pync.events import Connected, ConnectFailed, Outcome, as_address
from pync.loop.tasks import Condition
from pync.modes import in_order
from pync.modes.port_probes import UNDER_WAY, Probe, StreamProbe, with_port
from pync.net.attempt import attempt_failed
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pync.context import Context
    from pync.events import Event
    from pync.loop.tasks import Task

    Place = tuple[int, Any]  # its family, and its name as the system gives it
    Answers = list[OSError | None]  # for each address that was tried: why it is not open, or None

WINDOW = 512  # most attempts at a time; fewer if there are fewer descriptors
SPARE = 32  # descriptors left for everything else
TURN = 256  # ports tried in a row before signals and the other workers have their turn
# What most ports answer. It is never raised, so one object is enough.
CLOSED = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


async def scan(context: Context) -> Outcome:
    """Try each port, report each in order; `opened` if any is open. With `retry`, again until one is, or TimedOut."""
    if context.config.retry is None:
        return Outcome(opened=await _round(context))

    async def insist() -> None:
        if not await _round(context):
            raise ConnectError(f"connect to {context.config.host}", "no port was open")

    from pync.connections.retry import with_retry

    await with_retry(context, insist)
    return Outcome(opened=True)


async def _round(context: Context) -> bool:
    """Try every port once; whether any is open."""
    if context.config.proxy:
        return await _round_through_proxy(context)
    ports = in_order(context) or (None,)
    addresses, own = await _addresses(context), None
    if context.config.source_host is not None or context.config.source_port is not None:
        from pync.net.source import own_names

        own = await own_names(context)
    return await Sweep(context, ports, addresses, own).run()


async def _round_through_proxy(context: Context) -> bool:
    """Ask a proxy for every port once: one by one, because a proxy may not stand many at a time."""
    from pync.connections.outgoing import UNREACHED, open_connection, prepare

    prepare(context)
    opened = False
    for port in in_order(context):
        try:
            peer = await open_connection(context, port)
        except UNREACHED as error:
            why = str(error)  # with the name of the proxy, which may be what cannot be reached, or does not answer
            context.report(attempt_failed(context, (context.config.host or "", port), why))
        else:
            peer.close()
            opened = True
    return opened


async def _addresses(context: Context) -> list[Place]:
    """Every address of the host, looked up once for all ports."""
    if context.config.family == "unix":
        return [(socket.AF_UNIX, unix_name(context.config.host or ""))]
    return await resolve(context, context.config.host, 0)


class Sweep:
    """One round over the ports: the workers, and their results that are not reported yet."""

    def __init__(self, context: Context, ports: tuple[int | None, ...], addresses: list[Place], own: Any) -> None:
        """`own` is what `source.own_names` gives, or None."""
        self._context = context
        self._ports = ports
        self._transport = context.transport
        self._kind = StreamProbe if self._transport == "tcp" else Probe
        self._places = [(context, family, name, own) for family, name in addresses]
        self._workers: list[Task] = []
        self._window = _window(len(addresses))
        self._ended = Condition()
        self._next = 0  # the number of the port that is tried next
        self._reported = 0  # the number of the port that is reported next
        self._found: dict[int, tuple[int, Answers]] = {}  # results by their first port: where each stops, its answers
        self._failures = context.wants(ConnectFailed)
        self._opened = False

    async def run(self) -> bool:
        """Try every port, report each in order; whether any is open."""
        loop = self._context.loop
        self._hire()
        try:
            while not (all(task.done for task in self._workers) or any(task.error for task in self._workers)):
                await loop.wait(self._ended)
            failed = [task for task in self._workers if task.error]
        finally:
            await loop.cancel_and_wait(*self._workers)
        for task in failed:
            task.result()
        return self._opened

    def _hire(self) -> None:
        """Let another worker begin, unless the window is full."""
        if len(self._workers) < self._window:
            self._workers.append(self._context.loop.spawn(self._work(), self._ended))

    async def _work(self) -> None:
        """Try ports until none is left: many in a row while they are refused at once, or one with patience."""
        probes = [self._kind(*place) for place in self._places]
        try:
            while ports := self._ports[self._next : self._next + TURN]:
                first = self._next
                count, refusing = self._kind.refusals(probes, ports)
                self._next += count
                if count:
                    self._settle(first, self._next, [CLOSED] * len(probes))
                if count == len(ports):
                    await self._context.loop.sleep(0)
                    continue
                number = self._next
                self._next += 1
                self._settle(number, number + 1, await self._answers(probes, ports[count], refusing))
        finally:
            for probe in probes:
                probe.close()

    async def _answers(self, probes: list[Probe], port: int | None, refusing: int) -> Answers:
        """What each address answers, up to the first that is open. The first `refusing` ones have refused already."""
        answers: Answers = [CLOSED] * refusing
        for probe in probes[refusing:]:
            try:
                code = probe.ask(port)
                if code in UNDER_WAY:
                    self._hire()
                else:
                    await self._context.loop.sleep(0)  # the answer is there, but the other workers have their turn
                await probe.answer(port, code)
            except OSError as error:
                answers.append(error)
            else:
                return [*answers, None]
        return answers

    def _settle(self, first: int, stop: int, answers: Answers) -> None:
        """Keep the answers of a stretch of ports, and report all results before the first that is still missing."""
        self._found[first] = stop, answers
        while self._reported in self._found:
            first, (stop, answers) = self._reported, self._found.pop(self._reported)
            self._reported = stop
            self._opened = self._opened or answers[-1] is None
            if self._failures or answers[-1] is None:
                for port in self._ports[first:stop]:
                    for event in self._events(port, answers):
                        self._context.report(event)

    def _events(self, port: int | None, answers: Answers) -> Iterator[Event]:
        """Each address that failed, and the one that is open."""
        for failure, (_, _, name, _) in zip(answers, self._places, strict=False):
            place = with_port(name, port)
            if failure is None:
                host = self._context.config.host or ""
                yield Connected(host=host, address=as_address(place), transport=self._transport)
            else:
                late = isinstance(failure, TimeoutError)
                why = "timed out" if late else reason(failure)
                yield attempt_failed(self._context, place, why, timed_out=late)


def _window(addresses: int) -> int:
    """How many workers the descriptors allow, each with a socket for each address."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(WINDOW, (soft - SPARE) // addresses))
