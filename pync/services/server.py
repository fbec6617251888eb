"""The server of a listener: it accepts clients, and serves one or many at a time, each in a session of its own.

The way of a client: accepted → access rules and limit → encrypted → ready → session → closed and counted. Without
`keep_open` the first client that is ready closes the listener, and its session is the run. So a client that is
denied, fails its handshake, or does not send the request that the service waits for never ends a listener.

Theory: a session that fails is reported, and ends alone (`wall.py`). A failure of what all sessions share (stdout,
stdin, a log) ends the server. Clients are accepted in batches, and only as many at a time as there are descriptors for,
with all that their sessions hold: the others wait in the backlog. The service decides what is done with a client.
"""

from __future__ import annotations

import errno
import os

from pync.connections.incoming import PAUSE, accept
from pync.endpoints.streams import StreamSocket
from pync.errors import ConnectError, PyncError
from pync.events import Address, as_address
from pync.listener_events import Accepted, AcceptingPauses, Denied
from pync.loop.tasks import Condition
from pync.net.bind import transport
from pync.sessions.wall import SHARED, Wall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.connections.only_client import FirstSender
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.limits import Memory
    from pync.loop.tasks import Task
    from pync.net.access import Rules
    from pync.net.bind import Bound
    from pync.services import Service

ACCEPT_BATCH = 64  # clients accepted before the other tasks have their turn
UNLIMITED = 1 << 30
REPORTED = 60.0  # seconds in which a lack of descriptors or memory is reported once
LOOK = 1.0  # seconds between two looks whether they are there again


