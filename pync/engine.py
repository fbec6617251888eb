"""The engine: it chooses the mode that a config asks for, runs it on a new loop, and returns the outcome.

It opens what all sessions share. It must never word a message or know how an option is spelled.

Theory: most runs are over before there is garbage to collect, so `cli.py` turns the garbage collector off at the start.
It is on while the loop runs, because a server may run for ever, but it skips what was imported by then.
"""

from __future__ import annotations

import gc

from pync.context import Context
from pync.loop.kernel import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from pync.config import Config
    from pync.events import Outcome, Report, Wants
    from pync.relay.log_files import LogFiles

    Mode = Callable[[Context], Coroutine[Any, Any, Outcome]]


LARGE = 1 << 22  # bytes: more than any buffer of pync has


def run(config: Config, report: Report, wants: Wants = lambda kind: True) -> Outcome:
    """Do what the config asks for, and call `report` with each event meanwhile. Raises PyncError.

    `wants` returns whether `report` has a use for events of a kind. Where there are thousands, others are not made.
    """
    context = Context(Loop(), config, report, wants, _logs(config))
    if config.keep_open or config.http or config.user:
        from pync.preload import preload

        preload(config)
    if config.program:
        from pync.endpoints.child import seal

        seal()
    # glibc maps and unmaps every large buffer, page by page, until a larger one was freed (mallopt(3),
    # M_MMAP_THRESHOLD). So one is made and freed here, if memory allows, which halves the time of copying.
    try:
        bytes(LARGE)
    except MemoryError:
        pass
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    if config.behaviour and not config.behaviour.answers_signals:
        context.loop.asking = []
    context.loop.spawn(_show_progress(context))
    return context.loop.run(_mode(config)(context))


async def _show_progress(context: Context) -> None:
    """Show how far the run has come, from the first signal on that asks for it, or with `progress` from the start."""
    if not context.config.progress:
        await context.loop.wait(context.loop.asked)
    from pync.relay.progress import show

    await show(context)


def _mode(config: Config) -> Mode:
    if config.mode == "listen":
        from pync.modes.listen import listen

        return listen
    if config.mode == "scan":
        from pync.modes.scan import scan

        return scan
    from pync.modes.connect import connect

    return connect


def _logs(config: Config) -> LogFiles | None:
    if not (config.logs.raw or config.logs.hexadecimal):
        return None
    from pync.relay.open_logs import open_logs

    return open_logs(config)
