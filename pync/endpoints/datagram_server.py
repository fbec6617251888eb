"""Datagram sockets that serve many peers: each peer address becomes an endpoint of its own.

Theory: a `DatagramServer` receives for all peers and sorts what arrives by its sender, and by the address of ours that
the sender has asked, into one mailbox for each `DatagramPeer`. If nothing distinguishes the peers but the address that
is answered, they are a `Crowd`, and share one mailbox. A datagram costs the same however many peers there are.

An address of a sender can be forged, so everything is bounded for all peers together: the bytes that wait, the number
of peers, and the time without traffic. Where there is no room for one more peer, the one goes that has sent nothing
for longest.
"""

from __future__ import annotations

from collections import OrderedDict

from pync.endpoints import Peer
from pync.endpoints.asked_address import AskedReceiver, send_from
from pync.endpoints.mailbox import Mailbox, cost
from pync.endpoints.segments import BATCH, Joined, cut
from pync.errors import PeerLost, reason
from pync.events import Address, as_address
from pync.listener_events import Denied
from pync.loop.tasks import Condition
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.endpoints import Bytes, Source
    from pync.events import Report
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

    Key = tuple[socket.socket, Any, bytes]  # the socket, the sender's name, and the source of answers

PEER_BYTES = 1 << 20  # bytes that may wait for one peer's session
ALL_BYTES = 1 << 25  # bytes that may wait in all mailboxes together; then each peer has an equal share of them
PEERS = 16384  # peers at a time, at most
STEPS = 8  # checks within the time after which silent peers go
UNIX_RETRY = 0.002  # seconds between two attempts to send to a unix peer whose queue is full


class DatagramPeer(Peer):
    """One peer of a socket that serves many. Its mailbox is bounded, and what does not fit is dropped, as by UDP."""

    __slots__ = ("address", "box", "closed", "key", "loop", "server", "session", "sock", "traffic")

    def __init__(self, server: DatagramServer, key: Key) -> None:
        self.server = server
        self.loop = server.loop
        self.key = key
        self.sock = key[0]
        self.address = as_address(key[1])
        self.box = server.crowd.box if server.crowd else Mailbox(server.loop)
        self.traffic = 0.0  # when the last datagram came or went
        self.session: Task | None = None  # a session that does not end by itself when its peer is closed
        self.closed = False

    async def read(self) -> bytes | None:
        """One datagram of the peer's; None once the session is closed, perhaps to make room for another."""
        if not await self.box.wait():
            return None
        data = self.box.take()
        self.server.forget(self, cost(data, len(data)))
        return data

    async def read_all(self) -> bytes | None:
        """All datagrams that wait, joined; None once the session is closed."""
        if not await self.box.wait():
            return None
        self.server.forget(self, self.box.size)
        return self.box.take_all()

    def as_stream(self) -> Source:
        """A source of which each read gives all datagrams that wait, joined."""
        return Joined(self)

    async def write(self, data: Bytes) -> int:
        """Send one datagram to the peer, from the address that it has asked. Raises PeerLost."""
        sock, name, source = self.key
        if not name:
            raise PeerLost(f"datagrams to {self.address}", "it cannot be answered")
        self.traffic = self.loop.clock()
        while True:
            try:
                return send_from(sock, source, data, name) if source else sock.sendto(data, name)
            except BlockingIOError:
                await self.server.room(sock)
            except OSError as error:
                raise PeerLost(f"datagrams to {self.address}", reason(error)) from None

    async def wait_closed(self) -> None:
        """Wait until the session is closed, perhaps to make room for another."""
        while not self.closed:
            await self.loop.wait(self.box.arrived)

    def close(self) -> None:
        """End the session. The next datagram of this peer begins a new one."""
        if self.closed:  # closing twice must not end that new session
            return
        self.server.sessions.pop(self.key, None)
        if not self.server.crowd:
            self.server.forget(self, self.box.size)
            self.box.closed = True
        self.closed = True
        self.box.arrived.notify()

    def dismiss(self) -> None:
        """End the session from outside: to make room, or because it was silent for too long."""
        self.close()
        if self.session:
            self.session.cancel()