class Server:
    """The clients of one listener."""

    def __init__(self, context: Context, bound: Bound, rules: Rules, service: Service) -> None:
        self.context = context
        self.loop = context.loop
        self.config = context.config
        self.bound = bound
        self.rules = rules
        self.service = service
        # A listener for one client has one session, and clients that are not ready yet do not count.
        several = self.config.keep_open or self.config.http
        # Of datagrams there is no client to be turned away: see `datagram_clients.py`.
        self.limit = self.config.max_conns if several and not self.config.datagram else None
        self.wall = Wall(context.report)
        self.sessions = 0
        if several:
            self._count_clients()
        self.accepting: list[Task] = []
        self.candidates: dict[Task, None] = {}  # the tasks of clients that may become the only one
        self.only: Peer | None = None
        self.changed = Condition()  # notified when one of these tasks has ended, or the only client is there
        if self.config.keep_open:
            self._open_watches()
        # Whether a client is ready once it is accepted.
        waits = self.config.accept_proxy or self.config.tls or self.config.websocket
        self.at_once = service.ready_at_once and not waits
        self.room = UNLIMITED  # sessions at a time
        self.memory: Memory | None = None  # None: one client has enough
        # A listener for one client that is ready at once has never more than that.
        if several or not self.at_once:
            self._measure_room()
        self.full_since: float | None = None  # when a lack of room was reported last

    async def run(self) -> int | None:
        """Serve many clients until the service ends, or one until its session ends; the exit status of its program."""
        if self.config.keep_open:
            self._accept_all()
            await self.service.run()
            await self.loop.cancel_and_wait(*self.accepting)  # whose sockets are closed next
            return None
        status: int | None = await self.loop.first(self._serve_one(), self.service.run())
        return status

    def _open_watches(self) -> None:
        """Open what watches for all clients now, before they use up the descriptors."""
        from pync.loop.hangups import Hangups

        self.loop.shared(Hangups).open()
        if self.config.program:
            from pync.endpoints.children import Children

            self.loop.shared(Children)
        if self.config.target or self.config.serve_proxy:
            from pync.loop.threads import Threads

            self.loop.shared(Threads).open()

    def _count_clients(self) -> None:
        """Have the line of progress know how many clients there are."""
        from pync.relay.session_end import Totals

        crowd = self.service.crowd
        self.loop.shared(Totals).clients = lambda: len(crowd.peers) if crowd else self.sessions

    def _measure_room(self) -> None:
        """Find out how many sessions there may be. Pipes that make a relay faster may take a quarter of descriptors."""
        if (behaviour := self.config.behaviour) and behaviour.one_at_a_time:
            self.room = 1
            return
        from pync.limits import Memory, free_descriptors

        self.memory = Memory()
        count = free_descriptors()
        if self.config.target or self.config.serve_proxy:
            from pync.relay.spare_pipes import SparePipes

            pipes = self.loop.shared(SparePipes).left = count // 8
            count -= 2 * pipes
        self.room = max(1, count // (1 + self.service.descriptors))

    # -- Many clients

    def _accept_all(self) -> None:
        if self.config.datagram:
            from pync.services.datagram_clients import DatagramClients

            works = DatagramClients(self).works()
        else:
            works = [self._accept(sock) for sock in self.bound.sockets]
        self.accepting = [self.loop.spawn(work) for work in works]

    async def _accept(self, sock: socket.socket) -> None:
        while not self.only:
            await self.loop.readable(sock.fileno())
            try:
                for _ in range(ACCEPT_BATCH):
                    await self._has_room()
                    # Another listening socket may have brought the only client in this same turn of the loop.
                    client = None if self.only else await accept(self.context, sock)
                    if client is None:
                        break
                    self._receive(client)
            except Exception as error:
                self.wall.report(Address(host="", port=None), error)
                await self.loop.sleep(PAUSE)  # the same error may meet the next attempt, too

    async def _has_room(self) -> None:
        """Wait until there is room for one more session."""
        while why := self._lacks():
            now = self.loop.clock()
            if self.memory and (self.full_since is None or now > self.full_since + REPORTED):
                self.full_since = now
                self.context.report(AcceptingPauses(why=why))
            await self.loop.wait(self.changed, now + LOOK)

    def _lacks(self) -> str:
        """What is not there for one more session; "" if it has all that it needs."""
        if self.sessions >= self.room:
            return os.strerror(errno.EMFILE)
        return "" if self.memory is None or self.memory.has_room(self.sessions) else os.strerror(errno.ENOMEM)

    def _receive(self, client: Peer) -> None:
        """Begin the session of a client that was accepted, or turn it away."""
        if not self.admit(client.address):
            client.close()
        elif self.config.keep_open:
            self.loop.spawn(self.serve(client))
        elif self.at_once:
            self._choose(client)
        else:
            self.candidates[self.loop.spawn(self.serve(client), self.changed)] = None

    def admit(self, address: Address) -> bool:
        """Whether the limit and the access rules let this client in, and count it; the decision is reported."""
        if self.limit is not None and self.sessions >= self.limit:
            why: str | None = f"connection limit reached ({self.limit})"
        else:
            why = self.rules.denial_reason(address.host)
        if why:
            self.context.report(Denied(peer=address, why=why))
            return False
        self.context.report(Accepted(peer=address, transport=transport(self.context, address)))
        self.sessions += 1
        return True

    async def serve(self, client: Peer) -> None:
        """Take a client from its admission to the end of its session; without `keep_open`, until it is ready."""
        try:
            await self._serve(client)
        except SHARED:
            raise
        except Exception as error:
            if self.service.used_up or self.bound.client:
                raise
            self.wall.report(client.address, error)
        finally:
            self.sessions -= 1
            self.changed.notify()

    async def _serve(self, client: Peer) -> None:
        try:
            if self.config.accept_proxy and not await self._is_welcome(client):
                return
            if self.config.tls:
                from pync.connections.encryption import encrypt_to_client

                client = await encrypt_to_client(self.context, client)
            if self.config.websocket:
                from pync.connections.websocket import open_to_client

                client = await open_to_client(self.context, client)
            if not await self.service.ready(client):
                return
            if self.config.keep_open:
                await self.service.session(client)
            elif not self.only:
                self._choose(client)
        except PyncError:
            raise
        except Exception:  # an end-of-file would look as if nothing was missing
            client.abort()
            raise
        finally:
            if client is not self.only:
                client.close()

    async def _is_welcome(self, balancer: Peer) -> bool:
        """Whether the client that a load balancer has named is not denied: the list of allowed hosts has balancers."""
        from pync.connections.through_balancer import name_client

        if await name_client(self.context, balancer) and self.rules.denies(balancer.address.host):
            self.context.report(Denied(peer=balancer.address, why="not allowed"))
            return False
        return True

    # -- One client

    async def _serve_one(self) -> int | None:
        config, sender = self.config, self._sender() if self.config.datagram else None
        if config.behaviour and self.at_once:
            from pync.connections.only_client import only_client

            self.only = await only_client(self.context, self.bound, self.rules, config.behaviour, sender)
        elif sender:
            self.only = await sender(self.context, self.bound, self.admit)
        else:
            await self._first_ready()
        assert self.only is not None
        return await self.service.session(self.only)

    def _sender(self) -> FirstSender:
        """What waits for the first sender of datagrams."""
        if self.config.program and self.config.program.keeps_datagrams:
            from pync.connections.peeked_sender import peeked_sender

            return peeked_sender
        from pync.connections.first_sender import first_sender

        return first_sender

    async def _first_ready(self) -> None:
        """Accept clients until one is ready, then close the listener, and the clients that are not ready."""
        self._accept_all()
        if passed := self.bound.client:
            await self.loop.sleep(0)  # as after an accept, the service has begun to run
            self._receive(StreamSocket(self.loop, passed, as_address(passed.getpeername())))
        while self.only is None:
            if passed and not self.candidates:
                raise ConnectError("the only connection", "it has got no session")
            await self.loop.wait(self.changed)
            for task in [task for task in self.candidates if task.done]:
                del self.candidates[task]
                task.result()
        await self.loop.cancel_and_wait(*self.accepting, *self.candidates)

    def _choose(self, client: Peer) -> None:
        """Serve this client, and close the listener at once: no other client may be accepted from now on."""
        self.only = client
        self.bound.close()
        self.changed.notify()
