"""The command line of nc.traditional as a config: what each option asks for, and how nc.traditional behaves."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.behaviour import DatagramProbes
from pync.config import Config, Ending, Logs, Program, SocketOptions
from pync.faces.traditional.command_line import read
from pync.faces.traditional.config import asked
from pync.faces.traditional.hosts import UNKNOWN, Host, look_up, name_of
from pync.faces.traditional.options import Refused, atoi

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"


def config(line: str) -> Config:
    found = asked(*read(shlex.split(line))).config
    assert found
    return found


PLAIN = config(f"{HOST} 1")
LISTENER = config("-l -p 5")
WAY = PLAIN.behaviour
assert WAY

ROWS = {
    f"{HOST} 1-3": PLAIN.but(ports=(3, 2, 1)),
    f"{HOST} 3-1": PLAIN.but(ports=(3,)),
    f"{HOST} 5 1-2 9": PLAIN.but(ports=(5, 2, 1, 9)),
    f"-v {HOST} 1 -n": PLAIN.but(verbosity=1),
    f"-s 127.0.0.2 -p 5 {HOST} 1": PLAIN.but(source_host="127.0.0.2", source_port=5),
    f"-q 3 {HOST} 1": PLAIN.but(ending=Ending(half_close=True, at_once=True, quit_after=3.0)),
    f"-q 0 {HOST} 1": PLAIN.but(ending=Ending(half_close=True, at_once=True, quit_after=0.0)),
    f"-q abc {HOST} 1": PLAIN.but(ending=Ending(half_close=True, at_once=True, quit_after=0.0)),
    f"-q -1 {HOST} 1": PLAIN,
    f"-w 1.5 {HOST} 1": PLAIN.but(connect_timeout=1, ending=Ending(half_close=False, at_once=True, idle_timeout=1)),
    f"-w -1 {HOST} 1": PLAIN,
    f"-i 2 {HOST} 1": PLAIN.but(pace=2, behaviour=WAY.but(port_pause=2.0)),
    f"-C {HOST} 1": PLAIN.but(crlf=True),
    f"-t {HOST} 1": PLAIN.but(telnet=True),
    f"-bk {HOST} 1": PLAIN.but(socket=SocketOptions(broadcast=True, keepalive=True)),
    f"-T Minimize-Delay {HOST} 1": PLAIN.but(socket=SocketOptions(tos=0x10)),
    f"-T nonsense {HOST} 1": PLAIN,
    f"-g 127.0.0.9 -G 8 {HOST} 1": PLAIN.but(socket=SocketOptions(ip_options=b"\x83\x0b\x08\x7f\0\0\x09\x7f\0\0\1\1")),
    f"-e /bin/cat {HOST} 1": PLAIN.but(
        program=Program(argv=("cat",), path="/bin/cat", keeps_datagrams=True), ending=Ending()
    ),
    f"-c 'exit 3' {HOST} 1": PLAIN.but(
        program=Program(argv=("sh", "-c", "exit 3"), path="/bin/sh", keeps_datagrams=True), ending=Ending()
    ),
    f"-z {HOST} 1": PLAIN.but(mode="scan"),
    f"-uz {HOST} 1": PLAIN.but(
        mode="scan",
        datagram=True,
        behaviour=WAY.but(probes=DatagramProbes(payload=b"\0", at_once=1, later=1, interval=None)),
    ),
    "-l": LISTENER.but(ports=(0,)),
    "-l -p 5 -s 127.0.0.2": LISTENER.but(host="127.0.0.2"),
    "-l -p 5 127.0.0.2": LISTENER.but(behaviour=WAY.but(expected=("127.0.0.2", None))),
    "-l -p 5 127.0.0.2 7": LISTENER.but(behaviour=WAY.but(expected=("127.0.0.2", 7))),
    "-l -p 5 -w 3": LISTENER.but(
        behaviour=WAY.but(accept_timeout=3), ending=Ending(half_close=False, at_once=True, idle_timeout=3)
    ),
}


@pytest.mark.parametrize("line", ROWS)
def test_a_command_line_asks_for(line: str) -> None:
    expected = ROWS[line]
    found = config(line)
    assert found.behaviour
    assert found.but(behaviour=found.behaviour.but(name_of=None)) == expected


def test_a_dump_is_made_before_hosts_are_looked_up_and_none_with_a_program(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old")
    with pytest.raises(Refused, match="Can't parse"):
        config(f"-n -o {log} host 1")
    assert log.read_text() == ""
    assert config(f"-o {log} {HOST} 1").logs == Logs(hexadecimal=str(log))
    assert config(f"-o {log} -e /bin/cat {HOST} 1").logs == Logs()


def test_a_faulty_port_is_reported_after_those_before_it() -> None:
    found = asked(*read([HOST, "1", "2", "x", "3"]))
    assert found.config
    assert found.config.ports == (1, 2)
    assert found.fault
    assert found.fault.text == "invalid port x"
    assert asked(*read([HOST, "x"])).config is None


def test_a_run_about_one_port_has_that_ports_status() -> None:
    single = [
        asked(*read([HOST, *ports])).single for ports in (["1"], ["1-1"], ["3-1"], ["1-2"], ["1", "2"], ["1", "x"])
    ]
    assert single == [True, True, True, False, False, False]


def test_random_ports_are_those_of_a_range_and_our_own_is_a_high_one() -> None:
    found = config(f"-r {HOST} 1-50 60-99")
    assert sorted(found.ports[:50]) == [*range(1, 51)]
    assert found.ports[:50] != tuple(range(50, 0, -1))
    assert found.source_port
    assert found.source_port >= 8192


@given(st.integers(-(10**30), 10**30), st.sampled_from(["", "x", " 5", ".5", "-"]))
def test_a_number_is_read_as_far_as_it_goes(number: int, rest: str) -> None:
    assert atoi(f" {number}{rest}") == (abs(number) % 10**20) * (-1 if number < 0 else 1)


def test_what_is_no_number_is_zero() -> None:
    assert [atoi(text) for text in ("", "x", "-", "+-5", " ")] == [0, 0, 0, 0, 0]


# -- Hosts


def test_an_address_has_no_name_unless_names_are_wanted() -> None:
    for text in HOST, "0x7f.1", "2130706433":
        for numeric, verbose in (True, True), (False, False):
            assert look_up(text, numeric=numeric, verbose=verbose) == Host(name=UNKNOWN, address=HOST)


def test_an_address_without_a_name_is_remarked() -> None:
    remark = "127.0.0.77: inverse host lookup failed: Unknown host"
    assert name_of("127.0.0.77") == Host(name=UNKNOWN, address="127.0.0.77", remarks=(remark,))