class DatagramServer:
    """Sorts the datagrams of one or more bound sockets into sessions, one for each peer."""

    def __init__(
        self,
        loop: Loop,
        report: Report,
        welcome: Callable[[DatagramPeer], bool],
        failed: Callable[[Address, Exception], None],
        most: int | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        """`welcome` is called for each new peer: it starts a session, or refuses the peer and returns False.

        `failed` is called with what goes wrong with a datagram of a peer. `most`: peers at a time.
        """
        self.loop = loop
        self.report = report
        self.welcome = welcome
        self.failed = failed
        self.most = most or PEERS
        self.crowd = crowd
        self.sessions: OrderedDict[Key, DatagramPeer] = crowd.peers if crowd else OrderedDict()
        self.waiting = 0  # bytes in the mailboxes of all peers, if each has its own
        self._room: dict[socket.socket, Condition] = {}

    async def receive(self, sock: socket.socket) -> None:
        """Receive from one of the sockets for ever, and give each datagram to its session."""
        receiver = AskedReceiver(sock)
        while True:
            await self.loop.readable(sock.fileno())
            now = self.loop.clock()
            for _ in range(BATCH):
                try:
                    piece, size, name, source = receiver.receive_asked()
                except BlockingIOError:
                    break
                except OSError:
                    continue  # the host of one of the peers has answered a datagram of ours with an error
                try:
                    self._sort((sock, name, source), piece, size, now)
                except Exception as error:  # what goes wrong with one peer is not for the others to bear
                    self.failed(as_address(name), error)

    def _sort(self, key: Key, piece: bytes, size: int, now: float) -> None:
        peer = self.sessions.get(key) or self._new_peer(key)
        if peer is None:
            return
        self.sessions.move_to_end(key)
        peer.traffic = now
        if self._put(peer, piece, size):
            return
        for data in cut(piece, size):
            if not self._put(peer, data, len(data)):
                self.report(Denied(peer=peer.address, why="its queue is full, a datagram was dropped"))

    def _new_peer(self, key: Key) -> DatagramPeer | None:
        peer = DatagramPeer(self, key)
        if not self.welcome(peer):
            return None
        self.sessions[key] = peer
        if len(self.sessions) > self.most:
            oldest = next(iter(self.sessions.values()))
            oldest.dismiss()
            self.report(Denied(peer=oldest.address, why=f"it was silent for longest, and {self.most} is the limit"))
        if self.crowd:
            self.crowd.joined.notify()
        return peer

    def _put(self, peer: DatagramPeer, piece: bytes, size: int) -> bool:
        """Put a piece into its peer's box; False if there is no room for it.

        Once all boxes together are full, none gets more than its share: so peers whose sessions read nothing cannot
        take the room of the others.
        """
        added = cost(piece, size)
        after = peer.box.size + added
        if self.crowd:
            room = after <= ALL_BYTES
        else:
            shared = self.waiting + added <= ALL_BYTES or after <= ALL_BYTES // len(self.sessions)
            room = after <= PEER_BYTES and shared
            self.waiting += added * room
        if room:
            peer.box.put(piece, size, added)
        return room

    def forget(self, peer: DatagramPeer, size: int) -> None:
        """Take note that `size` bytes wait no longer. Those of a closed peer are forgotten already."""
        if not peer.closed:
            self.waiting -= size

    async def dismiss_silent(self, limit: float, dismissed: Callable[[DatagramPeer], None]) -> None:
        """Dismiss peers after `limit` seconds without traffic, or up to an eighth more. `dismissed` gets each."""
        while True:
            await self.loop.sleep(limit / STEPS)
            latest = self.loop.clock() - limit
            for peer in [peer for peer in self.sessions.values() if peer.traffic <= latest]:
                peer.dismiss()
                dismissed(peer)

    async def room(self, sock: socket.socket) -> None:
        """Wait until the socket takes a datagram again. One task waits for all the sessions on it."""
        if sock in self._room:
            await self.loop.wait(self._room[sock])
            return
        self._room[sock] = Condition()
        try:
            await self.loop.writable(sock.fileno())
            # Of a unix socket the peer's queue is what is full, and the system does not report when that has room.
            if sock.family == socket.AF_UNIX:
                await self.loop.sleep(UNIX_RETRY)
        finally:
            self._room.pop(sock).notify()


class Crowd(Peer):
    """All the peers of a server as one: what any of them sends is read, and what is written goes to each of them."""

    def __init__(self, loop: Loop, failed: Callable[[DatagramPeer, PeerLost], None]) -> None:
        """`failed` is called for each peer that cannot be sent to, and is closed then."""
        self.loop = loop
        self.failed_peer = failed
        self.address = Address(host="all peers")
        self.box = Mailbox(loop)
        self.peers: OrderedDict[Key, DatagramPeer] = OrderedDict()
        self.joined = Condition()  # notified when there is a new peer

    async def read(self) -> bytes | None:
        """One datagram of any peer."""
        await self.box.wait()
        return self.box.take()

    async def read_all(self) -> bytes | None:
        """All datagrams that wait, joined."""
        await self.box.wait()
        return self.box.take_all()

    def as_stream(self) -> Source:
        """A source of which each read gives all datagrams that wait, joined."""
        return Joined(self)

    async def write(self, data: Bytes) -> int:
        """Send one datagram to each peer."""
        for peer in [*self.peers.values()]:
            try:
                await peer.write(data)
            except PeerLost as error:
                peer.close()
                self.failed_peer(peer, error)
        return len(data)

    def close(self) -> None:
        """Nothing: the server owns its peers."""
