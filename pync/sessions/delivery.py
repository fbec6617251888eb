"""The end of a session that only sends: it waits until its peer has taken everything.

A module of its own, because other sessions have the peer's end to wait for.
"""

from __future__ import annotations

from pync.endpoints import LINGER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Peer


async def deliver(peer: Peer, idle_limit: float | None) -> None:
    """Half-close, and wait until the peer has taken all that it was sent.

    Raises PeerLost, and TimedOut after `idle_limit` seconds in which the peer has taken nothing.
    """
    step = min(LINGER, idle_limit or LINGER)
    left, silent = 0, 0.0
    while not await peer.linger(step) and (unsent := peer.unacknowledged()):
        silent = silent + step if unsent == left else 0.0
        left = unsent
        if idle_limit is not None and silent >= idle_limit:
            from pync.relay.idle import idle

            lost = unsent if peer.raw() is not None else 0  # under TLS the kernel holds other bytes
            raise idle("idle connection", f"nothing was taken for {idle_limit:g} s", lost)
