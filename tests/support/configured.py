"""pync as a process that is driven by a `Config`, for what no command line of its own asks for.

    with configured(Config(mode="listen", ports=(0,), behaviour=Behaviour(backlog=1))) as listener: … listener.port …

Each event is a line on stderr, as the source text of the event; an error is the last line. The exit status is 1 for an
error and if nothing was open.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness import Running

if TYPE_CHECKING:
    from typing import Any

    from pync.config import Config

RUN = """
import os, sys
from pync.behaviour import *
from pync.config import *
from pync.descriptors import reserve
from pync.engine import run
from pync.errors import Interrupted, PyncError

def show(fact):
    os.write(2, f"{fact}\\n".encode())

reserve()
try:
    outcome = run(eval(sys.argv[1]), show)
except Interrupted as error:
    os._exit(128 + error.signum)
except PyncError as error:
    show(f"{type(error).__name__}: {error}")
    os._exit(1)
os._exit(outcome.child_status or int(not outcome.opened))
"""


def configured(config: Config, *, ready: bool = True, **popen: Any) -> Running:
    """Start pync by this config. If it is to get `ready` to listen, wait for that; `port` is then known (0: none)."""
    process = Running([sys.executable, "-P", "-c", RUN, repr(config)], **popen)
    if ready and config.mode == "listen":
        try:
            process.port = int(process.expect(r"^Listening\(address=Address\([^)]*?(?:port=(\d+))?\)")[1] or 0)
        except BaseException:
            process.close()
            raise
    return process
