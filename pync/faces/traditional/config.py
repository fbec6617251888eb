"""The command line of nc.traditional as a `Config`: its operands, and how it behaves.

Theory: ports are read one by one, each after what is done with the one before. So a faulty port is reported when its
turn comes, and `Asked` has the fault beside the config for the ports before it.
"""

from __future__ import annotations

import os

from pync.behaviour import Behaviour, DatagramProbes
from pync.config import Config, Ending, Frozen, Logs, Program, SocketOptions
from pync.faces.traditional.command_line import host
from pync.faces.traditional.hosts import name_of
from pync.faces.traditional.options import Refused, port
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.faces.traditional.hosts import Host
    from pync.faces.traditional.options import Values

WILDCARD = "0.0.0.0"
BIND_TRIES = 4
READ_SIZE = 8192  # bytes
LOOSE_SOURCE_ROUTE, NO_OPERATION = 0x83, 0x01  # options of IP
FIRST_OF_ITS_OWN = 8192  # the lowest port that -r takes for our own end


class Asked(Frozen):
    """What a command line asks for."""

    config: Config | None  # None: the fault comes before all else
    host: Host | None
    single: bool  # whether it is about one port, whose status is that of the run
    fault: Refused | None = None  # of a port
    program: str | None = None  # the file of the program, as it was named


def asked(values: Values, operands: list[str]) -> Asked:
    """What a command line asks for. Raises Refused."""
    peer = host(operands[0], values) if operands else None
    if "listen" in values:
        their_port = port(operands[1], values, "invalid port") if len(operands) > 1 else None
        if "datagram" in values and "own_port" not in values:
            raise Refused("UDP listen needs -p arg")
        return Asked(config=_listener(values, peer, their_port), host=peer, single=True, program=values.get("program"))
    if peer is None:
        raise Refused("no destination")
    if len(operands) < 2:
        raise Refused("no port[s] to connect to")
    ports: list[int] = []
    single, fault = len(operands) == 2, None
    try:
        for text in operands[1:]:
            some = _range(text, values)
            single = single and len(some) == 1
            ports += some
    except Refused as refused:
        fault = refused
    config = _client(values, peer, tuple(ports)) if ports else None
    return Asked(config=config, host=peer, single=single, fault=fault, program=values.get("program"))


def _range(text: str, values: Values) -> list[int]:
    """One port, or those of a range, the highest first. A range that counts downwards is its first number alone."""
    low, high = _ends(text)
    last = port(high, values, "invalid port") if high is not None else 0
    first = port(low, values, "invalid port")
    ports = list(range(last, first - 1, -1)) or [first]
    if "shuffle" in values:
        import random

        random.shuffle(ports)
    return ports


def _ends(text: str) -> tuple[str, str | None]:
    """The parts of a text before and after its first hyphen; the hyphens of a service's name have backslashes."""
    parts = text.replace("\\-", "\0").split("-", 1)
    low, *high = (part.replace("\0", "-") for part in parts)
    return low, high[0] if high else None


# -- The config ----------------------------------------------------------------------------------------------------


def _client(values: Values, peer: Host, ports: tuple[int, ...]) -> Config:
    own: Host | None = values.get("own_host")
    return _common(
        values,
        mode="scan" if "scan" in values else "connect",
        host=peer.address,
        ports=ports,
        source_host=own and own.address,
        source_port=values.get("own_port", _any_port() if "shuffle" in values else None),
        connect_timeout=values.get("wait"),
        behaviour=_behaviour(values),
    )


def _listener(values: Values, peer: Host | None, their_port: int | None) -> Config:
    own: Host | None = values.get("own_host")
    expected = (peer.address, their_port) if peer else None
    return _common(
        values,
        mode="listen",
        host=own.address if own else WILDCARD,
        ports=(values.get("own_port", 0),),
        behaviour=_behaviour(values).but(accept_timeout=values.get("wait"), expected=expected),
    )


def _common(values: Values, **facts: Any) -> Config:
    program = _program(values) if "program" in values else None
    if program:  # which has the socket for itself, and is what remains of this process
        values = {name: value for name, value in values.items() if name not in ("crlf", "telnet", "log", "interval")}
    if "hops" in values and facts["mode"] != "listen":
        values = values | {"ip_options": _source_route(values, facts["host"])}
    options = {name: values[name] for name in SocketOptions.__annotations__ if name in values}
    return Config(
        **facts,
        family="ipv4",
        numeric=True,  # the hosts are looked up already
        datagram="datagram" in values,
        program=program,
        pace=values.get("interval"),
        crlf="crlf" in values,
        telnet="telnet" in values,
        logs=Logs(hexadecimal=values.get("log")),
        ending=Ending() if program else _ending(values),
        socket=SocketOptions(**options),
        verbosity=values["verbosity"],
    )


def _ending(values: Values) -> Ending:
    quit_after = values.get("quit_after", -1)
    return Ending(
        half_close=quit_after >= 0,
        at_once=True,
        quit_after=float(quit_after) if quit_after >= 0 else None,
        idle_timeout=values.get("wait"),
    )


def _program(values: Values) -> Program:
    """The program by its path, which is not looked for in PATH."""
    path, command = values["program"], values["shell_command"]
    arguments = () if command is None else ("-c", command)
    return Program(
        argv=(os.path.basename(path), *arguments),
        path=path if "/" in path else os.path.join(os.curdir, path),
        keeps_datagrams=True,
    )


def _source_route(values: Values, host: str) -> bytes:
    """The hops of -g as a loose source route (RFC 791, section 3.1), which ends at the host itself."""
    hops = [*(hop.address for hop in values["hops"]), host]
    route = bytes((LOOSE_SOURCE_ROUTE, 3 + 4 * len(hops), values.get("hop_pointer", 4)))
    return route + b"".join(map(socket.inet_aton, hops)) + bytes((NO_OPERATION,))


# whole: a list of facts
def _behaviour(values: Values) -> Behaviour:
    probes = DatagramProbes(payload=b"\0", at_once=1, later=1, interval=values.get("wait"))
    return Behaviour(
        after_peer="drain",
        idle_ends=True,
        idle_periods=2,
        loss_ends=True,
        answers_signals=False,
        unreadable_ends=True,
        datagrams_stay=True,
        null_counts=True,
        read_size=READ_SIZE,
        addresses="first",
        port_pause=float(values.get("interval", 0)),
        repeat_first_read=True,
        probes=probes if "scan" in values and "datagram" in values else None,
        scan_in_order=True,
        first_address=True,
        backlog=1,
        reuse_port=True,
        bind_tries=BIND_TRIES,
        pauses="around",
        telnet_keeps=True,
        dump_runs_on=True,
        name_of=name_of if values["verbosity"] and "numeric" not in values else None,
    )


def _any_port() -> int:
    import random

    return random.randrange(FIRST_OF_ITS_OWN, 1 << 16)
