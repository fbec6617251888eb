"""Listening: bind, drop privileges, then serve one client or, with `keep_open`, any number.

The order: look up the user to become, read the access rules and the certificate, bind (a unix path is created as that
user's), make the service with all that it opens, drop privileges, have SIGHUP read the files of the rules again,
announce the listener, serve. `preload.py` has imported before what sessions need later.
"""

from __future__ import annotations

import os

from pync.errors import AddressError, reason
from pync.events import Outcome, as_address
from pync.listener_events import Listening, OpenProgram, OpenProxy
from pync.net.access import load_rules
from pync.net.bind import bind, transport
from pync.net.resolve import unix_name
from pync.services.server import Server
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pync.config import Access, Config
    from pync.context import Context
    from pync.events import Address
    from pync.net.access import Rules
    from pync.net.bind import Bound
    from pync.net.privileges import Identity
    from pync.services import Service

    T = TypeVar("T")


async def listen(context: Context) -> Outcome:
    """Serve. Raises the PyncError of the step that fails, of the only session, or of what all sessions share."""
    config = context.config
    if config.keep_open or config.http:
        from pync.limits import raise_limit

        raise_limit()
    identity = await _identity(context, config.user)
    owner = await _path_owner(context) or identity
    allowed = await _loaded(context, config.access, lambda: _rules(config))
    _prepare_layers(context)
    bound = await bind(context, owner)
    try:
        targets = await _first_target_rules(context, bound)
        service = _with_logs(context, _service(context, targets))
        if identity:
            _become(identity, config)
        server = Server(context, bound, allowed, service)
        if files := _rule_files(config):
            _read_again(context, server, files, targets)
        return Outcome(child_status=await _serve(context, server))
    finally:
        bound.close()


async def _serve(context: Context, server: Server) -> int | None:
    await _announce(context, server.bound)
    _notify(b"READY=1")
    try:
        return await server.run()
    finally:
        _notify(b"STOPPING=1")


def _prepare_layers(context: Context) -> None:
    """Read the certificate, and find out whether WebSocket can be spoken. Raises PyncError."""
    if context.config.tls:
        from pync.connections.encryption import make_server_context

        make_server_context(context)
    if context.config.websocket:
        from pync.connections.websocket import require

        require()


async def _path_owner(context: Context) -> Identity | None:
    if not (text := context.config.path_owner):
        return None
    from pync.net.path_rights import owner_of_path

    identity = await _identity(context, text)
    return identity and owner_of_path(identity, text)


async def _identity(context: Context, user: str | None) -> Identity | None:
    """A user by name. It may be looked up in the network, which must not hold up the loop."""
    if user is None:
        return None
    from pync.loop.threads import in_thread
    from pync.net.privileges import lookup

    return await in_thread(context.loop, lambda: lookup(user))


async def _loaded(context: Context, access: Access, load: Callable[[], T]) -> T:
    """What `load` makes of the rules. Their names are looked up, and their files may be pipes: not in the loop."""
    if not (access.allow or access.deny or access.allow_files or access.deny_files):
        return load()
    from pync.loop.threads import in_thread

    return await in_thread(context.loop, load)


def _rules(config: Config) -> Rules:
    return load_rules(config.access, lambda name: _addresses(name, numeric=config.numeric))


def _target_rules(config: Config, bound: Bound) -> Rules | None:
    """The rules for the targets of a proxy's clients; None if we are no proxy."""
    if not config.serve_proxy:
        return None
    from pync.net.targets import target_rules
    from pync.services.proxy import is_of_this_machine

    return target_rules(
        config.serve_proxy.targets,
        lambda name: _addresses(name, numeric=config.numeric),
        for_other_machines=not all(map(is_of_this_machine, _addresses_of(bound))),
    )


async def _first_target_rules(context: Context, bound: Bound) -> Rules | None:
    config = context.config
    if not config.serve_proxy:
        return None
    return await _loaded(context, config.serve_proxy.targets, lambda: _target_rules(config, bound))


