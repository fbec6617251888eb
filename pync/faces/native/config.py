"""pync's own command line as a `Config`: what the values of its options and its operands ask for.

This only computes: it looks up nothing but the names of services, opens nothing and prints nothing. The options of
TLS, proxies, relaying and rare sockets are left to `tls_and_proxy.py`, which most runs do not import.
"""

from __future__ import annotations

import os

from pync.config import Access, Config, Ending, Logs, Program, SocketOptions
from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.native.options import TLS_AND_PROXY
from pync.faces.option_table import read_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.config import Frozen
    from pync.faces.option_table import Values
    from pync.websocket_config import WebSocket


PLACES = ("also_at", "path_mode", "path_owner")  # the dests that `passed.py` reads


def config(values: Values, operands: list[str]) -> Config:
    """What a command line asks for. Raises UsageError."""
    values, operands, more = _spelled_out(values, operands)
    if values:  # a command line without options has no conflicts, and need not import the rules
        from pync.faces.native.conflicts import check_conflicts

        check_conflicts(values)
    times = {name: values.get(name) or None for name in ("pace", "delay", "retry", "reconnect")}  # zero is none at all
    facts = {
        "mode": "scan" if "scan" in values else "listen" if "listen" in values else "connect",
        "access": Access(**_fields(Access, values)),
        "program": _program(values),
        "send": not values.keys() & {"no_stdin", "recv_only"},
        "receive": "send_only" not in values,
        "logs": Logs(**_fields(Logs, values)),
        "connect_timeout": values.get("connect_timeout", values.get("wait")) or None,
        "ending": _ending(values),
        "socket": SocketOptions(**_fields(SocketOptions, values)),
    }
    if "websocket" in values:
        facts["websocket"] = _websocket(values)
    asked = Config(**_fields(Config, values) | times | facts | _addresses(values, operands) | more)
    return asked if values.keys().isdisjoint(PLACES) else _with_places(asked, values)


def _ending(values: Values) -> Ending:
    wait = values.get("wait")
    facts = _fields(Ending, values) | {
        "half_close": "no_shutdown" not in values,
        "idle_timeout": values.get("idle_timeout", wait) or None,
        "answer_wait": wait if "datagram" in values and "listen" not in values else None,
    }
    if "raw_terminal" in values:
        facts.setdefault("quit_after", 0.0)  # its end is a key that means it
    return Ending(**facts)


def _websocket(values: Values) -> WebSocket:
    from pync.faces.native.websocket import websocket

    return websocket(values)


def _with_places(asked: Config, values: Values) -> Config:
    from pync.faces.native.passed import with_places

    return with_places(asked, values)


def _spelled_out(values: Values, operands: list[str]) -> tuple[Values, list[str], dict[str, Any]]:
    """The values and the operands that abbreviations stand for, and what the rare options ask for."""
    if len(operands) == 1 and ":" in operands[0]:
        from pync.faces.native.one_operand import spelled_out

        values, operands = spelled_out(values, operands[0])
    if not TLS_AND_PROXY.isdisjoint(values):
        from pync.faces.native.tls_and_proxy import tls_and_proxy

        return tls_and_proxy(values, operands)
    return values, operands, {}


def _fields(kind: type[Frozen], values: Values) -> dict[str, Any]:
    """Those values that are fields of `kind`: a dest is the name of the field it sets."""
    return {name: values[name] for name in kind.__annotations__ if name in values}


def _program(values: Values) -> Program | None:
    for dest in "exec", "sh_exec", "filter":
        if dest in values:
            kind: dict[str, Any] = {
                "filters": dest == "filter",
                "pipes": "pipes" in values,
                "terminal": "pty" in values,
            }
            return Program(argv=values[dest], **kind)
    return None


# -- The peer, and our own address: the operands, -s and -p ----------------------------------------------------------


def _addresses(values: Values, operands: list[str]) -> dict[str, Any]:
    if "listen" in values and (passed := _passed(values, operands)) is not None:
        return {"host": None, "ports": (), "source_host": None, "source_port": None, "inherited": passed}
    if values.get("family") == "unix":
        return _unix(values, operands)
    protocol = "udp" if "datagram" in values else "tcp"
    return (_listener if "listen" in values else _peer)(values, operands, protocol)


def _passed(values: Values, operands: list[str]) -> tuple[str, ...] | None:
    """The names of sockets to listen on that were passed to this process (none: all are meant), if that is asked."""
    named = bool(operands) or not values.keys().isdisjoint(("source_host", "source_port", "vsock"))
    if named and "LISTEN_FDS" not in os.environ and "fd_names" not in values:
        return None
    from pync.faces.native.passed import passed

    return passed(values, named=named)


