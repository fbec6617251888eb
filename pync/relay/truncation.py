"""A connection that has ended without a proper end (a close_notify, a Close): whether anything can be missing.

A module of its own, because only such a connection needs it.
"""

from __future__ import annotations

from pync.endpoints.layered import LayeredStream
from pync.events import EndedImproperly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Peer
    from pync.relay.rules import Relay


def nothing_is_missing(relay: Relay, peer: Peer) -> bool:
    """Whether nothing that the peer sent can be missing, which is then reported.

    A peer that has never sent a byte, and has acknowledged all that it was sent to its end, had nothing to say. And the
    answer to a request of HTTP/1 may show that it is whole.
    """
    if relay.receiving.reads:
        # What is watched is the answer to the first read of stdin.
        whole = relay.answer is not None and relay.answer.complete and relay.sending.reads == 1
    else:
        whole = relay.sending.ended and not peer.unacknowledged()
    if whole:
        assert isinstance(peer, LayeredStream), "no other stream has an end of its own"
        relay.report(EndedImproperly(peer=peer.address, mark=peer.mark))
    return whole
