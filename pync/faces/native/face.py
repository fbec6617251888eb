"""pync's own face: what its options mean together, and its exit statuses.

Theory: nothing is ignored in silence, so options that make no sense together are a usage error. `config` only
computes: it resolves nothing but the names of services, opens nothing and prints nothing. The options are data in
`own_options.py`, the words of a run are in `words.py`.
"""

from __future__ import annotations

import os

from pync import __version__
from pync.config import Access, Config, Ending, Logs, Program, SocketOptions
from pync.errors import Interrupted, OutputClosed, ProgramError, TimedOut, UsageError
from pync.faces import option_values
from pync.faces.native.messages import Messages, say, show
from pync.faces.native.options import ABOUT, EXTRAS, FORMS, HINTS, TABLE
from pync.faces.option_table import check_conflicts, name, read
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.config import Frozen
    from pync.errors import PyncError
    from pync.events import Outcome
    from pync.faces.option_table import Values

_ONLY_LISTENING = ("keep_open", "max_conns", "allow", "allow_files", "deny", "deny_files", "user", "http")
CONFLICTS = (
    ("listen", ("scan", "retry", "shuffle", "connect_timeout"), "a listener connects to nobody"),
    ("scan", ("exec", "sh_exec", "filter"), "a scan transfers nothing"),
    ("exec", ("sh_exec", "filter", "http", "recv_only", "send_only"), "the program has the connection for itself"),
    ("sh_exec", ("filter", "http", "recv_only", "send_only"), "the program has the connection for itself"),
    ("filter", ("http", "recv_only", "send_only"), "the filter has both directions for itself"),
    ("send_only", ("recv_only", "no_stdin"), "nothing would be left to do"),
    ("at_once", ("no_shutdown",), "one half-closes, the other never does"),
    ("http", ("datagram",), "HTTP needs a stream"),
)


class Own:
    """The face at work: it keeps what has been said already, so that nothing is said twice."""

    def __init__(self) -> None:
        self.words: Messages | None = None

    def run(self, argv: list[str]) -> int:
        """Do what the command line says, and answer the exit status. Raises PyncError."""
        if os.environ.get("_PYNC_COMPLETE"):
            from pync.faces.click_help import complete

            complete(TABLE, FORMS, ABOUT)
        values, operands = read(TABLE, argv, HINTS)
        if "help" in values:
            from pync.faces.click_help import text

            return show(text(TABLE, FORMS, ABOUT))
        if "version" in values:
            return show(f"pync {__version__}\n")
        asked = config(values, operands)
        if "min_ttl" in values and asked.mode == "listen":
            say("pync: note: -m is the minimum TTL here; Ncat's -m N is --max-conns N")
        if asked.proxy and asked.proxy.password is None and asked.proxy.kind != "socks4":
            from pync.faces.native.proxies import ask_password

            asked = ask_password(asked)
        self.words = Messages(asked)
        from pync.engine import run

        return status(run(asked, self.words.report, self.words.wants))

    def failed(self, error: PyncError) -> int:
        """Say what went wrong, and answer the exit status: negative for the signal that should end us."""
        silent = isinstance(error, (Interrupted, OutputClosed)) or (
            self.words is not None and self.words.already_reported(error)
        )
        if not silent:
            say(f"pync: {error}")
        if isinstance(error, UsageError):
            say("Try 'pync --help'.")
        return failure(error)


def status(outcome: Outcome) -> int:
    """The exit status of a run that came to its end."""
    if outcome.child_status is not None:
        return outcome.child_status
    return 0 if outcome.opened else 1


def failure(error: PyncError) -> int:
    """The exit status of a run that failed: negative for the signal that should end us."""
    match error:
        case UsageError():
            return 2
        case TimedOut():
            return 124  # as timeout(1)
        case ProgramError(found=found):
            return 126 if found else 127  # as the shell
        case Interrupted(signum=signum):
            return -signum
        case OutputClosed():
            return -signal.SIGPIPE
    return 1


def config(values: Values, operands: list[str]) -> Config:
    """What the command line asks for. Raises UsageError."""
    more: dict[str, Any] = {}
    if values.keys() & EXTRAS:
        from pync.faces.native.tls_and_proxy import extras

        values, operands, more = extras(values, operands)
    _check(values)
    wait = values.get("wait")
    ending = _facts(Ending, values) | {
        "half_close": "no_shutdown" not in values,
        "idle_timeout": values.get("idle_timeout", wait) or None,
    }
    times = {name: values.get(name) or None for name in ("pace", "delay", "retry")}  # zero is none at all
    facts = {
        "mode": "scan" if "scan" in values else "listen" if "listen" in values else "connect",
        "access": Access(**_facts(Access, values)),
        "program": _program(values),
        "send": not values.keys() & {"no_stdin", "recv_only"},
        "receive": "send_only" not in values,
        "logs": Logs(**_facts(Logs, values)),
        "connect_timeout": values.get("connect_timeout", wait) or None,
        "ending": Ending(**ending),
        "socket": SocketOptions(**_facts(SocketOptions, values)),
    }
    return Config(**_facts(Config, values) | times | facts | _place(values, operands) | more)