def _unix(values: Values, operands: list[str]) -> dict[str, Any]:
    if "source_port" in values:
        raise UsageError("-p with -U", "a unix socket has no port")
    source = values.get("source_host")
    if source is not None and ("listen" in values or "datagram" not in values):
        raise UsageError("-s with -U", "only a datagram socket that connects has a path of its own; add -u")
    if "interface" in values:
        raise UsageError("--interface with -U", "a unix socket is on no network")
    if not operands:
        raise UsageError("missing path", "name the unix socket")
    if len(operands) > 1:
        raise UsageError(f"operand {operands[1]}", "-U takes a path and nothing else")
    own = None if source is None else read_value("source path", option_values.path, source)
    return {"host": read_value("path", option_values.path, operands[0]), "source_host": own}


def _peer(values: Values, operands: list[str], protocol: str) -> dict[str, Any]:
    if not operands:
        raise UsageError("missing host and port", "as in 'pync localhost 8080', or 'pync -l 8080' to listen")
    host, *rest = operands
    if not rest and option_values.is_decimal(host):
        raise UsageError("missing host", f"'pync HOST {host}' connects to a port, 'pync -l {host}' listens on it")
    if not rest:
        path = "; a unix socket needs -U" if host.startswith(("/", "./", "@")) else ""
        raise UsageError("missing port", f"as in 'pync {host} 80'{path}")
    if _is_mere_number(host) and len(rest) == 1 and not _is_mere_number(rest[0]):
        raise UsageError(f"host {host}", f"HOST comes before PORT, as in 'pync {rest[0]} {host}'")
    host = _host(host, values)
    ports = tuple(port for text in rest for port in read_value("port", option_values.ports, text, protocol))
    if "reconnect" in values and len(ports) > 1:
        raise UsageError("--reconnect with several ports", "it goes on with one connection")
    own = values.get("source_port")
    return {
        "host": host,
        "ports": ports,
        "source_host": _host(values["source_host"], values) if "source_host" in values else None,
        "source_port": None if own is None else read_value("source port", option_values.listen_port, own, protocol),
    }


def _listener(values: Values, operands: list[str], protocol: str) -> dict[str, Any]:
    host, port = values.get("source_host"), values.get("source_port")
    operands = list(operands)
    if port is None:
        if not operands:
            digits = (
                "; the port stands apart from the letters" if "family" in values else ""
            )  # -l4444 is -l -4 -4 -4 -4
            raise UsageError("missing port", f"as in 'pync -l 8080'{digits}")
        port = operands.pop()
    elif operands and option_values.is_decimal(operands[-1]):
        raise UsageError(f"two ports, {port} and {operands[-1]}", "a listener has one")
    if operands and host is not None:
        raise UsageError(
            f"two addresses, {host} and {operands[0]}", "a listener has one; -s is the other way to name it"
        )
    if operands:
        host = operands.pop(0)
    if operands:
        raise UsageError(f"operand {operands[0]}", "a listener takes [HOST] PORT")
    if host is not None and _is_mere_number(host) and not _is_mere_number(port):
        raise UsageError(f"host {host}", f"HOST comes before PORT, as in 'pync -l {port} {host}'")
    return {
        "host": None if host is None else _host(host, values),
        "ports": (read_value("port", option_values.listen_port, port, protocol),),
        "source_host": None,
        "source_port": None,
    }


def _is_mere_number(text: str) -> bool:
    """Whether a text is a port rather than a host.

    A number is an address to the system. 0 is a usual way to write 0.0.0.0, but 8080 is no usual way to write
    0.0.31.144: it is a port in the wrong place.
    """
    return option_values.is_decimal(text) and len(text) <= 5 and int(text) != 0


def _host(text: str, values: Values) -> str:
    """A host as the resolver takes it: without the brackets that URLs put around an IPv6 address."""
    if not text:
        raise UsageError("empty host", "name one, or an address")
    if text.startswith("[") and text.endswith("]") and ":" in text:
        return text[1:-1]
    if "://" in text:
        from pync.faces.native.one_operand import no_peer

        raise no_peer(values, text)
    if _is_mere_number(text):
        hint = "; Ncat's -d TIME is --delay TIME" if "no_stdin" in values else ""
        raise UsageError(f"host {text}", f"a mere number is no host{hint}")
    return text
