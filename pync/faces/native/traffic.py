"""The words for what sessions have moved: bytes, times and rates, and the line at the end of a session.

A module of its own, because most runs print none of it and do not import it. Units are decimal, as those of dd(1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.events import SessionEnded

UNITS = ("kB", "MB", "GB", "TB", "PB")
BRIEF = 0.001  # seconds: in less than that no rate can be measured
ENDS = {
    "peer": "closed by the peer",
    "target": "closed by the target",
    "us": "closed by us",
    "limit": "ended by a limit",
    "signal": "ended by a signal",
    "error": "ended by an error",
}


def size(count: float) -> str:
    """A number of bytes: `12 B`, `1.4 GB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in UNITS:
        count /= 1000
        if count < 999.5:
            return f"{count:.3g} {unit}"
    return f"{count:.0f} {UNITS[-1]}"


def duration(seconds: float) -> str:
    """A time: `0.012 s`, `3.2 s`, `75 s`, `12 min 5 s`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.3f} s" if seconds < 0.1 else f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def both_ways(sent: int | None, received: int | None) -> str:
    """What has passed; "" if nothing is known of it."""
    known = (("sent", sent), ("received", received))
    return ", ".join([f"{word} {size(count)}" for word, count in known if count is not None])


def end_line(event: SessionEnded, config: Config) -> str:
    """The line for the end of a session."""
    moved = both_ways(event.sent, event.received)
    total = (event.sent or 0) + (event.received or 0)
    rate = f" ({size(total / event.seconds)}/s)" if total and event.seconds >= BRIEF else ""
    took = f"in {duration(event.seconds)}{rate}" if moved else f"over after {duration(event.seconds)}"
    # The client of a unix socket has no name as a rule, so it is known by the path of the listener.
    who = event.peer if event.peer.host or config.also or not config.host else config.host
    end = f"exit status {event.status}" if event.ended_by == "program" else ENDS[event.ended_by]
    return f"pync: {who}: {moved}{' ' if moved else ''}{took}, {end}{_sums(event)}"


def _sums(event: SessionEnded) -> str:
    """The checksums, of each direction in which something has passed, or of both if nothing has."""
    ways = (("sent", event.sent, event.sent_sha256), ("received", event.received, event.received_sha256))
    known = [way for way in ways if way[2]]
    shown = [way for way in known if way[1]] or known
    part = " until then" if event.ended_by in ("limit", "signal", "error") else ""
    return f"; SHA-256{part}: {', '.join([f'{way[0]} {way[2]}' for way in shown])}" if shown else ""
