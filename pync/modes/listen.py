"""Listening: bind, drop privileges, then serve one client, or with `keep_open` any number (`keep_open.py`).

Theory: the access rules are asked before anything else is done about a client, and the listening sockets stay open
until one is let in: so a stranger never ends a listener. stdin and stdout are opened before privileges are dropped,
and stdin is read when a client is there. A stdin that is /dev/null has nothing to say, not even an end-of-file.
"""

from __future__ import annotations

import os

from pync.connections.incoming import accept, let_in
from pync.endpoints.stdio import STDIN, Stdout, is_null, is_terminal
from pync.errors import AddressError, BindError, reason
from pync.events import Listening, OpenProxy, Outcome, address
from pync.net.access import rules
from pync.net.bind import bind
from pync.net.dial import transport
from pync.sessions.conversation import Local, converse, read_stdin
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.context import Run
    from pync.endpoints.datagrams import DatagramSocket
    from pync.endpoints.streams import StreamSocket
    from pync.events import Address
    from pync.net.access import Rules
    from pync.net.bind import Bound
    from pync.net.privileges import Identity
    from pync.services.server import Service
    from pync.sessions.conversation import Far


async def listen(run: Run) -> Outcome:
    """Serve. Raises BindError, PrivilegeError, and what ends the one conversation."""
    identity = _identity(run.config.user)
    allowed = rules(run.config.access, lambda name: _addresses(name, numeric=run.config.numeric))
    if run.config.tls:
        from pync.connections.secured import prepare

        prepare(run)
    bound = await bind(run.loop, run.config)
    try:
        local = _local(run)
        service = _service(run, local)
        if identity or service:
            _load(run)
        if identity:
            _become(identity, bound)
        for sock in bound.sockets:
            _announce(run, address(sock.getsockname()))
        if service:
            from pync.services.server import Server

            await Server(run, bound.sockets, allowed, service).run()
            return Outcome()
        return await _one(run, await _first(run, bound, allowed), local)
    finally:
        bound.close()


def _announce(run: Run, where: Address) -> None:
    run.report(Listening(address=where, transport=transport(run.config)))
    if run.config.serve_proxy:
        from pync.services.proxy import is_open

        if is_open(run.config, where):
            run.report(OpenProxy(address=where))


def _service(run: Run, local: Local) -> Service | None:
    """What is done with each of many clients; None if there is to be only one."""
    config = run.config
    if config.http:
        from pync.services.http_answer import Answers

        return Answers(run, local)
    if not config.keep_open:
        return None
    if config.program:
        from pync.services.programs import Programs

        return Programs(run, config.program)
    if config.hub or config.target or config.serve_proxy:
        return _relaying(run, local)
    from pync.services.stdio import Conversations

    return Conversations(run, local)


def _relaying(run: Run, local: Local) -> Service:
    """What relays its clients to each other, or to somebody else."""
    if run.config.hub:
        from pync.services.hub import Hub

        return Hub(run, local.stdin)
    if run.config.target:
        from pync.services.forward import Forward

        return Forward(run)
    from pync.services.proxy import ProxyServer

    return ProxyServer(run)


def _identity(user: str | None) -> Identity | None:
    if user is None:
        return None
    from pync.net.privileges import lookup

    return lookup(user)


def _load(run: Run) -> None:
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

    if run.config.hub == "chat":
        from pync.stages import chat_lines  # noqa: F401
    if run.config.http:
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


def _local(run: Run) -> Local:
    speaks = run.config.send and not is_null(STDIN) and not run.config.program
    stdin = read_stdin(run) if speaks and not (run.config.target or run.config.serve_proxy) else None
    return Local(stdin, Stdout(run.loop), terminal=is_terminal(STDIN))


async def _one(run: Run, far: Far, local: Local) -> Outcome:
    if run.config.program:
        from pync.sessions.program import serve

        return Outcome(child_status=await serve(run, far, run.config.program))
    if run.config.target or run.config.serve_proxy:
        await _relaying(run, local).session(far)
        return Outcome()
    await converse(run, far, local, client=False)
    return Outcome()


async def _first(run: Run, bound: Bound, allowed: Rules) -> Far:
    if run.config.datagram:
        return await _first_peer(run, bound, allowed)
    if run.config.tls:
        from pync.connections.secured import first_secured

        return await first_secured(run, bound, allowed)
    return await _first_client(run, bound, allowed)


async def _first_client(run: Run, bound: Bound, allowed: Rules) -> StreamSocket:
    """The first client that is let in; nobody else is listened to from then on."""
    while True:
        await run.loop.first(*(run.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            client = await accept(run, sock)
            if client and let_in(run, allowed, client.peer):
                bound.close()
                return client
            if client:
                client.close()


async def _first_peer(run: Run, bound: Bound, allowed: Rules) -> DatagramSocket:
    """The sender of the first datagram that is let in; the socket is connected to it from then on."""
    from pync.endpoints.datagrams import DatagramSocket, receive

    while True:
        await run.loop.first(*(run.loop.readable(sock.fileno()) for sock in bound.sockets))
        for sock in bound.sockets:
            try:
                data, name = receive(sock)
            except OSError:  # nothing on this one
                continue
            if let_in(run, allowed, address(name)):
                _connect(sock, name)
                bound.keep(sock)
                return DatagramSocket(run.loop, sock, name, [data])


def _connect(sock: socket.socket, name: Any) -> None:
    if not name:
        return  # a unix sender without a name can be listened to, not answered
    try:
        sock.connect(name)
    except (ConnectionRefusedError, FileNotFoundError):
        return  # a unix sender that has left again: what it sent is still to be read
    except OSError as error:
        raise BindError(f"answer {address(name)}", reason(error)) from None
