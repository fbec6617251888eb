"""`--interface` for one host: connections are made by it, and a listener is reached by it alone.

Each test has two networks with an Ethernet cable between them. In the first, the usual route to the second one's
address leads nowhere.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from harness import DEVNULL, PYNC, Result, Running, announced, require, run, success
from network import ROOT, network

from pync.net import interface
from pync.net.interface import on_interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Inside = Callable[[Sequence[str]], list[str]]

pytestmark = pytest.mark.skipif(not ROOT, reason="needs root")

NEAR = (
    "ip link add eth0 type veth peer name eth1",
    "ip link add nowhere type veth peer name end",
    "ip link set end up",
    "ip link set nowhere up",
    "ip addr add 10.8.1.1/24 dev nowhere",
    "ip route add 10.8.0.2 dev nowhere",
    "ip addr add fd00:1::1/64 dev nowhere nodad",
    "ip route add fd00::2 dev nowhere metric 1",
)
CABLE = (
    "ip link set eth0 up",
    "ip addr add 10.8.0.1/24 dev eth0",
    "ip addr add fd00::1/64 dev eth0 nodad",
)
FAR = ("ip link set eth1 up", "ip addr add 10.8.0.2/24 dev eth1", "ip addr add fd00::2/64 dev eth1 nodad")
HOSTS = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
ADDRESS = {4: "10.8.0.{}", 6: "fd00::{}"}
KINDS = pytest.mark.parametrize("kind", [[], ["-u"]], ids=["TCP", "UDP"])


@pytest.fixture
def cabled() -> Iterator[tuple[Inside, Inside]]:
    """Both networks."""
    with network(*NEAR) as near, network("true") as far:
        holder = far([])[2]
        for command in (f"ip link set eth1 netns {holder}", *CABLE):
            assert run(near(command.split())) == success(), command
        for command in FAR:
            assert run(far(command.split())) == success(), command
        yield near, far


def serving(inside: Inside, *args: str) -> Running:
    word = "Bound" if "-u" in args else "Listening"
    return announced(Running(inside([*PYNC, "-v", "-lk", "-c", "echo $PYNC_REMOTE_ADDR", *args]), stdin=DEVNULL), word)


def asked(inside: Inside, *args: str) -> Result:
    return run(inside([*PYNC, "-w", "3", *args]), b"x\n")


@HOSTS
@KINDS
def test_a_client_connects_by_the_interface_whatever_the_routes_are(
    kind: list[str], family: int, cabled: tuple[Inside, Inside]
) -> None:
    near, far = cabled
    ours, theirs = (ADDRESS[family].format(number) for number in (1, 2))
    with serving(far, *kind, theirs, "0") as server:
        by = asked(near, *kind, "--interface", "eth0", theirs, str(server.port))
        assert by == success(f"{ours}\n".encode())
        assert asked(near, *kind, "-w", "1", theirs, str(server.port)).out == b""


@HOSTS
def test_a_scan_goes_by_the_interface(family: int, cabled: tuple[Inside, Inside]) -> None:
    near, far = cabled
    theirs = ADDRESS[family].format(2)
    with serving(far, theirs, "0") as server:
        assert asked(near, "-z", "--interface", "eth0", theirs, str(server.port)).status == 0
        assert asked(near, "-z", "-w", "1", theirs, str(server.port)).status == 1


@HOSTS
@KINDS
def test_a_listener_is_reached_by_the_interface_alone(
    kind: list[str], family: int, cabled: tuple[Inside, Inside]
) -> None:
    near, far = cabled
    ours, theirs = (ADDRESS[family].format(number) for number in (1, 2))
    with serving(far, f"-{family}", *kind, "--interface", "eth1", "0") as server:
        assert asked(near, *kind, "--interface", "eth0", theirs, str(server.port)).out == f"{ours}\n".encode()
        loopback = "127.0.0.1" if family == 4 else "::1"
        assert asked(far, *kind, "-w", "1", loopback, str(server.port)).out == b""


def test_a_listener_for_one_sender_answers_by_the_interface(cabled: tuple[Inside, Inside]) -> None:
    near, far = cabled
    argv = far([*PYNC, "-v", "-lu", "-4", "--interface", "eth1", "-e", "/bin/cat", "0"])
    with announced(Running(argv, stdin=DEVNULL), "Bound") as server:
        assert asked(near, "-u", "--interface", "eth0", "10.8.0.2", str(server.port)).out == b"x\n"


def test_where_the_device_is_not_permitted_its_address_is_used(cabled: tuple[Inside, Inside]) -> None:
    require("strace")
    near, far = cabled
    assert run(near(["ip", "route", "del", "10.8.0.2", "dev", "nowhere"])).status == 0
    with serving(far, "10.8.0.2", "0") as server:
        refused = ["strace", "-o", "/dev/null", "-e", "trace=setsockopt"]
        refused += ["-e", "inject=setsockopt:error=EPERM:when=1"]
        argv = near([*refused, *PYNC, "--interface", "eth0", "10.8.0.2", str(server.port)])
        assert run(argv) == success(b"10.8.0.1\n")


@pytest.mark.parametrize(
    ("family", "where"), [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0, 0, 0))], ids=["IPv4", "IPv6"]
)
def test_a_listener_takes_the_address_of_the_interface_instead(
    family: int, where: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interface, "bind_to_device", lambda sock, name: False)
    with socket.socket(family) as sock:
        assert on_interface(sock, "lo", ("::" if len(where) > 2 else "0.0.0.0", *where[1:])) == where
        with pytest.raises(OSError, match="to choose interface lo for one of its addresses"):
            on_interface(sock, "lo", ("127.0.0.2", 0))


@pytest.mark.parametrize("argv", [["127.0.0.1", "1"], ["-u", "127.0.0.1", "1"], ["-l", "0"], ["-lu", "0"]])
def test_an_interface_that_is_not_there_is_one_line(argv: list[str]) -> None:
    result = run([*PYNC, "--interface", "eth9", *argv])
    assert (result.status, result.err) == (1, "pync: use interface eth9: no interface with this name\n")


def test_an_interface_without_an_address_is_one_line(cabled: tuple[Inside, Inside]) -> None:
    near, _ = cabled
    assert run(near(["ip", "link", "add", "bare", "type", "veth"])).status == 0
    refused = ["strace", "-o", "/dev/null", "-e", "inject=setsockopt:error=EPERM:when=1"]
    result = run(near([*refused, *PYNC, "--interface", "bare", "10.8.0.2", "1"]))
    assert result.status == 1
    assert "interface bare has no IPv4 address" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-U", "/x"], "--interface with -U: a unix socket is on no network"),
        (["--vsock", "1", "1"], "--vsock with --interface: the addresses are of another kind"),
    ],
)
def test_an_interface_is_for_the_network_alone(options: list[str], message: str) -> None:
    result = run([*PYNC, "--interface", "lo", *options])
    assert (result.status, result.err.splitlines()[0]) == (2, f"pync: {message}")