def _facts(kind: type[Frozen], values: Values) -> dict[str, Any]:
    """Those values that are fields of `kind`: a dest is the name of the field it sets."""
    return {name: values[name] for name in kind.__annotations__ if name in values}


def _program(values: Values) -> Program | None:
    for dest in "exec", "sh_exec", "filter":
        if dest in values:
            return Program(argv=values[dest], filters=dest == "filter")
    return None


def _check(values: Values) -> None:
    """Raises UsageError for options that make no sense together."""
    for dest in _ONLY_LISTENING:
        if dest in values and "listen" not in values:
            hint = "; TCP keep-alive is --tcp-keepalive" if dest == "keep_open" else ""
            raise UsageError(f"{name(TABLE, dest)} without -l", f"only a listener has clients{hint}")
    check_conflicts(TABLE, values, CONFLICTS)
    if "append" in values and not values.keys() & {"raw", "hexadecimal"}:
        raise UsageError(f"{name(TABLE, 'append')} alone", "there is no log to append to; add -o or --hex-dump")


def _place(values: Values, operands: list[str]) -> dict[str, Any]:
    """Where to: the operands, -s and -p as facts for Config."""
    if values.get("family") == "unix":
        return _unix(values, operands)
    protocol = "udp" if "datagram" in values else "tcp"
    return (_listener if "listen" in values else _peer)(values, operands, protocol)


def _unix(values: Values, operands: list[str]) -> dict[str, Any]:
    if "source_port" in values:
        raise UsageError("-p with -U", "a unix socket has no port")
    source = values.get("source_host")
    if source is not None and ("listen" in values or "datagram" not in values):
        raise UsageError("-s with -U", "only a datagram socket that connects has a path of its own; add -u")
    if not operands:
        raise UsageError("missing path", "name the unix socket")
    if len(operands) > 1:
        raise UsageError(f"operand {operands[1]}", "-U takes a path and nothing else")
    own = None if source is None else _typed("source path", option_values.path, source)
    return {"host": _typed("path", option_values.path, operands[0]), "source_host": own}


def _peer(values: Values, operands: list[str], protocol: str) -> dict[str, Any]:
    if not operands:
        raise UsageError("missing host and port", "as in 'pync localhost 8080', or 'pync -l 8080' to listen")
    host, *rest = operands
    if not rest and _is_number(host):
        raise UsageError("missing host", f"'pync HOST {host}' connects to a port, 'pync -l {host}' listens on it")
    if not rest:
        raise UsageError("missing port", f"as in 'pync {host} 80'")
    own = values.get("source_port")
    return {
        "host": _host(host, values),
        "ports": tuple(port for text in rest for port in _typed("port", option_values.ports, text, protocol)),
        "source_host": _host(values["source_host"], values) if "source_host" in values else None,
        "source_port": None if own is None else _typed("source port", option_values.listen_port, own, protocol),
    }


def _listener(values: Values, operands: list[str], protocol: str) -> dict[str, Any]:
    host, port = values.get("source_host"), values.get("source_port")
    operands = list(operands)
    if port is None:
        if not operands:
            raise UsageError("missing port", "as in 'pync -l 8080'")
        port = operands.pop()
    elif operands and _is_number(operands[-1]):
        raise UsageError(f"two ports, {port} and {operands[-1]}", "a listener has one")
    if operands and host is not None:
        raise UsageError(
            f"two addresses, {host} and {operands[0]}", "a listener has one; -s is the other way to name it"
        )
    if operands:
        host = operands.pop(0)
    if operands:
        raise UsageError(f"operand {operands[0]}", "a listener takes [HOST] PORT")
    return {
        "host": None if host is None else _host(host, values),
        "ports": (_typed("port", option_values.listen_port, port, protocol),),
        "source_host": None,
        "source_port": None,
    }


def _host(text: str, values: Values) -> str:
    if not text:
        raise UsageError("empty host", "name one, or an address")
    if _is_number(text) and len(text) <= 5 and int(text):  # 0 is usual for 0.0.0.0, but 8080 is not for 0.0.31.144
        hint = "; Ncat's -d TIME is --delay TIME" if "no_stdin" in values else ""
        raise UsageError(f"host {text}", f"a mere number is no host{hint}")
    return text


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _typed(noun: str, read: Callable[..., Any], *words: str) -> Any:
    """A value that only now can be read, for what it means depends on other options. Raises UsageError."""
    try:
        return read(*words)
    except ValueError as error:
        raise UsageError(noun, str(error)) from None
