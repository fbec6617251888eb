"""Clients under TLS: what has to be done between accepting one and serving it.

Theory: a handshake takes place in a task of its own and has a deadline, so that a client which says nothing holds up
nobody. Without `keep_open` the first is served whose handshake succeeds: a stranger never ends a listener.
"""

from __future__ import annotations

from pync.connections.incoming import accept, admit
from pync.errors import PeerLost, TimedOut, TlsError
from pync.events import CertificateMade, SessionFailed
from pync.loop.tasks import Condition
from pync.tls.context import server_context
from pync.tls.handshake import HANDSHAKE, secure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.context import Context
    from pync.endpoints.streams import Stream
    from pync.loop.tasks import Task
    from pync.net.access import Rules
    from pync.net.bind import Bound

FAILURES = (PeerLost, TimedOut, TlsError)


def prepare(context: Context) -> None:
    """Read our key and certificate, or make them: once, while the files can be read. Raises TlsError."""
    assert context.config.tls is not None
    context.tls_context, made = server_context(context.config.tls, context.config.host)
    if made:
        context.report(CertificateMade(fingerprint=made))


async def secured(context: Context, client: Stream) -> Stream:
    """The client under TLS. Raises TlsError, TimedOut, PeerLost; the connection is closed then."""
    assert context.tls_context is not None
    return await secure(
        client,
        context.tls_context,
        server_side=True,
        server_name=None,
        pin=None,
        limit=HANDSHAKE,
        report=context.report,
    )


async def first_secured(context: Context, bound: Bound, allowed: Rules) -> Stream:
    """The first client that is let in and whose handshake succeeds; nobody else is listened to from then on."""
    ended = Condition()
    handshakes: list[Task] = []

    async def accept_from(sock: socket.socket) -> None:
        while True:
            await context.loop.readable(sock.fileno())
            client = await accept(context, sock)
            if client and admit(context, allowed, client.address):
                handshakes.append(context.loop.spawn(_attempt(context, client), ended))
            elif client:
                client.close()

    admitting = [context.loop.spawn(accept_from(sock)) for sock in bound.sockets]
    try:
        while not (won := _won(handshakes)):
            await context.loop.wait(ended)
        handshakes.remove(won)
    finally:
        await context.loop.cancel_and_wait(*admitting, *handshakes)
    bound.close()
    for late in handshakes:
        if late.value:
            late.value.close()
    return won.result()  # type: ignore[no-any-return]


async def _attempt(context: Context, client: Stream) -> Stream | None:
    try:
        return await secured(context, client)
    except FAILURES as error:
        context.report(SessionFailed(peer=client.address, error=error))
        return None


def _won(handshakes: list[Task]) -> Task | None:
    handshakes[:] = [task for task in handshakes if not task.done or task.result()]
    return next((task for task in handshakes if task.done), None)
