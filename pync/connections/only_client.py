"""The only client of a listener by a `Behaviour`: within some time, from an address that is expected.

Theory: the first client that the access rules let in is the only one, whatever comes of it. So another one than is
expected ends the run, because nothing listens for the right one any more.

A module of its own, because in pync's own way the server waits for a client that is ready, for as long as it takes.
"""

from __future__ import annotations

import errno
import os

from pync.connections.incoming import accept
from pync.errors import ConnectError, TimedOut
from pync.events import Address, as_address
from pync.listener_events import AcceptedHere, Denied
from pync.net.bind import transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.behaviour import Behaviour
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.loop.tasks import Work
    from pync.net.access import Rules
    from pync.net.bind import Bound

    FirstSender = Callable[[Context, Bound, Callable[[Address], bool]], Work[Peer]]

NAMELESS = Address(host="")  # of a sender of unix datagrams that is bound to no path


class NoClient(TimedOut):
    """No client has connected in time."""


class Stranger(ConnectError):
    """Another client has connected than the one that was expected. Facts: `address`, its own; `local`, ours."""


async def only_client(
    context: Context, bound: Bound, rules: Rules, behaviour: Behaviour, sender: FirstSender | None
) -> Peer:
    """The first client that is admitted; of datagrams their `sender`.

    The listening socket is closed then, unless it is to stay. Raises NoClient, Stranger; ConnectError for a sender that
    needs a path and has none.
    """
    admit = Admission(context, rules, behaviour)
    waiting = sender(context, bound, admit) if sender else _accepted(context, bound, admit)
    try:
        client = await context.loop.within(behaviour.accept_timeout, waiting)
    except TimeoutError:
        raise NoClient("accept a client", f"none has come for {behaviour.accept_timeout:g} s") from None
    if not (sender or behaviour.keeps_listening):
        bound.close()
    peer, local = admit.admitted, as_address(client.sock.getsockname())
    if behaviour.expected and not _is(peer, *behaviour.expected):
        client.close()
        raise Stranger(f"client {peer}", "another one is expected", address=peer, local=local)
    context.report(AcceptedHere(peer=peer, transport=transport(context, peer), local=local))
    return client


class Admission:
    """Decides which client is the only one."""

    admitted = NAMELESS  # until there is one

    def __init__(self, context: Context, rules: Rules, behaviour: Behaviour) -> None:
        self.context = context
        self.rules = rules
        self.needs_path = behaviour.needs_sender_path and context.config.datagram

    def __call__(self, address: Address) -> bool:
        """Whether the access rules let the client in; if they do not, that is reported. Raises ConnectError."""
        if why := self.rules.denial_reason(address.host):
            self.context.report(Denied(peer=address, why=why))
            return False
        if self.needs_path and not address.host:
            raise ConnectError("answer a client", os.strerror(errno.EINVAL), code=errno.EINVAL)
        self.admitted = address
        return True


def _is(client: Address, host: str, port: int | None) -> bool:
    return client.host == host and port in (None, client.port)


async def _accepted(context: Context, bound: Bound, admit: Callable[[Address], bool]) -> Peer:
    """The first client of the listening sockets that `admit` allows. Others are closed."""
    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            if client := await accept(context, sock):
                if admit(client.address):
                    return client
                client.close()
