"""Connections through a load balancer: the client that one is for, as the PROXY protocol names it, in both roles.

A module of its own, because a connection without that protocol does not import it.
"""

from __future__ import annotations

from pync.connections.layers import with_layers
from pync.connections.outgoing import open_connection
from pync.connections.proxy_client import hold
from pync.endpoints import write_all
from pync.endpoints.streams import StreamSocket
from pync.errors import ProtocolError, TimedOut
from pync.events import as_address
from pync.listener_events import ClientNamed
from pync.protocols.dialogue import REQUEST_LIMIT, Refused
from pync.protocols.proxy_header import header, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.context import Context
    from pync.endpoints import Peer
    from pync.protocols.proxy_header import Version


async def name_client(context: Context, balancer: Peer) -> bool:
    """Read the header on a balancer's connection, and let it have the client's address; False if it names no client.

    Raises ProtocolError, PeerLost, TimedOut (REQUEST_LIMIT).
    """
    goal = f"connection from {balancer.address}"
    try:
        client = await context.loop.within(REQUEST_LIMIT, hold(balancer, receive()))
    except TimeoutError:
        raise TimedOut(goal, f"no PROXY header came within {REQUEST_LIMIT:g} s") from None
    except Refused as refusal:
        raise ProtocolError(goal, str(refusal)) from None
    if client is None:
        return False
    context.report(ClientNamed(peer=balancer.address, client=client))
    assert isinstance(balancer, StreamSocket), "nothing lies over the connection yet"
    balancer.address = client
    return True


async def open_naming(context: Context, plain: Context, port: int | None, client: Peer, version: Version) -> Peer:
    """A connection for a client, which is named to the target first. `plain` is the context without its layers.

    Raises as `open_connection`.
    """
    peer = await open_connection(plain, port)
    try:
        await write_all(peer, header(version, client.address, as_address(client.sock.getsockname())))
    except BaseException:
        peer.close()
        raise
    return await with_layers(context, peer, port)
