"""The command line of nc.openbsd as a `Config`: its operands, what it refuses in which order, and how it behaves.

This only computes, as pync's own `config` does. What nc.openbsd does in another way than pync is in `behaviour`.
"""

from __future__ import annotations

import os
from errno import EINVAL, ESOCKTNOSUPPORT

from pync.behaviour import Behaviour, DatagramProbes
from pync.config import Config, Ending, Proxy, SocketOptions
from pync.faces.openbsd.options import BLANKS, NoSuchForm, Refused, number
from pync.faces.option_values import is_decimal
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.faces.openbsd.options import Values

READ_SIZE = 16384  # bytes
PROBES = 3  # seconds for which a port of UDP is probed, unless -w names another number
DEFAULT_PORTS = {"http": "3128", "socks4": "1080", "socks5": "1080"}
NO_SERVICE = "Servname not supported for ai_socktype"  # as getaddrinfo(3) has it
PORT = number("port number", 1, 65535)


# whole: each fact of the config once
def config(values: Values, operands: list[str]) -> Config:
    """What a command line asks for. Raises Refused, NoSuchForm."""
    host, ports = form(values, operands)
    check(values)
    proxy = _proxy(values) if "proxy" in values else None
    if "dccp" in values:
        raise Refused(os.strerror(ESOCKTNOSUPPORT))
    listens, unix = "listen" in values, values.get("family") == "unix"
    if listens and unix and not host:
        raise Refused(os.strerror(EINVAL))
    family = values.get("family", "ipv4" if listens and host is None else "any")
    wait = values.get("wait")
    facts: dict[str, Any] = {name: values[name] for name in SAME if name in values}
    return Config(
        **facts,
        mode="scan" if "scan" in values and "pass_descriptor" not in values else "listen" if listens else "connect",
        family=family,
        host=host,
        ports=() if unix else _listen_port(ports[0], values) if listens else _ports(ports, values),
        source_host=None if listens else values.get("source_host"),
        source_port=None if listens or "source_port" not in values else _source_port(values),
        proxy=proxy,
        send="no_stdin" not in values,
        pace=values.get("pace") or None,
        connect_timeout=wait or None,
        ending=_ending(values),
        socket=SocketOptions(**{name: values[name] for name in SocketOptions.__annotations__ if name in values}),
        behaviour=behaviour(values),
        verbosity=1 if "verbose" in values else 0,
    )


# The values that are facts of a config by the same name.
SAME = ("datagram", "numeric", "shuffle", "keep_open", "pass_descriptor", "crlf", "telnet")


# -- The command line as a whole ----------------------------------------------------------------------------------


def form(values: Values, operands: list[str]) -> tuple[str | None, list[str]]:
    """The host, or the unix path, and the ports as they were typed. Raises NoSuchForm, Refused."""
    listens, unix = "listen" in values, values.get("family") == "unix"
    own_path = unix and "datagram" in values and not listens
    source, port = values.get("source_host"), values.get("source_port")
    if not operands and listens:
        host, ports = source, [] if port is None else [port]
    elif len(operands) == 1 and port is None and (source is None or own_path):
        host, ports = (None, operands) if listens and not unix else (operands[0], [])
    elif len(operands) >= 2 and not (listens and (port is not None or source is not None or len(operands) > 2)):
        host, ports = operands[0], operands[1:]
    else:
        raise NoSuchForm("usage", "")
    if unix and "dccp" in values:
        raise Refused("cannot use -Z and -U")
    if unix and ports:
        raise Refused("cannot use port with -U")
    if unix and host is None:
        raise Refused("missing socket pathname")
    if not unix and not ports:
        raise Refused("missing port number")
    return host, ports


def check(values: Values) -> None:
    """Raise Refused for the first thing that cannot be done together."""
    listens, unix = "listen" in values, values.get("family") == "unix"
    proxied = "proxy" in values
    for broken, text in (
        (listens and "scan" in values, "cannot use -z and -l"),
        (not listens and "keep_open" in values, "must use -l with -k"),
        (unix and "pass_descriptor" in values, "cannot use -F and -U"),
        (proxied and "datagram" in values, "no proxy support for UDP mode"),
        (proxied and "dccp" in values, "no proxy support for DCCP mode"),
        (proxied and listens, "no proxy support for listen"),
        (proxied and unix, "no proxy support for unix sockets"),
        (proxied and "source_host" in values, "no proxy support for local source address"),
    ):
        if broken:
            raise Refused(text)


