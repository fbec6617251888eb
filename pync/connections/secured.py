"""Clients under TLS: what has to be done between accepting one and serving it.

Theory: a handshake takes place in a task of its own and has a deadline, so that a client which says nothing holds up
nobody. Without `keep_open` the first is served whose handshake succeeds: a stranger never ends a listener.
"""

from __future__ import annotations

from pync.connections.incoming import accept, let_in
from pync.errors import PeerLost, TimedOut, TlsError
from pync.events import CertificateMade, SessionFailed
from pync.loop.tasks import Signal
from pync.tls.context import server_context
from pync.tls.handshake import HANDSHAKE, secure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.context import Run
    from pync.endpoints.streams import Stream
    from pync.loop.tasks import Task
    from pync.net.access import Rules
    from pync.net.bind import Bound

FAILURES = (PeerLost, TimedOut, TlsError)


def prepare(run: Run) -> None:
    """Read our key and certificate, or make them: once, while the files can be read. Raises TlsError."""
    assert run.config.tls is not None
    run.context, made = server_context(run.config.tls, run.config.host)
    if made:
        run.report(CertificateMade(fingerprint=made))


async def secured(run: Run, client: Stream) -> Stream:
    """The client under TLS. Raises TlsError, TimedOut, PeerLost; the connection is closed then."""
    assert run.context is not None
    return await secure(
        client, run.context, server_side=True, server_name=None, pin=None, limit=HANDSHAKE, report=run.report
    )


async def first_secured(run: Run, bound: Bound, allowed: Rules) -> Stream:
    """The first client that is let in and whose handshake succeeds; nobody else is listened to from then on."""
    ended = Signal()
    handshakes: list[Task] = []

    async def admit(sock: socket.socket) -> None:
        while True:
            await run.loop.readable(sock.fileno())
            client = await accept(run, sock)
            if client and let_in(run, allowed, client.peer):
                handshakes.append(run.loop.spawn(_attempt(run, client), ended))
            elif client:
                client.close()

    admitting = [run.loop.spawn(admit(sock)) for sock in bound.sockets]
    try:
        while not (won := _won(handshakes)):
            await run.loop.wait(ended)
        handshakes.remove(won)
    finally:
        await run.loop.dismiss(*admitting, *handshakes)
    bound.close()
    for late in handshakes:
        if late.value:
            late.value.close()
    return won.result()  # type: ignore[no-any-return]


async def _attempt(run: Run, client: Stream) -> Stream | None:
    try:
        return await secured(run, client)
    except FAILURES as error:
        run.report(SessionFailed(peer=client.peer, error=error))
        return None


def _won(handshakes: list[Task]) -> Task | None:
    handshakes[:] = [task for task in handshakes if not task.done or task.result()]
    return next((task for task in handshakes if task.done), None)
