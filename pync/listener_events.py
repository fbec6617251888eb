"""Events of a listener's stdin, beside those in `events.py`.

A module of its own, because a client has no such events, and what every client imports is kept small.
"""

from __future__ import annotations

from pync.events import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.events import Address


class StdinOver(Event):
    """A client has come after the end of stdin, which went to the clients of that moment: it is sent nothing."""

    peer: Address


class StdinNotKept(Event):
    """More of stdin came than can be kept for later clients: from now on it goes to those that are connected."""

    why: str
