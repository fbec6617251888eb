"""From events to lines on stderr: the wording, and from how many -v on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pync.config import Config, SocketOptions
from pync.errors import BindError, ConnectError, InputError, PeerLost, PyncError
from pync.events import Address, Connected, ConnectFailed, Event, Retrying, TlsEstablished, Unanswered
from pync.faces.native.messages import TIMES, Messages
from pync.listener_events import (
    Accepted,
    AcceptingPauses,
    CertificateMade,
    ConnectionOver,
    Denied,
    KeyExposed,
    Listening,
    OpenProgram,
    OpenProxy,
    RulesKept,
    RulesRead,
    SessionCrashed,
    SessionFailed,
    StdinNotKept,
    StdinOver,
)

if TYPE_CHECKING:
    Stderr = pytest.CaptureFixture[str]

CONNECT = Config(mode="connect", host="h", ports=(1,))
LISTEN = Config(mode="listen", ports=(8080,))
UNIX = CONNECT.but(family="unix", host="p", ports=())

WEB = Address(host="127.0.0.1", port=80)
REFUSED = ConnectFailed(host="h", address=WEB, transport="tcp", why="Connection refused")
TIMED_OUT = REFUSED.but(why="Connection timed out", timed_out=True)
OPEN = Connected(host="127.0.0.1", address=WEB, transport="tcp")
EXHAUSTED = ConnectError("connect to h port 80 (tcp) failed", "Connection refused")
SECURED = TlsEstablished(
    peer=Address(host="192.0.2.1", port=443), protocol="TLSv1.3", cipher="AES", alpn=None, certificate=None
)


@pytest.mark.parametrize(
    ("event", "verbosity", "line"),
    [
        (Listening(address=Address(host="0.0.0.0", port=8080), transport="tcp"), 1, "Listening on 0.0.0.0 8080"),
        (Listening(address=Address(host="::", port=8080), transport="tcp"), 1, "Listening on :: 8080"),
        (Accepted(peer=Address(host="127.0.0.1", port=4), transport="tcp"), 1, "Connection received on 127.0.0.1 4"),
        (OPEN, 1, "Connection to 127.0.0.1 80 port [tcp/http] succeeded!"),
        (OPEN.but(host="localhost"), 1, "Connection to localhost (127.0.0.1) 80 port [tcp/http] succeeded!"),
        (OPEN.but(address=WEB.but(port=1023)), 1, "Connection to 127.0.0.1 1023 port [tcp/*] succeeded!"),
        (
            OPEN.but(address=WEB.but(port=69), transport="udp"),
            1,
            "Connection to 127.0.0.1 69 port [udp/tftp] succeeded!",
        ),
        (StdinOver(peer=WEB), 1, "pync: stdin had ended before 127.0.0.1:80 came, which is sent nothing"),
        (StdinNotKept(why="why"), 0, "pync: stdin is not kept for later clients any more: why"),
        (REFUSED, 1, "pync: connect to h (127.0.0.1) port 80 (tcp) failed: Connection refused"),
        (
            REFUSED.but(host="127.0.0.1"),
            1,
            "pync: connect to 127.0.0.1 port 80 (tcp) failed: Connection refused",
        ),
        (TIMED_OUT, 1, "pync: connect to h (127.0.0.1) port 80 (tcp) timed out"),
        (Unanswered(peer=WEB, seconds=0.5), 1, "pync: no answer from 127.0.0.1:80 within 0.5 s"),
        (Denied(peer=WEB, why="not allowed"), 1, "pync: connection from 127.0.0.1 80 denied: not allowed"),
        (
            SessionFailed(peer=WEB, error=PeerLost("to h", "reset", unsent=2)),
            0,
            "pync: to h: reset, 2 bytes were not sent",
        ),
        (
            SessionCrashed(peer=WEB, trace="ValueError: odd, from a.py:3 in f", times=1),
            0,
            "pync: session of 127.0.0.1 80 ended by a bug in pync: ValueError: odd, from a.py:3 in f",
        ),
        (
            SessionCrashed(peer=WEB, trace="ValueError: odd, from a.py:3 in f", times=1000),
            0,
            "pync: session of 127.0.0.1 80 ended by a bug in pync, for the 1,000th time",
        ),
        (AcceptingPauses(why="Too many open files"), 0, "pync: accepting clients pauses: Too many open files"),
        (
            ConnectionOver(peer=WEB, why=None, unacknowledged=0),
            0,
            "pync: 127.0.0.1:80 has ended the connection; connecting again",
        ),
        (
            ConnectionOver(peer=WEB, why="Connection reset by peer", unacknowledged=1),
            0,
            "pync: connection to 127.0.0.1:80: Connection reset by peer, 1 byte not acknowledged; connecting again",
        ),
        (RulesRead(), 1, "pync: the access lists were read again"),
        (
            RulesKept(error=InputError("hosts", "Permission denied")),
            0,
            "pync: the access lists stay as they were: hosts: Permission denied",
        ),
        (Retrying(error=EXHAUSTED, pause=0.5), 2, f"pync: {EXHAUSTED}; the next attempt is in 0.5 s"),
        (SECURED, 1, "pync: TLSv1.3 with 192.0.2.1:443: AES, no ALPN, no certificate"),
        (
            SECURED.but(alpn="h2", certificate="CN=h"),
            1,
            "pync: TLSv1.3 with 192.0.2.1:443: AES, ALPN h2, CN=h",
        ),
        (KeyExposed(path="a.key"), 0, "pync: warning: other users can read the key in a.key; see chmod(1)"),
        (CertificateMade(fingerprint="sha256:ab"), 0, "pync: no --ssl-cert: one was made, for this run, sha256:ab"),
        (
            OpenProxy(address=Address(host="0.0.0.0", port=1080)),
            0,
            "pync: warning: every host can use the proxy on 0.0.0.0:1080; see --proxy-auth and --allow",
        ),
        (
            OpenProgram(address=Address(host="0.0.0.0", port=1080)),
            0,
            "pync: warning: any host can run the program on port 1080; see --allow",
        ),
    ],
)
def test_an_event_is_reported_from_its_verbosity_on(event: Event, verbosity: int, line: str, capfd: Stderr) -> None:
    for given in range(4):
        Messages(CONNECT.but(verbosity=given)).report(event)
        time = r"\d\d:\d\d:\d\d\.\d{3} " if given >= TIMES else ""
        assert re.fullmatch(f"{time}{re.escape(line)}\n" if given >= verbosity else "", capfd.readouterr().err)


@pytest.mark.parametrize(
    ("config", "event", "line"),
    [
        (LISTEN.but(datagram=True), Listening(address=WEB, transport="udp"), "Bound on 127.0.0.1 80"),
        (UNIX, Listening(address=Address(host="p"), transport="unix"), "Listening on p"),
        (UNIX.but(datagram=True), Listening(address=Address(host="p"), transport="unix"), "Bound on p"),
        (UNIX, Accepted(peer=Address(host=""), transport="unix"), "Connection received on p"),
        (UNIX, Accepted(peer=Address(host="q"), transport="unix"), "Connection received on q"),
        (
            UNIX,
            Accepted(peer=Address(host="\x1b[2Jé\n\udcff"), transport="unix"),
            "Connection received on \\x1b[2Jé\\n\\udcff",
        ),
        (UNIX, Connected(host="p", address=Address(host="p"), transport="unix"), "Connection to p succeeded!"),
        (
            UNIX,
            ConnectFailed(host="p", address=Address(host="p"), transport="unix", why="No such file or directory"),
            "pync: connect to p failed: No such file or directory",
        ),
        (CONNECT.but(numeric=True), OPEN, "Connection to 127.0.0.1 80 port [tcp/*] succeeded!"),
    ],
)
def test_the_wording_depends_on_the_kind_of_socket(config: Config, event: Event, line: str, capfd: Stderr) -> None:
    Messages(config.but(verbosity=1)).report(event)
    assert capfd.readouterr().err == f"{line}\n"


UDP = CONNECT.but(datagram=True)
BROADCAST = ConnectError("connect to 192.0.2.255 port 9 (udp) failed", "Permission denied")


@pytest.mark.parametrize(
    ("config", "error", "line"),
    [
        (UDP, BROADCAST, f"{BROADCAST}; a broadcast address needs -b"),
        (UDP.but(mode="listen"), BROADCAST, f"{BROADCAST}; a broadcast address needs -b"),
        (UDP.but(socket=SocketOptions(broadcast=True)), BROADCAST, f"{BROADCAST}"),
        (CONNECT, BROADCAST, f"{BROADCAST}"),
        (UNIX.but(datagram=True), ConnectError("connect to p failed", "Permission denied"), ""),
        (UDP.but(mode="listen"), BindError("listen on 0.0.0.0:9", "Permission denied"), ""),
        (CONNECT, EXHAUSTED, ""),
        (UNIX, ConnectError("connect to /nowhere failed", "Connection refused"), ""),
        (UNIX, ConnectError("connect to a\0b failed", "Connection refused"), ""),
        (UNIX, ConnectError("connect to / failed", "Connection refused"), "connect to / failed: it is a directory"),
        (UNIX, BindError("listen on /", "Address already in use"), "listen on /: it is a directory and no socket"),
        (CONNECT, ConnectError("connect to / failed", "Connection refused"), ""),
        (UNIX, PeerLost("connect to / failed", "Connection refused"), "connect to / failed: Connection refused"),
    ],
)
def test_a_failure_is_worded_for_the_user(config: Config, error: PyncError, line: str) -> None:
    shown = Messages(config).clearer(error)
    assert shown.startswith(line) if line else shown == str(error)


@pytest.mark.parametrize(
    ("what", "address"),
    [
        ("connect to fe80::1 port 80 (tcp) failed", "fe80::1"),
        ("connect to h (FEBF::1) port 80 (udp) failed", "FEBF::1"),
        ("listen on [fe80::1]:80", "fe80::1"),
        ("bind to [fe80::1]:0", "fe80::1"),
        ("connect to ff02::1 port 80 (udp) failed", "ff02::1"),
        ("connect to fe80::1%lo port 80 (tcp) failed", ""),
        ("connect to febo port 80 (tcp) failed", ""),
        ("connect to ::1 port 80 (tcp) failed", ""),
    ],
)
def test_a_link_local_address_without_an_interface_is_named(what: str, address: str) -> None:
    remark = f"; name its interface, as in {address}%eth0" if address else ""
    error = ConnectError(what, "Invalid argument")
    assert Messages(CONNECT).clearer(error) == f"{what}: Invalid argument{remark}"
    refused = ConnectError(what, "Connection refused")
    assert Messages(CONNECT).clearer(refused) == str(refused)


def test_stdout_carries_no_event(capfd: Stderr) -> None:
    Messages(CONNECT.but(verbosity=3)).report(OPEN)
    assert capfd.readouterr().out == ""


def test_events_of_a_kind_are_wanted_if_they_are_reported() -> None:
    quiet, verbose = Messages(CONNECT), Messages(CONNECT.but(verbosity=1))
    assert quiet.wants(SessionFailed) and not quiet.wants(Connected)
    assert verbose.wants(Connected) and not verbose.wants(Retrying)


def test_an_event_without_a_message_is_a_bug() -> None:
    messages = Messages(CONNECT.but(verbosity=1))
    with pytest.raises(TypeError):
        messages.report(Event())
