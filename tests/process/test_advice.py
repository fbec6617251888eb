"""Failures for which the system has one word and the user needs another: what pync says behind it, in every role."""

from __future__ import annotations

import re

import pytest
from harness import PYNC, failure, listen, pync, run, success

ZONE = "Invalid argument; name its interface, as in fe80::1%eth0"
BROADCAST = "connect to 255.255.255.255 port 9 (udp) failed: Permission denied; a broadcast address needs -b"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("fe80::1 9", "connect to fe80::1 port 9 (tcp) failed"),
        ("-v fe80::1 9", "connect to fe80::1 port 9 (tcp) failed"),
        ("-u fe80::1 9", "connect to fe80::1 port 9 (udp) failed"),
        ("-zv fe80::1 9", "connect to fe80::1 port 9 (tcp) failed"),
        ("-l fe80::1 9999", "listen on [fe80::1]:9999"),
        ("-s fe80::1 ::1 9", "bind to [fe80::1]:0"),
    ],
)
def test_a_link_local_address_needs_its_interface(words: str, what: str) -> None:
    assert run([*PYNC, *words.split()]) == failure(f"{what}: {ZONE}")


@pytest.mark.parametrize("words", ["-u", "-vu", "-zvu"])
def test_a_broadcast_address_needs_an_option(words: str) -> None:
    assert run([*PYNC, words, "255.255.255.255", "9"], b"x") == failure(BROADCAST)


def test_a_forwarder_to_a_broadcast_address_needs_an_option() -> None:
    listener = listen("-uk", "--to", "255.255.255.255:9", "127.0.0.1", "0")
    with listener as server, pync("-u", "127.0.0.1", str(server.port)) as client:
        client.send(b"x")
        server.expect(f"^pync: {re.escape(BROADCAST)}$")


def test_a_broadcast_on_loopback_is_sent_with_the_option() -> None:
    assert run([*PYNC, "-ub", "--send-only", "127.255.255.255", "9"], b"x") == success()
