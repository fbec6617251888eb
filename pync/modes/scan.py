"""Scanning: finding out which ports are open. Many are tried at once, and reported in the order that was asked for.

Theory: a worker tries port after port while the answers come at once. A worker that has to wait lets another one begin,
up to a window full of them. So no port waits without need, and a host that drops everything costs the timeout once
for each window, not once for each port. A result that comes out of order waits until it can be reported.

The limit is one for all addresses of a name. While an address is silent, the next is tried beside it.
"""

from __future__ import annotations

import errno
import os
import resource

from pync.errors import ConnectError, PeerLost, TimedOut, TlsError, reason
from pync.events import Connected, ConnectFailed, Outcome, as_address
from pync.loop.tasks import Cancelled, Condition
from pync.modes import in_order
from pync.modes.port_probes import UNDER_WAY, HandshakeProbe, Probe, StreamProbe, with_port
from pync.net.attempt import attempt_failed
from pync.net.resolve import resolve, unix_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pync.context import Context
    from pync.errors import PyncError
    from pync.events import Event
    from pync.loop.tasks import Task

    Place = tuple[int, Any]  # its family, and its name as the system gives it
    # What the addresses of a port have answered: the number of each, and why it is not open; None (the last): it is.
    Answers = list[tuple[int, OSError | None]]

PORT_LIMIT = 5.0  # seconds for each port without --connect-timeout; the system's own limit is minutes
NEXT_ADDRESS = 0.25  # seconds of silence after which the next address of a port is tried, too (RFC 8305 §5)
WINDOW = 512  # most attempts at a time; fewer if there are fewer descriptors
SPARE = 32  # descriptors left for everything else
TURN = 256  # ports tried in a row before signals and the other workers have their turn
# What most ports answer. It is never raised, so one object is enough.
CLOSED = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


async def scan(context: Context) -> Outcome:
    """Try each port, report each in order; `opened` if any is open. With `retry`, again until one is, or TimedOut."""
    if (behaviour := context.config.behaviour) and behaviour.scan_in_order:
        from pync.modes.ordered_scan import scan_in_order

        return await scan_in_order(context, behaviour)
    if context.config.places:
        from pync.modes.waiting import wait

        return await wait(context, _round)
    if context.config.proxy or context.config.tls or context.config.websocket:
        from pync.connections.outgoing import prepare

        prepare(context)
    if len(context.config.ports) > 1:
        from pync.limits import raise_limit

        raise_limit()
    if context.config.retry is None:
        return Outcome(opened=await _round(context) is None)

    async def insist() -> None:
        if failure := await _round(context):
            raise failure

    from pync.connections.retry import with_retry

    await with_retry(context, insist)
    return Outcome(opened=True)


async def _round(context: Context) -> PyncError | None:
    """Try every port once. The failure of the last one if none is open, or None."""
    if context.config.proxy:
        return await _round_through_proxy(context)
    ports = in_order(context) or (None,)
    try:
        places = await context.loop.within(context.config.connect_timeout, _places(context))
    except TimeoutError:
        raise TimedOut(f"host {context.config.host}", "timed out") from None
    return await Sweep(context, ports, *places).run()


async def _round_through_proxy(context: Context) -> PyncError | None:
    """Ask a proxy for every port once: one by one, because a proxy may not stand many at a time."""
    from pync.connections.outgoing import UNREACHED, open_connection

    opened, failure = False, None
    made: list[Event] = []  # connections of which it is not known yet whether the handshake succeeds

    def report(event: Event) -> None:
        if isinstance(event, Connected):
            made[:] = [event]
        elif isinstance(event, ConnectFailed):
            context.report(event)

    quiet = context.derive(context.config, report)
    quiet.tls_context = context.tls_context
    for port in in_order(context):
        try:
            peer = await open_connection(quiet, port)
        except (*UNREACHED, TlsError, PeerLost) as error:
            why = str(error)  # with the name of the proxy, which may be what cannot be reached, or does not answer
            context.report(attempt_failed(context, (context.config.host or "", port), why))
            failure = error if isinstance(error, UNREACHED) else ConnectError(error.what, error.why)
        else:
            peer.close()
            context.report(made[0])
            opened = True
    return None if opened else failure


async def _places(context: Context) -> tuple[list[Place], Any]:
    """Every address of the host, looked up once for all ports, and our own addresses or None."""
    config = context.config
    if config.family == "unix":
        found: list[Place] = [(socket.AF_UNIX, unix_name(config.host or ""))]
    else:
        found = await resolve(context, config.host, 0)
    if config.source_host is None and config.source_port is None and not config.socket.interface:
        return found, None
    from pync.net.source import own_names

    return found, await own_names(context)


