"""Multicast and broadcast: a group is joined, everything sent to it arrives, and the answers of all members are shown.

Each test has a network of its own, with an Ethernet interface in it and a route for groups.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest
from harness import DEVNULL, PYNC, Result, Running, announced, failure, require, run, success
from network import network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Inside = Callable[[Sequence[str]], list[str]]

GROUP, GROUP6 = "239.1.2.3", "ff02::1234"
ETHERNET = (
    "ip link add eth0 type veth peer name eth1",
    "ip link set eth1 up",
    "ip link set eth0 up",
    "ip addr add 10.8.0.1/24 brd + dev eth0",
    "ip addr add fe80::77/64 dev eth0 nodad",
)


@pytest.fixture
def inside() -> Iterator[Inside]:
    """A network with an interface eth0, which has the address 10.8.0.1, and a route for groups."""
    with network(*ETHERNET, "ip route add 224.0.0.0/4 dev eth0") as entered:
        yield entered


def listening(inside: Inside, *args: str) -> Running:
    return announced(Running(inside([*PYNC, "-v", "-lu", *args]), stdin=DEVNULL), "Bound")


def asked(inside: Inside, *args: str, question: bytes = b"hello\n") -> Result:
    return run(inside([*PYNC, "-u", *args]), question)


def test_the_answers_of_all_members_of_a_group_are_shown(inside: Inside) -> None:
    port = "0"
    with contextlib.ExitStack() as stack:
        for number in range(3):  # all listen on the port of the first
            server = stack.enter_context(
                listening(inside, "-k", "--lines", "--filter", f"sed -u s/^/{number}:/", GROUP, port)
            )
            port = str(server.port)
        result = asked(inside, "-w", "1", GROUP, port)
        assert result.status == 0
        assert sorted(result.out.splitlines()) == [b"0:hello", b"1:hello", b"2:hello"]


def test_without_a_limit_a_client_leaves_after_the_first_silence(inside: Inside) -> None:
    with listening(inside, "-k", "--filter", "cat", GROUP, "0") as server:
        assert asked(inside, GROUP, str(server.port)) == success(b"hello\n")


def test_a_member_that_answers_late_is_waited_for(inside: Inside) -> None:
    with listening(inside, "-k", "--filter", "cat", GROUP, "0") as early:
        slow = 'while read -r word; do sleep 0.9; echo "late $word"; done'
        with listening(inside, "-k", "--sh-exec", slow, GROUP, str(early.port)):
            assert asked(inside, "-w", "3", GROUP, str(early.port)) == success(b"hello\nlate hello\n")


def test_a_listener_for_one_peer_receives_all_that_it_sends_to_the_group(inside: Inside) -> None:
    with listening(inside, GROUP, "0") as server:
        client = Running(inside([*PYNC, "-u", GROUP, str(server.port)]))
        with client:
            for word in (b"one\n", b"two\n"):
                client.send(word)
                assert server.read_until(b"\n") == word


@pytest.mark.parametrize("client", ["pync", "socat"])
@pytest.mark.parametrize("server", ["pync", "socat"])
def test_a_group_is_asked_by_and_of_socat(inside: Inside, client: str, server: str) -> None:
    port = 5000  # any port is free in a network of its own
    if server == "socat":
        words = f"UDP4-RECVFROM:{port},ip-add-membership={GROUP}:10.8.0.1,fork"
        answering = Running(inside([require("socat"), "-d", "-d", words, "EXEC:cat"]))
    else:
        answering = listening(inside, "-k", "--filter", "cat", GROUP, str(port))
    with answering:
        answering.expect("receiving on|^Bound on")
        if client == "pync":
            assert asked(inside, "-w", "2", GROUP, str(port)) == success(b"hello\n")
        else:
            result = run(inside([require("socat"), "-t", "1", "STDIO", f"UDP4-DATAGRAM:{GROUP}:{port}"]), b"hello\n")
            assert result.out == b"hello\n"


@pytest.mark.parametrize(
    ("options", "group"),
    [((), f"{GROUP6}%eth0"), (("--interface", "eth0"), GROUP6), (("--interface", "eth0"), "ff15::9")],
)
def test_a_group_of_ipv6_is_joined_and_asked(inside: Inside, options: tuple[str, ...], group: str) -> None:
    with listening(inside, "-k", *options, "--filter", "cat", group, "0") as server:
        assert asked(inside, "-w", "2", *options, group, str(server.port)) == success(b"hello\n")


def test_an_interface_stands_for_the_route() -> None:
    with network(*ETHERNET) as inside:
        joined = ("--interface", "eth0", GROUP)
        with listening(inside, "-k", "--filter", "cat", *joined, "0") as server:
            assert asked(inside, "-w", "2", *joined, str(server.port)) == success(b"hello\n")
            memberships = run(inside(["ip", "maddress", "show", "dev", "eth0"])).out
            assert GROUP.encode() in memberships


def test_the_ttl_is_that_of_what_is_sent_to_a_group(inside: Inside) -> None:
    words = f"UDP4-RECVFROM:5000,ip-add-membership={GROUP}:10.8.0.1,ip-recvttl"
    shown = "SYSTEM:echo $SOCAT_IP_TTL"
    with Running(inside([require("socat"), "-u", "-d", "-d", words, shown])) as receiver:
        receiver.expect("receiving on")
        assert asked(inside, "-w0", "-M", "7", GROUP, "5000") == success()
        assert receiver.read_until(b"\n") == b"7\n"


@pytest.mark.parametrize(
    ("options", "host"), [((), "10.8.0.255"), (("--interface", "eth0"), "255.255.255.255"), ((), "10.8.0.1")]
)
def test_a_broadcast_is_answered_by_the_address_of_who_has_received_it(
    inside: Inside, options: tuple[str, ...], host: str
) -> None:
    with listening(inside, "-k", "--filter", "cat", "0") as server:
        assert asked(inside, "-b", "-w", "2", *options, host, str(server.port)) == success(b"hello\n")


def test_a_single_host_refuses_with_permission_for_broadcasts_too(inside: Inside) -> None:
    result = asked(inside, "-b", "10.8.0.1", "9")
    assert result == failure("datagrams to 10.8.0.1:9: Connection refused")


# -- Where it cannot be ----------------------------------------------------------------------------------------------


def one_line(result: Result) -> str:
    assert (result.status, result.out, result.err.count("\n")) == (1, b"", 1)
    return re.sub("^pync: |\n$", "", result.err)


def test_a_group_that_no_route_leads_to_is_one_line() -> None:
    with network() as inside:
        why = "no route leads to it; name an interface with --interface"
        assert one_line(run(inside([*PYNC, "-lu", GROUP, "5000"]))) == f"join {GROUP}: {why}"
        failed = f"connect to {GROUP} port 5000 (udp) failed: Network is unreachable"
        assert one_line(asked(inside, GROUP, "5000")) == failed


def test_an_interface_that_is_not_there_is_one_line(inside: Inside) -> None:
    for argv in (["-lu", "--interface", "eth9", GROUP, "5000"], ["-u", "--interface", "eth9", GROUP, "5000"]):
        assert one_line(run(inside([*PYNC, *argv]))) == "use interface eth9: no interface with this name"


def test_a_group_that_is_one_on_each_link_needs_a_zone(inside: Inside) -> None:
    message = f"join {GROUP6}: it is one on each link; name it {GROUP6}%INTERFACE"
    assert one_line(run(inside([*PYNC, "-lu", GROUP6, "5000"]))) == message
