"""How `--progress` and SIGUSR1 look on stderr: the line that shows how far a run has come.

Theory: on a terminal each line takes the place of the one before, at most five times a second. Elsewhere, in a log for
instance, a line follows after ten seconds. A conversation that a person types on the terminal is never drawn over.
"""

from __future__ import annotations

import os

from pync.faces import clear_line, draw_line, print_line
from pync.faces.native.traffic import duration, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config
    from pync.relay.progress import Progress

STDIN, STDOUT, STDERR = 0, 1, 2
IN_A_LOG = 10.0  # seconds between two lines


def at_its_pace(config: Config) -> Config:
    """The config with the time between two lines that suits stderr; none for a conversation on the terminal."""
    if os.isatty(STDIN) and os.isatty(STDOUT):
        return config.but(progress=None)
    return config if os.isatty(STDERR) else config.but(progress=IN_A_LOG)


def show(event: Any, config: Config) -> None:
    """Draw the line for a `Progress`, or print it if it is to stay."""
    line = progress_line(event, config)
    reported = event.clients is None and (config.verbosity or config.checksum)  # by the end of the only session
    if event.last and (reported or event.stage != "running"):
        clear_line()
    elif event.drawn and os.isatty(STDERR):
        draw_line(line)
    else:
        print_line(line)


def progress_line(event: Progress, config: Config) -> str:
    """How far the run has come, in one line, of which a narrow terminal shows the beginning."""
    if event.stage == "running":
        rest = [*_share(event), _moved(event), *_clients(event)]
    elif event.stage == "waiting":
        rest = _clients(event) or ["waiting for a client"]
    else:
        rest = [f"{event.stage}{f' to {_target(config)}' if event.stage == 'connecting' else ''}"]
    return f"pync: {', '.join(rest)}"


def _target(config: Config) -> str:
    ports = f" port {config.ports[0]}" if len(config.ports) == 1 else ""
    return f"{config.host}{ports}"


def _moved(event: Progress) -> str:
    """What has passed, and how fast; a direction in which nothing has is left out beside the other."""
    ways = (("sent", event.sent, event.sent_rate), ("received", event.received, event.received_rate))
    known = [(word, count, rate) for word, count, rate in ways if count is not None]
    shown = [way for way in known if way[1]] or known
    rates = [way for way in shown if way[2]] or shown[:1]
    parts = [f"{way[0]} {size(way[1])}{f' ({size(way[2] or 0)}/s)' if way in rates else ''}" for way in shown]
    return f"{', '.join(parts)} in {duration(event.seconds)}" if parts else f"running for {duration(event.seconds)}"


def _share(event: Progress) -> list[str]:
    if event.size is None:
        return []
    moved = max(event.sent or 0, event.received or 0)
    share = f"{min(100, 100 * moved // max(1, event.size))} %"
    return [share] if event.left is None else [share, f"{duration(round(event.left, 1))} left"]


def _clients(event: Progress) -> list[str]:
    if event.clients is None:
        return []
    return [f"{event.clients:,} client{'' if event.clients == 1 else 's'}"]
