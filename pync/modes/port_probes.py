"""Probing: whether the ports of one address are open.

Theory: calling connect(2) a second time returns the state of the first call: refused, connected, or still under way. If
the answer is there already, as on this machine, that needs no wait. And Linux leaves a socket that was refused as good
as new, so one socket serves thousands of ports. Any other answer uses the socket up.

A port is open to TLS or WebSocket once a handshake on it has succeeded.

An open UDP port need not answer. A port is closed if the host refuses by ICMP, and is taken for open if it stays
silent.
"""

from __future__ import annotations

import errno
import os

from pync.errors import ConnectError, PeerLost, TimedOut, TlsError
from pync.net.attempt import attempt, new_socket, peer_name
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pync.context import Context

UDP_SILENCE = 2.0  # seconds without a refusal after which a UDP port is taken for open
PROBE = b"\0"  # not an empty datagram, which several netcats take for the end
UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)
CONNECTED = (0, errno.EISCONN)


def with_port(name: Any, port: int | None) -> Any:
    """A socket's address with another port; None leaves it as it is (unix)."""
    return name if port is None else (name[0], port, *name[2:])


class Probe:
    """Probes the ports of one address, with a new socket for each: UDP, SCTP, unix (the port is None)."""

    def __init__(self, context: Context, family: int, name: Any, own: Any) -> None:
        """`name` is the address as the system gives it, its port does not matter; `own` is what `own_names` gives."""
        self.context = context
        self.loop = context.loop
        self.config = context.config
        self.family = family
        self.name = name
        self.own = own

    @staticmethod
    def refusals(probes: Sequence[Any], ports: Sequence[int | None]) -> tuple[int, int]:
        """How many of the first ports all probes see refused at once, and how many of them the port after these."""
        return 0, 0

    def ask(self, port: int | None) -> int:
        """Begin to connect to a port, or look how that stands; an errno. Raises OSError, BindError, ConnectError."""
        return errno.EINPROGRESS

    async def answer(self, port: int | None, code: int, until: float) -> None:
        """Wait for the answer of a port, after `ask` returned `code`. Raises OSError if it is not open by `until`.

        To a UDP port two datagrams are sent, each with time to be refused. Raises BindError, ConnectError.
        """
        name = with_port(self.name, port)
        limit = max(0.0, until - self.loop.clock())
        sock, _ = await self.loop.within(limit, attempt(self.context, self.family, name, self.own))
        own_path = None
        if self.config.datagram:
            from pync.endpoints.datagrams import OwnPath

            own_path = OwnPath(sock)
        try:
            if self.config.datagram and self.family != socket.AF_UNIX:
                await self._knock(sock, min(limit, UDP_SILENCE) / 2)
        finally:
            self.loop.forget(sock.fileno())
            if own_path:
                own_path.remove()
            sock.close()

    async def _knock(self, sock: socket.socket, wait: float) -> None:
        for _ in range(2):
            sock.send(PROBE)
            if await self.loop.readable(sock.fileno(), self.loop.clock() + wait):
                sock.recv(1)  # an answer means open; a refusal is raised here
                return

    def close(self) -> None:
        """Close what is open."""


class HandshakeProbe(Probe):
    """Probes with a handshake of TLS, for which the certificate is verified as everywhere, or of WebSocket, or both."""

    async def answer(self, port: int | None, code: int, until: float) -> None:
        """Connect, and hold the handshakes. Raises OSError with the reason if they have not succeeded by `until`."""
        from pync.connections import connected
        from pync.connections.layers import with_layers

        name, clock = with_port(self.name, port), self.loop.clock
        connecting = attempt(self.context, self.family, name, self.own)
        sock, _ = await self.loop.within(max(0.0, until - clock()), connecting)
        peer = connected(self.context, sock, name)
        handshakes, kind = with_layers(self._quiet(), peer, port), "WebSocket" if self.config.websocket else "TLS"
        try:
            layered = await self.loop.within(max(0.0, until - clock()), handshakes)
            await layered.shutdown()
            layered.close()
        except (TlsError, ConnectError, PeerLost) as error:
            raise OSError(f"{'TLS' if isinstance(error, TlsError) else kind}: {error.why}") from None
        except (TimeoutError, TimedOut):
            raise OSError(f"{kind}: no answer to the handshake") from None
        finally:
            peer.close()  # the handshake may not even have begun

    def _quiet(self) -> Context:
        """The same run, in which a handshake reports nothing: a port has one line, in its turn."""
        quiet = self.context.derive(self.config, lambda event: None)
        quiet.tls_context = self.context.tls_context
        return quiet


class StreamProbe(Probe):
    """Probes TCP ports, with one socket for as long as they refuse it."""

    _sock: socket.socket | None = None

    @staticmethod
    def refusals(probes: Sequence[Any], ports: Sequence[int | None]) -> tuple[int, int]:
        """As in `Probe`. This never waits. A scan of a near host spends its time here."""
        try:
            lines = [(probe.socket().connect_ex, probe.name[0], probe.name[2:]) for probe in probes]
        except OSError:  # `ask` will raise it for the port
            return 0, 0
        under_way, refused = errno.EINPROGRESS, errno.ECONNREFUSED
        for count, port in enumerate(ports):
            for connect, host, rest in lines:
                name = (host, port, *rest)
                code = connect(name)
                if code == under_way:
                    code = connect(name)
                if code != refused:
                    return count, lines.index((connect, host, rest))
        return len(ports), 0

    def ask(self, port: int | None) -> int:
        """Connect twice: the first call begins, the second returns what has become of it."""
        sock, name = self.socket(), with_port(self.name, port)
        code = sock.connect_ex(name)
        return sock.connect_ex(name) if code == errno.EINPROGRESS else code

    async def answer(self, port: int | None, code: int, until: float) -> None:
        """Ask again each time the socket is writable."""
        sock = self.socket()
        while code in UNDER_WAY:
            code = self.ask(port) if await self.loop.writable(sock.fileno(), until) else errno.ETIMEDOUT
        usable = code == errno.ECONNREFUSED
        if code in CONNECTED and sock.getsockname() == peer_name(sock, None):
            code = errno.ECONNREFUSED  # there is no listener: the socket was connected to itself
        if not usable:
            self.close()
        if code not in CONNECTED:
            raise OSError(code, os.strerror(code))

    def socket(self) -> socket.socket:
        """The socket at hand, or a new one. Raises OSError, BindError, ConnectError."""
        if not self._sock:
            self._sock = new_socket(self.family, self.config)
            if self.own is not None:
                self._bind(self._sock)
        return self._sock

    def _bind(self, sock: Any) -> None:
        from pync.net.source import bind_own

        try:
            bind_own(sock, self.own, self.config, self.name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        if self._sock:
            self.loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
