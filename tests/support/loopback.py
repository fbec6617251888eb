"""Sockets on loopback for the tests of `pync.net`: listeners, ports that do not answer, what `dial` and `bind` give."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from doubles import a_context
from harness import DEADLINE

import pync.net.attempt
from pync import system
from pync.config import Config
from pync.errors import PyncError, TimedOut
from pync.events import Connected, ConnectFailed
from pync.loop.kernel import Loop
from pync.net.bind import bind
from pync.net.dial import connect_goal, dial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from pync.events import Event
    from pync.net.bind import Bound

Names = dict[str, list[str]]  # the addresses of a name

ANY_FAMILY, FOUR, SIX = socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
LOCALHOST: dict[int, str] = {FOUR: "127.0.0.1", SIX: "::1"}
BOTH = pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])


@contextlib.contextmanager
def server(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """A listening socket."""
    family = SIX if ":" in host else FOUR
    with socket.create_server((host, port), family=family) as sock:
        sock.settimeout(DEADLINE)
        yield sock


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port where connecting is not answered: the backlog of its listener is full."""
    with (
        socket.create_server((host, port), family=SIX if ":" in host else FOUR, backlog=0) as sock,
        socket.create_connection(sock.getsockname()[:2]),
    ):
        yield port_of(sock)


@contextlib.contextmanager
def beside_a_black_hole(host: str, dark: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A listening socket whose port is a black hole on the host `dark`; another port, while one is taken there."""
    while True:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(server(host))
            try:
                stack.enter_context(black_hole(dark, port_of(listener)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            yield listener
            return


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets of IPv6 be refused as a kernel does that was built or booted without it."""
    real = system.socket.socket

    def refusing(family: int = -1, kind: int = -1, *rest: Any, **more: Any) -> socket.socket:
        if family == SIX:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, kind, *rest, **more)

    monkeypatch.setattr(pync.net.attempt, "socket", SimpleNamespace(**{**vars(system.socket), "socket": refusing}))


# -- Connecting ------------------------------------------------------------------------------------------------------


def peer(host: str = "127.0.0.1", port: int | None = None, **facts: Any) -> Config:
    return Config(mode="connect", host=host, ports=() if port is None else (port,), **facts)


class Dialled(NamedTuple):
    sock: socket.socket
    events: list[Event]


async def dialled(loop: Loop, config: Config) -> Dialled:
    """The socket that `dial` gives, and what it reported."""
    events: list[Event] = []
    context, port = a_context(loop, config, events.append), config.ports[0] if config.ports else None
    try:
        sock, _ = await loop.within(config.connect_timeout, dial(context, port))
    except TimeoutError:
        raise TimedOut(connect_goal(context, port), "timed out") from None
    loop.forget(sock.fileno())
    return Dialled(whole(sock), events)


async def failure(loop: Loop, config: Config) -> PyncError:
    """The error that `dial` raises."""
    with pytest.raises(PyncError) as caught:
        await dialled(loop, config)
    return caught.value


def whole(sock: socket.socket) -> socket.socket:
    """A socket as the standard module has it, with what that adds in Python (`pync/system.py`)."""
    return socket.socket(fileno=sock.detach())


def reported(events: list[Event]) -> list[tuple[type[Event], str]]:
    """The attempts that were reported, each with its address."""
    return [(type(event), event.address.host) for event in events if isinstance(event, (Connected, ConnectFailed))]


# -- Binding ---------------------------------------------------------------------------------------------------------


def listener(host: str | None = None, port: int = 0, **facts: Any) -> Config:
    return Config(mode="listen", host=host, ports=(port,), **facts)


@contextlib.asynccontextmanager
async def bound(loop: Loop, config: Config) -> AsyncIterator[Bound]:
    """The sockets of a listener, closed at the end."""
    here = await bind(a_context(loop, config))
    try:
        yield here
    finally:
        here.close()


def ends(here: Bound) -> list[tuple[str, int]]:
    """The addresses that a listener's sockets are bound to."""
    return [sock.getsockname()[:2] for sock in here.sockets]