def _rule_files(config: Config) -> tuple[str, ...]:
    accesses = [config.access, *([config.serve_proxy.targets] if config.serve_proxy else [])]
    return tuple(path for access in accesses for path in (*access.allow_files, *access.deny_files))


def _read_again(context: Context, server: Server, files: tuple[str, ...], targets: Rules | None) -> None:
    """Have the rules be those of the files as they are at the latest SIGHUP."""
    from pync.net.access_again import read_again

    def load() -> tuple[Rules, Rules | None]:
        return _rules(context.config), _target_rules(context.config, server.bound)

    def use(rules: tuple[Rules, Rules | None]) -> None:
        server.rules = rules[0]
        if targets and rules[1]:
            targets.become(rules[1])

    context.loop.spawn(read_again(context, files, load, use))


def _addresses(name: str, *, numeric: bool) -> list[str]:
    """The addresses of a name in an access rule, looked up once, at the start. Raises AddressError."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST if numeric else 0)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"host {name}", reason(error) if isinstance(error, OSError) else str(error)) from None
    return [str(item[4][0]) for item in found]


def _service(context: Context, targets: Rules | None) -> Service:
    config = context.config
    if config.http:
        from pync.services.http_answer import HttpService

        return HttpService(context)
    if config.program:
        from pync.services.program import ProgramService

        return ProgramService(context, config.program)
    if config.hub:
        from pync.services.hub import HubService
        from pync.sessions.conversation import open_stdio

        return HubService(context, open_stdio(context).source)
    if config.target:
        from pync.services.forward import ForwardService

        return ForwardService(context)
    if targets:
        from pync.services.proxy import ProxyService

        return ProxyService(context, targets)
    if config.keep_open:
        return _shared_stdio(context)
    from pync.services.stdio import StdioService

    return StdioService(context)


def _shared_stdio(context: Context) -> Service:
    if (behaviour := context.config.behaviour) and behaviour.one_at_a_time:
        from pync.services.one_by_one import OneByOneService, ReceivingService

        return (ReceivingService if context.config.datagram else OneByOneService)(context)
    if context.config.datagram:
        from pync.services.crowd import CrowdService, needs_no_sessions

        if needs_no_sessions(context):
            return CrowdService(context)
    from pync.services.shared_stdio import SharedStdioService

    return SharedStdioService(context)


def _with_logs(context: Context, service: Service) -> Service:
    """The service, with logs for each client if these are asked for."""
    if not (context.logs and context.logs.descriptors):
        return service
    from pync.relay.client_logs import LogsByName
    from pync.services.logged import LoggedService

    assert isinstance(context.logs, LogsByName)
    return LoggedService(service, context.logs)


def _become(identity: Identity, config: Config) -> None:
    """Drop privileges. Raises PrivilegeError."""
    from pync.net.privileges import close_terminal_for_reading, drop, settle

    if config.program:
        close_terminal_for_reading()
    settle(identity)  # before: afterwards no module may be readable
    drop(identity)


def _addresses_of(bound: Bound) -> list[Address]:
    return [as_address(sock.getsockname()) for sock in (*bound.sockets, bound.client) if sock]


async def _announce(context: Context, bound: Bound) -> None:
    if bound.client:
        return
    addresses = _addresses_of(bound)
    if context.config.behaviour:
        from pync.net.names import named

        addresses = [await named(context, sock.getsockname()) for sock in bound.sockets]
    for where in addresses:
        context.report(Listening(address=where, transport=transport(context, where)))
        if context.config.serve_proxy:
            from pync.services.proxy import is_open

            if is_open(context.config, where):
                context.report(OpenProxy(address=where))
    if context.config.program:
        from pync.services.program import is_open as runs_for_all

        if reachable := [where for where in addresses if runs_for_all(context.config, where)]:
            context.report(OpenProgram(address=reachable[0]))  # once, and not for each family


def _notify(state: bytes) -> None:
    """Report our state to the service manager that waits for it (sd_notify(3)), if there is one."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:  # the clients have used up the descriptors
        return
    sock.setblocking(False)
    try:
        sock.sendto(state, unix_name(path))
    except OSError:  # a manager that is not there waits for nothing
        pass
    finally:
        sock.close()
