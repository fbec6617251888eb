"""Waiting for several places, `pync -z HOST:PORT …`: until all are open, one is (`--any`), or none is (`--closed`).

Theory: every place has a task of its own, so one that is silent holds up no other. The task asks until the place is as
wanted, with the pauses of --retry, and then the place is not asked again: a listener for one client could not answer a
second time. To ask is to scan one port, and the scan's own round is handed in.

An outcome is reported once: when a place is as wanted, or at the end. The error at the end names all places that are
not as wanted, each with its last reason.
"""

from __future__ import annotations

import resource

from pync.connections.outgoing import prepare
from pync.connections.retry import RETRIED, repeat
from pync.errors import ConnectError, TimedOut
from pync.events import Address, Outcome
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from pync.config import Config, Tls
    from pync.context import Context
    from pync.errors import PyncError
    from pync.events import Event
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work

    Ask = Callable[[Context], Work[PyncError | None]]  # ask one place: why it is not open, or None

MOST = 64  # places that are asked at a time
MOST_THROUGH_PROXY = 8  # the same through a proxy, which may not stand many
FOR_EACH = 8  # descriptors that one place may take: a socket for each of its addresses
WORDS = {"all": "not open", "any": "none is open", "none": "still open"}  # what has to be said of the places named


async def wait(context: Context, ask: Ask) -> Outcome:
    """Wait until the places are as wanted. Raises TimedOut after `retry` seconds, ConnectError without `retry`."""
    config, turns = context.config, Turns(context.loop, _room(context.config))
    contexts = _contexts(context)
    places = [Place(context, own, ask, turns) for own in contexts]
    try:
        await context.loop.within(config.retry, _settle(context, places))
    except TimeoutError:
        pass
    if (any if config.wanted == "any" else all)(place.settled for place in places):
        return Outcome(opened=True)
    missing = [place for place in places if not place.settled]
    for place in missing:
        place.report()
    why, what = ", ".join(map(str, missing)), WORDS[config.wanted]
    if config.retry is None:
        raise ConnectError(what, why)
    raise TimedOut(f"{what} after {config.retry:g} s", why)


async def _settle(context: Context, places: list[Place]) -> None:
    """Ask all places at the same time, until each is settled or, if one is enough, until one is."""
    loop, ended = context.loop, Condition()
    tasks = [loop.spawn(place.settle(), ended) for place in places]
    one_is_enough = context.config.wanted == "any"
    try:
        while not all(task.done for task in tasks):
            await loop.wait(ended)
            for task in tasks:
                if task.done:
                    task.result()
            if one_is_enough and any(place.settled for place in places):
                return
    finally:
        await loop.cancel_and_wait(*tasks)


class Turns:
    """Lets a number of tasks work at the same time; the others wait."""

    def __init__(self, loop: Loop, free: int) -> None:
        self._loop = loop
        self._free = free
        self._freed = Condition()

    async def __aenter__(self) -> None:
        while not self._free:
            await self._loop.wait(self._freed)
        self._free -= 1

    async def __aexit__(self, *_: object) -> None:
        self._free += 1
        self._freed.notify()


class Place:
    """One place, and what is known of it."""

    def __init__(self, run: Context, own: Context, ask: Ask, turns: Turns) -> None:
        """`run` is the context of all places, and `own` that of this place alone."""
        self.settled = False  # it is as wanted
        self._run, self._ask, self._turns = run, ask, turns
        self._new: list[Event] = []  # of the attempt that is under way
        self._events: list[Event] = []  # of the last attempt that came to its end
        self._failures: list[PyncError] = []  # the last one
        self._own = own.derive(own.config, lambda event: self._new.append(event))
        self._own.tls_context = own.tls_context

    def __str__(self) -> str:
        config = self._own.config
        name = str(Address(host=config.host or "", port=config.ports[0] if config.ports else None))
        if self._run.config.wanted == "none":
            return name
        return f"{name} ({self._failures[-1].why if self._failures else 'no answer'})"

    async def settle(self) -> None:
        """Ask until the place is as wanted, and report it then; without `retry`, ask once."""
        if self._run.config.retry is None:
            try:
                await self._attempt()
            except RETRIED as error:
                self._failures = [error]
                return
        else:
            await repeat(self._run, self._attempt, self._failures)
        self.settled = True
        self.report()

    def report(self) -> None:
        """Report what the last attempt has found."""
        for event in self._events:
            self._run.report(event)

    async def _attempt(self) -> None:
        """Ask once. Raises a failure in RETRIED if the place is not as wanted."""
        async with self._turns:
            self._new = []
            try:
                failure = await self._ask(self._own)
            except RETRIED as error:
                failure = error
            self._events = self._new
        if self._run.config.wanted == "none":
            failure = None if failure else ConnectError(str(self), "still open")
        if failure:
            raise failure


def _room(config: Config) -> int:
    """How many places are asked at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MOST_THROUGH_PROXY if config.proxy else MOST, soft // FOR_EACH - 2))


def _contexts(context: Context) -> list[Context]:
    """A context for each place. Places with the same TLS share what was read for it. Raises TlsError."""
    made: dict[Tls | None, SSLContext | None] = {None: None}
    contexts = []
    for config in context.config.places:
        own = context.derive(config)
        new = config.tls not in made or (config.proxy and config.proxy.tls and not own.proxy_tls_context)
        if new or config.websocket:
            prepare(own)
            made[config.tls] = own.tls_context
            context.proxy_tls_context = own.proxy_tls_context
        own.tls_context = made[config.tls]
        contexts.append(own)
    return contexts
