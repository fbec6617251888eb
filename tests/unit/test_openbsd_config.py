"""The command line of nc.openbsd as a config: what each option asks for, and how nc.openbsd behaves."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from pync.behaviour import Behaviour, DatagramProbes
from pync.config import Config, Ending, Proxy, SocketOptions
from pync.faces.openbsd.config import behaviour, config
from pync.faces.openbsd.options import read

if TYPE_CHECKING:
    from typing import Any

PLAIN = Config(
    mode="connect",
    host="h",
    ports=(1,),
    ending=Ending(half_close=False, at_once=True),
    behaviour=behaviour({}),
)
LISTENER = PLAIN.but(mode="listen", family="ipv4", host=None, behaviour=behaviour({"listen": True}))


def asked(line: str) -> Config:
    return config(*read(shlex.split(line)))


def socket_options(**facts: Any) -> Config:
    return PLAIN.but(socket=SocketOptions(**facts))


ROWS = {
    "h 1": PLAIN,
    "-4 h 1": PLAIN.but(family="ipv4"),
    "-6 -4 -6 h 1": PLAIN.but(family="ipv6"),
    "-n h 1": PLAIN.but(numeric=True),
    "h 3-1 tcpmux": PLAIN.but(ports=(1, 2, 3, 1)),
    "-r h 1 2": PLAIN.but(ports=(1, 2), shuffle=True),
    "-s a -p 5 h 1": PLAIN.but(source_host="a", source_port=5),
    "-d h 1": PLAIN.but(send=False),
    "-C h 1": PLAIN.but(crlf=True),
    "-t h 1": PLAIN.but(telnet=True),
    "-F h 1": PLAIN.but(pass_descriptor=True),
    "-i 2 h 1": PLAIN.but(pace=2),
    "-i 0 h 1": PLAIN,
    "-N h 1": PLAIN.but(ending=Ending(half_close=True, at_once=True)),
    "-q 3 h 1": PLAIN.but(ending=Ending(half_close=True, at_once=True, quit_after=3.0)),
    "-q -1 h 1": PLAIN,
    "-q 0 -q -5 h 1": PLAIN.but(ending=Ending(half_close=True, at_once=True)),
    "-w 5 h 1": PLAIN.but(connect_timeout=5, ending=Ending(half_close=False, at_once=True, idle_timeout=5)),
    "-w 0 h 1": PLAIN.but(ending=Ending(half_close=False, at_once=True, idle_timeout=0)),
    "-W 4 h 1": PLAIN.but(ending=Ending(half_close=False, at_once=True, receive_limit=4)),
    "-bD h 1": socket_options(broadcast=True, debug=True),
    "-I 1 -O 2 -M 3 -m 4 h 1": socket_options(receive_buffer=1, send_buffer=2, ttl=3, min_ttl=4),
    "-T ef h 1": socket_options(tos=0xB8),
    "-T 0x10 h 1": socket_options(tos=0x10),
    "-P me h 1": PLAIN,
    "-X connect h 1": PLAIN,
    "-x p h 1": PLAIN.but(proxy=Proxy(kind="socks5", host="p", port=1080, password=None)),
    "-x p:5 -X 4 h 1": PLAIN.but(proxy=Proxy(kind="socks4", host="p", port=5, password=None, remote_names=False)),
    "-x [::1] -X CONNECT -P me h 1": PLAIN.but(
        proxy=Proxy(kind="http", host="::1", port=3128, user="me", password=None)
    ),
    "-x ::1:5 h 1": PLAIN.but(proxy=Proxy(kind="socks5", host="::1", port=5, password=None)),
    "-U path": PLAIN.but(family="unix", host="path", ports=()),
    "-l 5": LISTENER.but(ports=(5,)),
    "-l -p 5": LISTENER.but(ports=(5,)),
    "-l a 5": LISTENER.but(family="any", host="a", ports=(5,)),
    "-l -p 5 -s a": LISTENER.but(family="any", host="a", ports=(5,)),
    "-l6 5": LISTENER.but(family="ipv6", ports=(5,)),
    "-l tcpmux": LISTENER,
    "-lk 5": LISTENER.but(keep_open=True, ports=(5,)),
    "-lU path": LISTENER.but(family="unix", host="path", ports=()),
    "-lU -s path": LISTENER.but(family="unix", host="path", ports=()),
}


@pytest.mark.parametrize("line", ROWS)
def test_a_command_line_asks_for(line: str) -> None:
    assert asked(line) == ROWS[line]


def way(line: str) -> Behaviour:
    found = asked(line).behaviour
    assert found
    return found


def test_a_client_goes_on_sending_and_a_listener_sends_what_is_ready() -> None:
    assert way("h 1").after_peer == "stay"
    assert way("-U path").after_peer == "stay"
    assert way("-l 1").after_peer == "drain"


def test_the_quit_timer_of_a_client_of_streams_alone_runs_from_the_end_of_both() -> None:
    assert (way("h 1").quit_from, way("h 1").quit_discards) == ("both", False)
    for line in "-u h 1", "-l 1", "-lu 1":
        assert (way(line).quit_from, way(line).quit_discards) == ("either", True)


def test_ports_of_udp_are_probed_with_v_alone() -> None:
    assert way("-u h 1").probes is None
    assert way("-uv h 1").probes == DatagramProbes(payload=b"X", at_once=2, later=3, interval=1.0)
    assert way("-uvzw 7 h 1").probes == DatagramProbes(payload=b"X", at_once=2, later=7, interval=1.0)
    assert way("-uz h 1").probes == DatagramProbes(payload=b"X", at_once=0, later=0)
    assert way("-v h 1").probes is None


def test_a_client_of_unix_datagrams_has_a_path_of_its_own() -> None:
    assert way("-uU path").temporary_path
    assert not way("-uU -s own path").temporary_path
    assert not way("-luU path").temporary_path
    assert asked("-uU -s own path").source_host == "own"


def test_names_are_looked_up_if_they_are_shown() -> None:
    assert way("-lv 1").name_of
    assert not way("-l 1").name_of
    assert not way("-lvn 1").name_of
