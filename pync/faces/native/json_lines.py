"""`--log-format json`: every event of a run, and its end, as a line on stderr that holds one JSON object.

Theory: the lines are for programs. So every event is written, whatever `-v` asks for: a collector of logs filters them.
The name of an event is that of its class in other letters, and its facts have their own names; nothing is worded here.
So an event that is added is written without a change of this module. The manual lists all of them (LOG EVENTS), and a
test compares the list with the classes.

A line is ASCII. It is valid JSON whatever a peer has chosen, such as the path of a unix socket. The last line is
`ended`, after an error that comes before the run begins, too.

What this needs is imported before the run, because a server may not be able to do so later.
"""

from __future__ import annotations

import time
from json import dumps

from pync.errors import PeerLost, PyncError
from pync.events import Address
from pync.faces.stderr import STANDARD
from pync.wall_time import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.events import Event

OPTION = "--log-format"
SHORTEST = "--lo"  # the shortest beginning of the option that is no other option's


class JsonLines:
    """Writes the lines of one run."""

    def __init__(self, *, lossless: bool = False, clock: Callable[[], int] = time.time_ns) -> None:
        """`lossless`: the lines are the result of the run. `clock` gives nanoseconds since 1970."""
        self._clock = clock
        STANDARD.lossless = lossless
        STANDARD.notice = self._missed

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this kind are written: all are."""
        return True

    def report(self, event: Event) -> None:
        """Write an event, unless it is a line of progress that the next one is drawn over."""
        if event.facts().get("drawn"):
            return
        STANDARD.write(self._line(snake_case(type(event).__name__), event.facts()))

    def note(self, text: str) -> None:
        """Write a remark about the command line."""
        STANDARD.write(self._line("note", {"text": text}))

    def ended(self, status: int, error: PyncError | None = None) -> None:
        """Write how the run has ended: by a signal, if the status is negative."""
        end = {"status": None, "signal": -status} if status < 0 else {"status": status, "signal": None}
        STANDARD.write(self._line("ended", {**end, "error": error}))

    def _line(self, name: str, facts: dict[str, Any]) -> bytes:
        values = {fact: plain(value) for fact, value in facts.items()}
        line = dumps({"time": rfc3339(self._clock()), "event": name, **values})
        return line.replace("\x7f", "\\u007f").encode() + b"\n"

    def _missed(self, count: int) -> bytes:
        return self._line("messages_missed", {"count": count})


def plain(value: Any) -> Any:
    """A fact as JSON has it: an address and an error are objects."""
    match value:
        case str():
            return readable(value)
        case Address(host="", port=None):  # a unix socket without a name
            return None
        case Address(port=None):
            return {"path": readable(value.host)}
        case Address():
            return {"host": readable(value.host), "port": value.port}
        case PyncError():
            return _error(value)
        case None | bool() | int() | float():
            return value
        case tuple() | list():
            return [plain(item) for item in value]
    return readable(str(value))


def _error(error: PyncError) -> dict[str, Any]:
    facts = {"kind": snake_case(type(error).__name__), "what": readable(error.what), "why": readable(error.why)}
    if isinstance(error, PeerLost):
        return {**facts, "why": readable(error.cause), "unsent": error.unsent}
    return facts


def readable(text: str) -> str:
    r"""`text` without what JSON cannot hold: a byte that is no UTF-8, which Python has as a surrogate, becomes \xNN."""
    return "".join([f"\\x{ord(letter) & 0xFF:02x}" if "\ud800" <= letter <= "\udfff" else letter for letter in text])


def snake_case(name: str) -> str:
    """The name of a class in small letters: `TlsEstablished` is `tls_established`."""
    return "".join([f"_{letter.lower()}" if letter.isupper() else letter for letter in name]).lstrip("_")


def asked_for(argv: list[str]) -> bool:
    """Whether a command line that cannot be read asks for this format all the same."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if OPTION.startswith(name) and name.startswith(SHORTEST):
            return (value if equals else following).lower() == "json"
    return False
