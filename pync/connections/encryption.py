"""TLS over connections, in both roles: the contexts, which are made once, and the handshake on each connection.

A module of its own, because a connection without TLS does not import it.
"""

from __future__ import annotations

import os
import stat

from pync.listener_events import CertificateMade, KeyExposed
from pync.tls.context import client_context, server_context
from pync.tls.handshake import HANDSHAKE_LIMIT, secure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from pync.config import Tls
    from pync.context import Context
    from pync.endpoints import Peer


def make_client_contexts(context: Context) -> None:
    """Make the TLS contexts for the host and the proxy, from files that may be out of reach later. Raises TlsError."""
    proxy, tls = context.config.proxy, context.config.tls
    if proxy and proxy.tls:
        context.proxy_tls_context = client_context(proxy.tls)
    if tls:
        context.tls_context = client_context(tls)
        _report_exposed_key(context, tls)


def make_server_context(context: Context) -> None:
    """Make the TLS context for our clients, with our certificate or a new one. Raises TlsError."""
    tls = context.config.tls
    assert tls is not None
    context.tls_context, fingerprint = server_context(tls, context.config.host)
    if fingerprint:
        context.report(CertificateMade(fingerprint=fingerprint))
    _report_exposed_key(context, tls)


def _report_exposed_key(context: Context, tls: Tls) -> None:
    """Report a key in a file that other users can read.

    The group of a file of root's is how a service is given its key (ssl-cert on Debian), and is no exposure.
    """
    path = tls.key or tls.certificate
    if path is None:
        return
    try:
        status = os.stat(path)
    except OSError:  # it was there when it was read
        return
    others = stat.S_IROTH if status.st_uid == 0 else stat.S_IROTH | stat.S_IRGRP
    if stat.S_ISREG(status.st_mode) and status.st_mode & others:
        context.report(KeyExposed(path=path))


async def encrypt_to_server(context: Context, peer: Peer) -> Peer:
    """TLS over a connection to the config's host. Raises TlsError, PeerLost, TimedOut; the peer is closed then."""
    tls = context.config.tls
    assert tls is not None
    name = tls.server_name or (context.config.host if context.config.family != "unix" else None)
    return await _as_client(context, peer, context.tls_context, name, tls.pin)


async def encrypt_to_proxy(context: Context, peer: Peer, name: str) -> Peer:
    """TLS over a connection to the proxy of that name. Raises as `encrypt_to_server`."""
    return await _as_client(context, peer, context.proxy_tls_context, name, None)


async def _as_client(
    context: Context, peer: Peer, tls_context: SSLContext | None, name: str | None, pin: bytes | None
) -> Peer:
    assert tls_context is not None, "prepare() comes first"
    limit = context.config.connect_timeout or HANDSHAKE_LIMIT
    return await secure(
        peer, tls_context, server_side=False, server_name=name, pin=pin, limit=limit, report=context.report
    )


async def encrypt_to_client(context: Context, client: Peer) -> Peer:
    """TLS over a client's connection. Raises TlsError, PeerLost, TimedOut (HANDSHAKE_LIMIT); it is closed then."""
    tls_context, limit = context.tls_context, HANDSHAKE_LIMIT
    assert tls_context is not None
    return await secure(
        client, tls_context, server_side=True, server_name=None, pin=None, limit=limit, report=context.report
    )