class Sweep:
    """One round over the ports: the workers, and their results that are not reported yet."""

    def __init__(self, context: Context, ports: tuple[int | None, ...], addresses: list[Place], own: Any) -> None:
        """`own` is what `source.own_names` gives, or None."""
        self._context = context
        self._ports = ports
        self._transport = context.transport
        self._kind = _kind(context)
        # A UDP port that is silent is taken for open. So no other address need be tried meanwhile.
        self._patience = None if self._transport == "udp" else NEXT_ADDRESS
        self._places = [(context, family, name, own) for family, name in addresses]
        self._workers: list[Task] = []
        self._window = _window(len(addresses))
        self._ended = Condition()
        self._next = 0  # the number of the port that is tried next
        self._reported = 0  # the number of the port that is reported next
        self._found: dict[int, tuple[int, Answers]] = {}  # results by their first port: where each stops, its answers
        self._failures = context.wants(ConnectFailed)
        self._closed: Answers = [(number, CLOSED) for number in range(len(addresses))]
        self._opened = False
        self._last: tuple[int | None, OSError] = (None, CLOSED)  # the port that failed last, and why

    async def run(self) -> PyncError | None:
        """Try every port, report each in order. The failure of the last one if none is open, or None."""
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
        if self._opened:
            return None
        from pync.net.dial import connect_goal

        port, failure = self._last
        return ConnectError(f"{connect_goal(self._context, port)} failed", _why(failure))

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
                    self._settle(first, self._next, self._closed)
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
        """What the addresses answer, up to the first that is open. The first `refusing` ones have refused already."""
        loop, ended = self._context.loop, Condition()
        until = loop.clock() + (self._context.config.connect_timeout or PORT_LIMIT)
        answers, waiting = self._closed[:refusing], list(enumerate(probes))[refusing:]
        running: dict[Task, int] = {}
        try:
            while waiting or running:
                if waiting:
                    number, probe = waiting.pop(0)
                    running[loop.spawn(self._answer(probe, port, until), ended)] = number
                await loop.wait(ended, loop.clock() + self._patience if waiting and self._patience else None)
                for task in [task for task in running if task.done]:
                    number = running.pop(task)
                    if not isinstance(task.error, OSError):
                        task.result()
                        return [*answers, (number, None)]
                    answers.append((number, task.error))
            return answers
        finally:
            await loop.cancel_and_wait(*running)

    async def _answer(self, probe: Probe, port: int | None, until: float) -> None:
        """Wait for the answer of one address. Raises OSError if the port is not open by `until`."""
        try:
            code = probe.ask(port)
            if code in UNDER_WAY:
                self._hire()
            else:
                await self._context.loop.sleep(0)  # the answer is there, but the other workers have their turn
            await probe.answer(port, code, until)
        except Cancelled:
            probe.close()  # its socket may be on the way to this port still
            raise

    def _settle(self, first: int, stop: int, answers: Answers) -> None:
        """Keep the answers of a stretch of ports, and report all results before the first that is still missing."""
        self._found[first] = stop, answers
        while self._reported in self._found:
            first, (stop, answers) = self._reported, self._found.pop(self._reported)
            self._reported = stop
            failure = answers[-1][1]
            if failure is None:
                self._opened = True
            else:
                self._last = self._ports[stop - 1], failure
            if self._failures or failure is None:
                for port in self._ports[first:stop]:
                    for event in self._events(port, answers):
                        self._context.report(event)

    def _events(self, port: int | None, answers: Answers) -> Iterator[Event]:
        """Each address that failed, and the one that is open."""
        for number, failure in answers:
            place = with_port(self._places[number][2], port)
            if failure is None:
                host = self._context.config.host or ""
                yield Connected(host=host, address=as_address(place), transport=self._transport)
            else:
                late = isinstance(failure, TimeoutError)
                yield attempt_failed(self._context, place, _why(failure), timed_out=late)


def _kind(context: Context) -> type[Probe]:
    if context.config.tls or context.config.websocket:
        return HandshakeProbe
    return StreamProbe if context.transport == "tcp" else Probe


def _why(failure: OSError) -> str:
    return "timed out" if isinstance(failure, TimeoutError) else reason(failure)


def _window(addresses: int) -> int:
    """How many workers the descriptors allow, each with a socket for each address."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(WINDOW, (soft - SPARE) // addresses))
