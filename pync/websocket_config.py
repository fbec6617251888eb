"""The facts of a config whose connections are WebSockets.

A module of its own, because a run without WebSocket does not import it.
"""

from __future__ import annotations

from pync.config import Frozen


class WebSocket(Frozen):
    """How WebSocket is spoken, and what a client asks for."""

    path: str = "/"  # what a client asks for, as /PATH?QUERY
    headers: tuple[tuple[str, str], ...] = ()  # of a client's request, beside those that WebSocket needs
    protocols: tuple[str, ...] = ()  # subprotocols: those that a client offers, or those of which a listener takes one
    origins: tuple[str, ...] = ()  # other sites whose pages may reach a listener; "*": all
    text: bool = False  # send text messages, not binary ones
