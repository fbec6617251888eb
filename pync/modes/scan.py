"""Scanning: which ports are open, many at once, told in the order that was asked for.

Theory: a window of attempts runs at a time, so a host that drops everything costs the timeout once for each window,
not once for each port. What is found out of order waits for its turn to be told. UDP answers nothing when a port is
open; a port is closed when the host says so (ICMP), and taken for open when it stays silent.
"""

from __future__ import annotations

import resource
import socket

from pync.endpoints.datagrams import address
from pync.errors import ConnectError, reason
from pync.events import Connected, ConnectFailed, Outcome
from pync.modes.attempts import in_order, patiently
from pync.net.dial import attempt, own_names, transport, unix_name
from pync.net.resolve import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.events import Event
    from pync.loop import Loop
    from pync.modes.session import Run

WINDOW = 512  # attempts at a time, if there are descriptors for so many
SPARE = 32  # descriptors left for everything else
LIMIT = 5.0  # seconds for each port, unless asked otherwise: the system's own limit is minutes
UDP_SILENCE = 2.0  # seconds without a refusal after which a UDP port is taken for open
PROBE = b"\0"  # not an empty datagram: to several netcats that means the end


async def scan(run: Run) -> Outcome:
    """Try each port, report each in order; `opened` if any is open. With `retry`, until one is, or TimedOut."""
    if run.config.retry is None:
        return Outcome(opened=await _round(run))

    async def insist() -> None:
        if not await _round(run):
            raise ConnectError(f"connect to {run.config.host}", "no port was open")

    await patiently(run, insist)
    return Outcome(opened=True)


async def _round(run: Run) -> bool:
    """Every port once, through the window; whether any is open."""
    ports: tuple[int | None, ...] = in_order(run) or (None,)
    found = await _addresses(run)
    own = await own_names(run.loop, run.config)
    probes = iter([(number, port) for number, port in enumerate(ports)])
    finished: dict[int, list[Event]] = {}
    told = 0
    opened = False

    async def work() -> None:
        nonlocal told, opened
        for number, port in probes:
            finished[number] = await _probe(run, [(family, _name(name, port)) for family, name in found], own)
            while told in finished:
                for event in finished.pop(told):
                    opened = opened or isinstance(event, Connected)
                    run.report(event)
                told += 1

    await run.loop.together(*(work() for _ in range(min(len(ports), _window()))))
    return opened


async def _addresses(run: Run) -> list[tuple[int, Any]]:
    """Every address of the host, asked for once for all ports."""
    config = run.config
    if config.family == "unix":
        return [(socket.AF_UNIX, unix_name(config.host or ""))]
    return await resolve(run.loop, config.host, 0, config.family, datagram=config.datagram, numeric=config.numeric)


def _name(name: Any, port: int | None) -> Any:
    return name if port is None else (name[0], port, *name[2:])


def _window() -> int:
    """How many attempts the descriptors allow at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(WINDOW, soft - SPARE))


async def _probe(run: Run, names: list[tuple[int, Any]], own: Any) -> list[Event]:
    """What is to be told of one port: each address that failed, and the one that is open."""
    events: list[Event] = []
    kind, host = transport(run.config), run.config.host or ""
    for family, name in names:
        where = address(name)
        try:
            await _touch(run, family, name, own)
        except TimeoutError:
            events.append(ConnectFailed(host=host, address=where, transport=kind, why="timed out", timed_out=True))
        except OSError as error:
            events.append(ConnectFailed(host=host, address=where, transport=kind, why=reason(error)))
        else:
            return [*events, Connected(host=host, address=where, transport=kind)]
    return events


async def _touch(run: Run, family: int, name: Any, own: Any) -> None:
    """Connect and close. A datagram socket sends two probes and waits to be refused. Raises OSError."""
    limit = run.config.connect_timeout or LIMIT
    sock, _ = await run.loop.within(limit, attempt(run.loop, run.config, family, name, own))
    try:
        if run.config.datagram and family != socket.AF_UNIX:
            await _knock(run.loop, sock, min(limit, UDP_SILENCE) / 2)
    finally:
        run.loop.forget(sock.fileno())
        sock.close()


async def _knock(loop: Loop, sock: socket.socket, wait: float) -> None:
    for _ in range(2):
        sock.send(PROBE)
        if await loop.readable(sock.fileno(), loop.clock() + wait):
            sock.recv(1)  # an answer means open; a refusal is raised here
            return
