"""Socket options: each is set where it was asked for, before the socket is used, and on the wire."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest
from harness import DEADLINE, PYNC, Result, free_port, require, run
from loopback import BOTH, DATAGRAM, FOUR, LOCALHOST, SIX, STREAM, bound, ends, listener, port_of, server

from pync.config import Config, SocketOptions
from pync.errors import ConnectError
from pync.net.attempt import new_socket, tune

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pync.loop.kernel import Loop


# -- Options ---------------------------------------------------------------------------------------------------------

SOL, IP, IPV6 = socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6
OPTIONS: list[tuple[dict[str, Any], int, tuple[int, int], int]] = [
    ({"broadcast": True}, family, (SOL, socket.SO_BROADCAST), 1) for family in (FOUR, SIX)
]
OPTIONS += [({"debug": True}, family, (SOL, socket.SO_DEBUG), 1) for family in (FOUR, SIX)]
OPTIONS += [({"keepalive": True}, family, (SOL, socket.SO_KEEPALIVE), 1) for family in (FOUR, SIX)]
OPTIONS += [({"receive_buffer": 8000}, family, (SOL, socket.SO_RCVBUF), 16000) for family in (FOUR, SIX)]
OPTIONS += [({"send_buffer": 9000}, family, (SOL, socket.SO_SNDBUF), 18000) for family in (FOUR, SIX)]
OPTIONS += [
    ({"tos": 0x28}, FOUR, (IP, socket.IP_TOS), 0x28),
    ({"tos": 0x28}, SIX, (IPV6, socket.IPV6_TCLASS), 0x28),
    ({"ttl": 7}, FOUR, (IP, socket.IP_TTL), 7),
    ({"ttl": 7}, SIX, (IPV6, socket.IPV6_UNICAST_HOPS), 7),
    ({"min_ttl": 9}, FOUR, (IP, 21), 9),  # IP_MINTTL, which Python does not name
    ({"min_ttl": 9}, SIX, (IPV6, 73), 9),  # IPV6_MINHOPCOUNT
]


@pytest.mark.parametrize(
    ("facts", "family", "option", "value"),
    [pytest.param(*case, id=f"{next(iter(case[0]))}-{case[1].name}") for case in OPTIONS],  # type: ignore[attr-defined]
)
def test_an_option_that_was_asked_for_is_set_and_no_other(
    facts: dict[str, Any], family: int, option: tuple[int, int], value: int
) -> None:
    for datagram in (False, True):
        with contextlib.closing(
            new_socket(family, Config(mode="connect", socket=SocketOptions(**facts), datagram=datagram))
        ) as sock:
            assert sock.getsockopt(*option) == value
            assert not sock.getblocking()
        with contextlib.closing(new_socket(family, Config(mode="connect", datagram=datagram))) as sock:
            assert sock.getsockopt(*option) != value


@pytest.mark.usefixtures("no_leak")
@pytest.mark.parametrize(
    ("family", "facts", "line"),
    [
        (FOUR, {"ttl": 0}, "set the TTL to 0: Invalid argument"),
        (FOUR, {"ttl": 256}, "set the TTL to 256: Invalid argument"),
        (SIX, {"ttl": 256}, "set the TTL to 256: Invalid argument"),
        (FOUR, {"min_ttl": 256}, "set the minimum TTL to 256: Invalid argument"),
        (SIX, {"min_ttl": 256}, "set the minimum TTL to 256: Invalid argument"),
        (SIX, {"tos": 256}, "set the type of service to 256: Invalid argument"),
    ],
)
def test_an_option_that_is_refused_is_named(family: int, facts: dict[str, Any], line: str) -> None:
    with pytest.raises(ConnectError) as caught:
        new_socket(family, Config(mode="connect", socket=SocketOptions(**facts)))
    assert str(caught.value) == line


def test_a_tcp_conversation_is_prompt_and_notices_a_vanished_peer() -> None:
    with server() as listening, socket.create_connection(listening.getsockname()) as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(SOL, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_what_is_no_tcp_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(FOUR, DATAGRAM) as udp, socket.socket() as closed:
        for sock in (ours, udp):
            tune(sock)
            assert sock.getsockopt(SOL, socket.SO_KEEPALIVE) == 0
        closed.detach()
        tune(closed)  # a connection that has closed already is no failure


# -- From the command line to the wire ---------------------------------------------------------------------------------


@BOTH
def test_source_address_and_port_are_those_the_server_sees(family: int) -> None:
    host = "127.0.0.3" if family == FOUR else "::1"
    with free_port() as own, server(LOCALHOST[family]) as listening:  # a port held on another address is free on this
        argv = ["-z", "-s", host, "-p", str(own), LOCALHOST[family], str(port_of(listening))]
        assert run([*PYNC, *argv]) == Result(0, b"", "")
        with listening.accept()[0] as conn:
            assert conn.getpeername()[:2] == (host, own)


@pytest.mark.parametrize("options", [(), ("-z",), ("-u",)])
def test_a_source_that_cannot_be_had_is_one_line_and_nothing_is_sent(options: tuple[str, ...]) -> None:
    with socket.socket(FOUR, DATAGRAM if "-u" in options else STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        if "-u" not in options:
            listening.listen()
        result = run([*PYNC, *options, "-s", "192.0.2.1", "127.0.0.1", str(port_of(listening))], b"hello")
        assert result == Result(1, b"", "pync: bind to 192.0.2.1:0: Cannot assign requested address\n")
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.recv(1) if "-u" in options else listening.accept()


@BOTH
def test_type_of_service_and_time_to_live_are_those_of_the_packets(family: int) -> None:
    level, wanted, reported_by = (
        (IPV6, (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT), (socket.IPV6_TCLASS, socket.IPV6_HOPLIMIT))
        if family == SIX
        else (IP, (socket.IP_RECVTOS, getattr(socket, "IP_RECVTTL", 12)), (socket.IP_TOS, socket.IP_TTL))
    )
    with socket.socket(family, DATAGRAM) as sock:
        sock.bind((LOCALHOST[family], 0))
        sock.settimeout(DEADLINE)
        for option in wanted:
            sock.setsockopt(level, option, 1)
        argv = ["-u", "--send-only", "-T", "af11", "-M", "9", LOCALHOST[family], str(port_of(sock))]
        assert run([*PYNC, *argv], b"hello").status == 0
        facts = {kind: data[0] for _, kind, data in sock.recvmsg(100, 1000)[1]}
        assert [facts[kind] for kind in reported_by] == [0x28, 9]


@BOTH
async def test_packets_that_came_too_far_are_dropped(real_loop: Loop, family: int) -> None:
    host = LOCALHOST[family]
    async with bound(real_loop, listener(host, socket=SocketOptions(min_ttl=100))) as here:
        port = str(ends(here)[0][1])
        near = run([*PYNC, "-M", "120", "-z", "-w", "10", host, port])
        far = run([*PYNC, "-M", "90", "-zv", "-w", "0.3", host, port])
    assert near.status == 0
    assert (far.status, far.err) == (1, f"pync: connect to {host} port {port} (tcp) timed out\n")


SET = {
    "-b": r"SOL_SOCKET, SO_BROADCAST, \[1\]",
    "-D": r"SOL_SOCKET, SO_DEBUG, \[1\]",
    "--tcp-keepalive": r"SOL_SOCKET, SO_KEEPALIVE, \[1\]",
    "-I 4096": r"SOL_SOCKET, SO_RCVBUF, \[4096\]",
    "-O 8192": r"SOL_SOCKET, SO_SNDBUF, \[8192\]",
    "-T lowdelay": r"SOL_IP, IP_TOS, \[16\]|SOL_IPV6, IPV6_TCLASS, \[16\]",
    "-M 64": r"SOL_IP, IP_TTL, \[64\]|SOL_IPV6, IPV6_UNICAST_HOPS, \[64\]",
    "-m 1": r"SOL_IP, IP_MINTTL, \[1\]|SOL_IPV6, IPV6_MINHOPCOUNT, \[1\]|SOL_IPV6, 0x49.*, \[1\]",
}


@BOTH
@pytest.mark.parametrize("options", [("-w", "5"), ("-l", "-w", "0.1")], ids=["connect", "listen"])
def test_each_option_is_set_before_the_socket_is_used(family: int, options: tuple[str, ...], tmp_path: Path) -> None:
    """The run ends by itself: connecting is refused, and this host does not have the address to listen on."""
    host = LOCALHOST[family] if "-l" not in options else "192.0.2.77" if family == FOUR else "2001:db8::77"
    words = [word for option in SET for word in option.split()]
    with free_port() as port:
        trace = ["-qq", "-e", "trace=setsockopt,bind,connect", "-o", str(tmp_path / "trace")]
        result = run([require("strace"), *trace, *PYNC, *options, *words, host, str(port)])
    assert result.status == 1
    calls = (tmp_path / "trace").read_text().splitlines()
    used = next(
        number for number, call in enumerate(calls) if re.match(r"(bind|connect)\(\d+, \{sa_family=AF_INET", call)
    )
    found = [next((n for n, call in enumerate(calls) if re.search(SET[option], call)), used) for option in SET]
    assert all(number < used for number in found), calls
