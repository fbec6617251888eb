"""Listening: bind, drop privileges, then serve one client, or with `keep_open` any number (`keep_open.py`).

Theory: the access rules are asked before anything else is done about a client, and the listening sockets stay open
until one is let in: so a stranger never ends a listener. stdin and stdout are opened before privileges are dropped,
and stdin is read when a client is there. A stdin that is /dev/null has nothing to say, not even an end-of-file.
"""

from __future__ import annotations

import os

from pync.connections.incoming import accept, admit
from pync.endpoints.stdio import STDIN, Stdout, is_null, is_terminal
from pync.errors import AddressError, BindError, reason
from pync.events import Listening, OpenProxy, Outcome, as_address
from pync.net.access import rules
from pync.net.bind import bind
from pync.net.dial import transport
from pync.sessions.conversation import Stdio, converse, read_stdin
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.context import Context
    from pync.endpoints.datagrams import DatagramSocket
    from pync.endpoints.streams import StreamSocket
    from pync.events import Address
    from pync.net.access import Rules
    from pync.net.bind import Bound
    from pync.net.privileges import Identity
    from pync.services.server import Service
    from pync.sessions.conversation import Peer


async def listen(context: Context) -> Outcome:
    """Serve. Raises BindError, PrivilegeError, and what ends the one conversation."""
    identity = _identity(context.config.user)
    allowed = rules(context.config.access, lambda name: _addresses(name, numeric=context.config.numeric))
    if context.config.tls:
        from pync.connections.secured import prepare

        prepare(context)
    bound = await bind(context.loop, context.config)
    try:
        local = _local(context)
        service = _service(context, local)
        if identity or service:
            _load(context)
        if identity:
            _become(identity, bound)
        for sock in bound.sockets:
            _announce(context, as_address(sock.getsockname()))
        if service:
            from pync.services.server import Server

            await Server(context, bound.sockets, allowed, service).run()
            return Outcome()
        return await _one(context, await _first(context, bound, allowed), local)
    finally:
        bound.close()


def _announce(context: Context, where: Address) -> None:
    context.report(Listening(address=where, transport=transport(context.config)))
    if context.config.serve_proxy:
        from pync.services.proxy import is_open

        if is_open(context.config, where):
            context.report(OpenProxy(address=where))


def _service(context: Context, local: Stdio) -> Service | None:
    """What is done with each of many clients; None if there is to be only one."""
    config = context.config
    if config.http:
        from pync.services.http_answer import HttpService

        return HttpService(context, local)
    if not config.keep_open:
        return None
    if config.program:
        from pync.services.programs import ProgramService

        return ProgramService(context, config.program)
    if config.hub or config.target or config.serve_proxy:
        return _relaying(context, local)
    from pync.services.stdio import StdioService

    return StdioService(context, local)


def _relaying(context: Context, local: Stdio) -> Service:
    """What relays its clients to each other, or to somebody else."""
    if context.config.hub:
        from pync.services.hub import HubService

        return HubService(context, local.stdin)
    if context.config.target:
        from pync.services.forward import ForwardService

        return ForwardService(context)
    from pync.services.proxy import ProxyService

    return ProxyService(context)


def _identity(user: str | None) -> Identity | None:
    if user is None:
        return None
    from pync.net.privileges import lookup

    return lookup(user)


def _load(context: Context) -> None:
    """Import what would be imported later: then its files may be out of reach, or no descriptor left to read them."""
    import fcntl  # noqa: F401
    import termios  # noqa: F401
    import tty  # noqa: F401

    from pync.endpoints import (
        pacing,  # noqa: F401
        wrappers,  # noqa: F401
    )
    from pync.sessions import program  # noqa: F401
    from pync.stages import crlf, telnet  # noqa: F401

    if context.config.hub == "chat":
        from pync.stages import chat_lines  # noqa: F401
    if context.config.http:
        from pync.services.http_answer import prepare

        prepare()


def _become(identity: Identity, bound: Bound) -> None:
    """Drop privileges."""
    from pync.net.privileges import drop

    if bound.path:
        os.chown(bound.path, identity.uid, identity.gid)
    drop(identity)


def _addresses(name: str, *, numeric: bool) -> list[str]:
    """The addresses of a name in an access rule: asked for once, at the start. Raises AddressError."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST if numeric else 0)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"host {name}", reason(error) if isinstance(error, OSError) else str(error)) from None
    return [str(item[4][0]) for item in found]


def _local(context: Context) -> Stdio:
    speaks = context.config.send and not is_null(STDIN) and not context.config.program
    stdin = read_stdin(context) if speaks and not (context.config.target or context.config.serve_proxy) else None
    return Stdio(stdin, Stdout(context.loop), terminal=is_terminal(STDIN))


async def _one(context: Context, far: Peer, local: Stdio) -> Outcome:
    if context.config.program:
        from pync.sessions.program import serve

        return Outcome(child_status=await serve(context, far, context.config.program))
    if context.config.target or context.config.serve_proxy:
        await _relaying(context, local).session(far)
        return Outcome()
    await converse(context, far, local, client=False)
    return Outcome()


async def _first(context: Context, bound: Bound, allowed: Rules) -> Peer:
    if context.config.datagram:
        return await _first_peer(context, bound, allowed)
    if context.config.tls:
        from pync.connections.secured import first_secured

        return await first_secured(context, bound, allowed)
    return await _first_client(context, bound, allowed)


async def _first_client(context: Context, bound: Bound, allowed: Rules) -> StreamSocket:
    """The first client that is let in; nobody else is listened to from then on."""
    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            client = await accept(context, sock)
            if client and admit(context, allowed, client.address):
                bound.close()
                return client
            if client:
                client.close()


async def _first_peer(context: Context, bound: Bound, allowed: Rules) -> DatagramSocket:
    """The sender of the first datagram that is let in; the socket is connected to it from then on."""
    from pync.endpoints.datagrams import DatagramSocket, receive

    while True:
        await context.loop.first(*(context.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            try:
                data, name = receive(sock)
            except OSError:  # nothing on this one
                continue
            if admit(context, allowed, as_address(name)):
                _connect(sock, name)
                bound.keep(sock)
                return DatagramSocket(context.loop, sock, name, [data])


def _connect(sock: socket.socket, name: Any) -> None:
    if not name:
        return  # a unix sender without a name can be listened to, not answered
    try:
        sock.connect(name)
    except (ConnectionRefusedError, FileNotFoundError):
        return  # a unix sender that has left again: what it sent is still to be read
    except OSError as error:
        raise BindError(f"answer {as_address(name)}", reason(error)) from None