def _proxy(values: Values) -> Proxy:
    text, kind = values["proxy"], values.get("proxy_kind", "socks5")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise Refused("missing closing bracket in proxy")
        if rest and not rest.startswith(":"):
            raise Refused("garbage proxy port delimiter")
        port = rest[1:] if rest else None
    else:
        host, colon, port = text.rpartition(":") if ":" in text else (text, "", None)
    if port is None:
        port = DEFAULT_PORTS[kind]
    user = values.get("proxy_user") if kind == "http" else None
    return Proxy(
        kind=kind,
        host=host,
        port=_service(port, "tcp", f'getaddrinfo for host "{host}" port {port}: '),
        user=user,
        password=None,
        remote_names=kind != "socks4",
    )


# -- Ports ---------------------------------------------------------------------------------------------------------


def _protocol(values: Values) -> str:
    return "udp" if "datagram" in values else "tcp"


def _ports(texts: list[str], values: Values) -> tuple[int, ...]:
    """The ports to connect to: numbers, services, or ranges that count upwards whichever end comes first."""
    found: list[int] = []
    for text in texts:
        service = _named(text, _protocol(values))
        low, hyphen, high = text.partition("-")
        if service is not None:
            found.append(service)
        elif hyphen and text[0].isdigit():
            ends = sorted((PORT(high), PORT(low)))
            found += range(ends[0], ends[1] + 1)
        else:
            found.append(PORT(text))
    return tuple(found)


def _listen_port(text: str, values: Values) -> tuple[int]:
    return (_service(text, _protocol(values), "getaddrinfo: "),)


def _source_port(values: Values) -> int:
    return _service(values["source_port"], _protocol(values), "getaddrinfo: ")


def _service(text: str, protocol: str, words: str) -> int:
    """A port as getaddrinfo(3) takes it, none being 0. Raises Refused, also for a number that would be cut to 16 bits.

    The `words` begin what is said of a text that is no port.
    """
    port = _named(text, protocol)
    if port is not None:
        return port
    digits = text.lstrip(BLANKS).removeprefix("+")
    if text and not is_decimal(digits):
        raise Refused(words + NO_SERVICE)
    return PORT(text) if int(digits[-20:] or "0") else 0


def _named(text: str, protocol: str) -> int | None:
    try:
        return socket.getservbyname(text, protocol)
    except (OSError, ValueError):  # ValueError: the text is no C string
        return None


# -- How it behaves ------------------------------------------------------------------------------------------------


def _ending(values: Values) -> Ending:
    quit_after = values.get("quit_after", -1)
    return Ending(
        half_close="half_close" in values,
        at_once=True,
        quit_after=float(quit_after) if quit_after >= 0 else None,
        idle_timeout=values.get("wait"),  # 0: a connection is made, and that is all
        # Of the datagrams of many senders the limit ends a round, after which the next one begins.
        receive_limit=None if values.keys() >= {"datagram", "keep_open"} else values.get("receive_limit"),
    )


# whole: a list of facts
def behaviour(values: Values) -> Behaviour:
    """What is done in another way than pync's own."""
    listens, datagrams = "listen" in values, "datagram" in values
    unix = values.get("family") == "unix"
    return Behaviour(
        after_peer="drain" if listens else "stay",
        quit_from="either" if listens or datagrams else "both",
        quit_discards=listens or datagrams,
        idle_ends=True,
        loss_ends=True,
        answers_signals=False,
        unreadable_ends=True,
        sends_on=True,
        datagrams_stay=True,
        null_counts=True,
        limit_over_all=True,
        read_size=READ_SIZE,
        addresses="in order",
        probes=_probes(values) if datagrams and not unix and not listens else None,
        scan_in_order=True,
        dual_stack=True,
        first_address=True,
        backlog=1,
        reuse_port=listens,
        keeps_listening=True,
        one_at_a_time=True,
        needs_sender_path=True,
        leaves_paths=True,
        temporary_path=unix and datagrams and not listens and "source_host" not in values,
        pauses="after",
        telnet_keeps=True,
        plain_proxies=True,
        waits_for_proxy=True,
        name_of=name_of if "verbose" in values and "numeric" not in values else None,
    )


def _probes(values: Values) -> DatagramProbes | None:
    """With -v a port is probed before the data; in a scan without -v it is taken for open, and nothing is sent."""
    if "verbose" in values:
        return DatagramProbes(payload=b"X", at_once=2, later=values.get("wait", PROBES), interval=1.0)
    return DatagramProbes(payload=b"X", at_once=0, later=0) if "scan" in values else None


def name_of(host: str) -> str:
    """The name of an address; what has none is its own name. Raises OSError."""
    return socket.getnameinfo((host, 0), socket.NI_NUMERICSERV)[0]
