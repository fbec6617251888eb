"""The password for a proxy, which nc.openbsd asks for once the proxy demands it; then it connects to the proxy anew.

A module of its own, because only -P needs it.
"""

from __future__ import annotations

from pync.engine import run
from pync.errors import ProxyError
from pync.faces import print_line
from pync.faces.openbsd.options import Refused
from pync.faces.password import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.events import Outcome
    from pync.faces.openbsd.messages import Messages

PROMPTS = 3
DEMANDS = ("HTTP/1.0 407", "HTTP/1.1 407")


def run_with_password(asked: Config, messages: Messages) -> Outcome:
    """Run, first without a password. Raises Refused if there is none, or none that the proxy accepts; PyncError."""
    for attempt in range(PROMPTS + 1):
        try:
            return run(asked, messages.report, messages.wants)
        except ProxyError as error:
            if not str(error.answer).startswith(DEMANDS):
                raise
        if attempt:
            print_line("Proxy authentication failed")
        if attempt < PROMPTS:
            asked = _with_password(asked)
    raise Refused("Too many authentication failures")


def _with_password(asked: Config) -> Config:
    assert asked.proxy
    try:
        password = ask(f"Proxy password for {asked.proxy.user}@{asked.proxy.host}: ")
    except OSError:
        raise Refused("Unable to read proxy passphrase") from None
    except EOFError:
        password = ""
    return asked.but(proxy=asked.proxy.but(password=password))
